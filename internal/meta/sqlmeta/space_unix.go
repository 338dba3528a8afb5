//go:build unix

package sqlmeta

import (
	"errors"
	"syscall"
)

// noSpace reports whether err says that a file cannot grow.
func noSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}
