package listen

import (
	"errors"

	"golang.org/x/sys/windows"
)

// The socket calls of Windows answer with numbers of their own (WSA…), which
// the constants of package syscall don't stand for.

func isAddressInUse(err error) bool { return errors.Is(err, windows.WSAEADDRINUSE) }

func isAccessDenied(err error) bool { return errors.Is(err, windows.WSAEACCES) }

func isConnectionRefused(err error) bool { return errors.Is(err, windows.WSAECONNREFUSED) }

// isMissingAddress reports whether the machine doesn't have the address, or not
// even its family.
func isMissingAddress(err error) bool {
	return errors.Is(err, windows.WSAEADDRNOTAVAIL) || errors.Is(err, windows.WSAEAFNOSUPPORT)
}

// isOutOfFiles reports whether err came of the limit of open files.
func isOutOfFiles(err error) bool {
	return errors.Is(err, windows.WSAEMFILE) || errors.Is(err, windows.WSAENOBUFS)
}

// privateSocket does nothing: Windows protects a socket by its directory.
func privateSocket(uintptr) {}
