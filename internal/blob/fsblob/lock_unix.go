//go:build unix

package fsblob

import (
	"os"

	"golang.org/x/sys/unix"
)

// tryLock locks f exclusively until it is closed, and reports whether it could.
func tryLock(f *os.File) (bool, error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return false, err
	}
	cerr := conn.Control(func(fd uintptr) {
		for {
			if err = unix.Flock(int(fd), unix.LOCK_EX|unix.LOCK_NB); err != unix.EINTR {
				return
			}
		}
	})
	switch {
	case cerr != nil:
		return false, cerr
	case err == unix.EWOULDBLOCK:
		return false, nil
	case err != nil:
		return false, os.NewSyscallError("flock", err)
	}
	return true, nil
}

// mapsShared reports whether a file, which has a page, can be mapped into the
// memory of several processes, which SQLite's write-ahead log needs.
func mapsShared(f *os.File) bool {
	b, err := unix.Mmap(int(f.Fd()), 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return false
	}
	b[0] = 1
	return unix.Munmap(b) == nil
}
