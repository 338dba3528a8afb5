// Package osfile is what operating systems do with files in ways of their own, and
// the standard library leaves to them: locks that end with their process, making
// durable the bytes of a file or the names in a folder, and telling a full disk from
// other failures.
package osfile

import (
	"errors"
	"os"
	"syscall"
)

// SyncDir makes the names in a folder durable, as SyncNames does.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(SyncNames(d), d.Close())
}

// SyncNames makes the names in an open folder durable. Systems and file systems that
// have no such thing say so at once, and there is nothing better to do on them.
func SyncNames(dir interface{ Sync() error }) error {
	if !hasDirSync {
		return nil
	}
	if err := dir.Sync(); err != nil && !noDirSync(err) {
		return err
	}
	return nil
}

// IsAny reports whether err is, or wraps, one of these.
func IsAny(err error, all ...syscall.Errno) bool {
	for _, e := range all {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
