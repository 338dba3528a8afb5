package fsblob

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// forgetPages tells the kernel that n bytes at off are not going to be read
// again. It is advice: that it fails means nothing.
func forgetPages(f syscall.Conn, off, n int64) {
	if n <= 0 {
		return
	}
	conn, err := f.SyscallConn()
	if err != nil {
		return
	}
	_ = conn.Control(func(fd uintptr) { _ = unix.Fadvise(int(fd), off, n, unix.FADV_DONTNEED) })
}
