//go:build unix

package htpasswd

import (
	"io/fs"
	"os"
	"syscall"
)

// keepOwner gives the file at path the owner and group of old, so that the
// server that could read the old one can read the new one.
func keepOwner(path string, old fs.FileInfo) error {
	if old == nil {
		return nil
	}
	is, ok := old.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if now, ok := info.Sys().(*syscall.Stat_t); ok && now.Uid == is.Uid && now.Gid == is.Gid {
		return nil
	}
	if err := os.Chown(path, int(is.Uid), int(is.Gid)); err != nil {
		return err
	}
	return os.Chmod(path, old.Mode().Perm())
}
