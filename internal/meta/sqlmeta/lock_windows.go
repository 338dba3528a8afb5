package sqlmeta

import (
	"os"

	"golang.org/x/sys/windows"
)

// tryLock locks f exclusively until it is closed, and reports whether it could.
// Locks keep others from reading on Windows, so it locks a byte far behind what
// there is.
func tryLock(f *os.File) (bool, error) {
	at := windows.Overlapped{OffsetHigh: 1}
	err := windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &at)
	switch err {
	case nil:
		return true, nil
	case windows.ERROR_LOCK_VIOLATION, windows.ERROR_IO_PENDING:
		return false, nil
	}
	return false, os.NewSyscallError("LockFileEx", err)
}
