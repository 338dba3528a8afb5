package sqlmeta

import (
	"errors"
	"syscall"
)

// What Windows says of a full disk.
const (
	errorHandleDiskFull syscall.Errno = 39
	errorDiskFull       syscall.Errno = 112
)

// noSpace reports whether err says that a file cannot grow.
func noSpace(err error) bool {
	return errors.Is(err, errorHandleDiskFull) || errors.Is(err, errorDiskFull) || errors.Is(err, syscall.ENOSPC)
}
