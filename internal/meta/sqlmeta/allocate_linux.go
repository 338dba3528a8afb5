package sqlmeta

import (
	"errors"
	"os"
	"syscall"

	"berth/internal/osfile"
)

// allocate gives a file what is missing of its room between two places, and makes
// it that long. Nothing is written where that can be told the file system.
func allocate(f *os.File, from, to int64) error {
	err := osfile.Control(f, func(fd int) error { return syscall.Fallocate(fd, 0, from, to-from) })
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.ENOSYS) {
		return writeZeros(f, from, to)
	}
	return os.NewSyscallError("fallocate", err)
}
