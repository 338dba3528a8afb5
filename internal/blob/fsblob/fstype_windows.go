package fsblob

import (
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/windows"
)

// fileSystem names the file system of the volume that the directory is on.
func (d *disk) fileSystem() (name string, network bool, err error) {
	abs, err := filepath.Abs(d.root.Name())
	if err != nil {
		return "", false, err
	}
	path, err := windows.UTF16PtrFromString(abs)
	if err != nil {
		return "", false, err
	}
	var volume, kind [windows.MAX_PATH + 1]uint16
	if err := windows.GetVolumePathName(path, &volume[0], uint32(len(volume))); err != nil {
		return "", false, os.NewSyscallError("GetVolumePathName", err)
	}
	err = windows.GetVolumeInformation(&volume[0], nil, 0, nil, nil, nil, &kind[0], uint32(len(kind)))
	if err != nil {
		return "", false, os.NewSyscallError("GetVolumeInformation", err)
	}
	network = windows.GetDriveType(&volume[0]) == windows.DRIVE_REMOTE
	return strings.ToLower(windows.UTF16ToString(kind[:])), network, nil
}
