package osfile

import (
	"os"
	"syscall"

	"golang.org/x/sys/windows"
)

// hasDirSync says whether folders can be fsynced on this system: NTFS keeps the order
// of names in its log.
const hasDirSync = false

// TryLock locks f exclusively until it is closed or the process ends, however it
// ends, and reports whether it could. Locks keep others from reading on Windows, so
// it locks a byte far behind what there is.
func TryLock(f *os.File) (bool, error) {
	at := windows.Overlapped{OffsetHigh: 1}
	err := windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &at)
	switch err {
	case nil:
		return true, nil
	case windows.ERROR_LOCK_VIOLATION, windows.ERROR_IO_PENDING:
		return false, nil
	}
	return false, os.NewSyscallError("LockFileEx", err)
}

// NoSpace reports whether err says that the disk, a quota or the largest size of a
// file is exhausted.
func NoSpace(err error) bool {
	return IsAny(err, windows.ERROR_DISK_FULL, windows.ERROR_HANDLE_DISK_FULL, windows.ERROR_DISK_QUOTA_EXCEEDED,
		windows.ERROR_FILE_TOO_LARGE, syscall.ENOSPC)
}

// noDirSync reports whether err says that folders can't be fsynced here, which is
// never asked.
func noDirSync(error) bool { return true }
