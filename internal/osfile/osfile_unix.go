//go:build unix

package osfile

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// hasDirSync says whether folders can be fsynced on this system.
const hasDirSync = true

// TryLock locks f exclusively until it is closed or the process ends, however it
// ends, and reports whether it could. Whoever has opened the file anew is another
// one, in the same process, too.
func TryLock(f *os.File) (bool, error) {
	err := Control(f, func(fd int) error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) })
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, os.NewSyscallError("flock", err)
}

// Control calls do with the descriptor of f until no signal interrupts it.
func Control(f *os.File, do func(fd int) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	cerr := conn.Control(func(fd uintptr) {
		for {
			if err = do(int(fd)); err != unix.EINTR {
				return
			}
		}
	})
	if cerr != nil {
		return cerr
	}
	return err
}

// NoSpace reports whether err says that the file system, a quota or the largest
// size of a file is exhausted.
func NoSpace(err error) bool { return IsAny(err, syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG) }

// noDirSync reports whether err says that folders can't be fsynced here, as with
// some network file systems.
func noDirSync(err error) bool { return IsAny(err, syscall.EINVAL, syscall.ENOTSUP, syscall.ENOSYS) }
