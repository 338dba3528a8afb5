//go:build !windows

package listen

import (
	"errors"
	"syscall"
)

func isAddressInUse(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }

func isAccessDenied(err error) bool {
	return errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EPERM)
}

func isConnectionRefused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

// isMissingAddress reports whether the machine doesn't have the address, or not
// even its family.
func isMissingAddress(err error) bool {
	return errors.Is(err, syscall.EADDRNOTAVAIL) ||
		errors.Is(err, syscall.EAFNOSUPPORT) ||
		errors.Is(err, syscall.EPROTONOSUPPORT)
}

// isOutOfFiles reports whether err came of the limit of open files.
func isOutOfFiles(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) ||
		errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.ENOMEM)
}

// privateSocket gives a socket that has no name yet the mode 0600. Only Linux
// takes it over when the socket is bound; others refuse, which is no harm.
func privateSocket(fd uintptr) { _ = syscall.Fchmod(int(fd), 0o600) }
