//go:build darwin || freebsd

package fsblob

import (
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// fileSystem names the file system as statfs does.
func (d *disk) fileSystem() (name string, network bool, err error) {
	var st unix.Statfs_t
	cerr := d.conn.Control(func(fd uintptr) { err = unix.Fstatfs(int(fd), &st) })
	if cerr != nil {
		return "", false, cerr
	}
	if err != nil {
		return "", false, os.NewSyscallError("fstatfs", err)
	}
	name = unix.ByteSliceToString(st.Fstypename[:])
	far := []string{"nfs", "smbfs", "afpfs", "webdav", "osxfuse", "macfuse", "fusefs", "virtiofs"}
	return name, slices.Contains(far, name), nil
}
