package fsblob

import (
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/windows"

	"berth/internal/osfile"
)

const nonBlock = 0

// busy reports whether err says that the process or the system ran short.
func busy(err error) bool {
	return osfile.IsAny(err, windows.ERROR_TOO_MANY_OPEN_FILES, windows.ERROR_NO_SYSTEM_RESOURCES, windows.ERROR_NOT_ENOUGH_MEMORY,
		syscall.EMFILE)
}

// noLinks reports whether err says that this file can't get a hard link, as on
// FAT and some network drives.
func noLinks(err error) bool {
	return osfile.IsAny(err, windows.ERROR_INVALID_FUNCTION, windows.ERROR_NOT_SUPPORTED, windows.ERROR_TOO_MANY_LINKS,
		windows.ERROR_NOT_SAME_DEVICE, windows.ERROR_INVALID_PARAMETER, syscall.EPERM, syscall.EXDEV)
}

// linkCount returns how many names an open file has.
func linkCount(f *os.File) (int, error) {
	var info windows.ByHandleFileInformation
	if err := windows.GetFileInformationByHandle(windows.Handle(f.Fd()), &info); err != nil {
		return 0, os.NewSyscallError("GetFileInformationByHandle", err)
	}
	return int(info.NumberOfLinks), nil
}

// fileNumber returns 0: here a FileInfo does not tell which file it is of.
func fileNumber(fs.FileInfo) uint64 { return 0 }

func (d *disk) statSpace() (free, total int64, err error) {
	name, err := windows.UTF16PtrFromString(d.root.Name())
	if err != nil {
		return 0, 0, err
	}
	var avail, all uint64
	if err := windows.GetDiskFreeSpaceEx(name, &avail, &all, nil); err != nil {
		return 0, 0, os.NewSyscallError("GetDiskFreeSpaceEx", err)
	}
	return int64(avail), int64(all), nil
}

func whose(dir string, _ fs.FileInfo) string {
	return ": give the user that runs berth the right to modify " + dir + ", or choose another directory with --data"
}
