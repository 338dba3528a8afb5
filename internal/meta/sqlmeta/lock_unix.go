//go:build unix

package sqlmeta

import (
	"os"

	"golang.org/x/sys/unix"
)

// tryLock locks f exclusively until it is closed, and reports whether it could.
func tryLock(f *os.File) (bool, error) {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch err {
		case nil:
			return true, nil
		case unix.EINTR:
			continue
		case unix.EWOULDBLOCK:
			return false, nil
		}
		return false, os.NewSyscallError("flock", err)
	}
}
