package fsblob

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncContent makes the content of a file durable, and of what is known about it
// what is needed to read it again: its size, and where it is. Its times are not.
func syncContent(f *os.File) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var serr error
	err = conn.Control(func(fd uintptr) {
		for {
			if serr = unix.Fdatasync(int(fd)); serr != unix.EINTR {
				return
			}
		}
	})
	if err != nil {
		return err
	}
	return os.NewSyscallError("fdatasync", serr)
}

// beginWriteback asks the kernel to start writing n bytes at off to the disk. It
// waits for nothing and promises nothing, and an error of the disk is left for
// the fdatasync that does: asking to wait here would take it away from there.
func beginWriteback(f *os.File, off, n int64) {
	conn, err := f.SyscallConn()
	if err != nil {
		return
	}
	_ = conn.Control(func(fd uintptr) { _ = unix.SyncFileRange(int(fd), off, n, unix.SYNC_FILE_RANGE_WRITE) })
}
