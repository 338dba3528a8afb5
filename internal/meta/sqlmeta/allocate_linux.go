package sqlmeta

import (
	"errors"
	"os"
	"syscall"
)

// allocate gives a file what is missing of its room between two places, and makes
// it that long. Nothing is written where that can be told the file system.
func allocate(f *os.File, from, to int64) error {
	for {
		err := syscall.Fallocate(int(f.Fd()), 0, from, to-from)
		switch {
		case err == syscall.EINTR:
			continue
		case errors.Is(err, errors.ErrUnsupported) || err == syscall.ENOSYS:
			return writeZeros(f, from, to)
		}
		return os.NewSyscallError("fallocate", err)
	}
}
