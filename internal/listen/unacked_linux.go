package listen

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// unacked returns how many bytes of the connection the peer has not yet
// acknowledged, and false where the system doesn't tell.
func unacked(c syscall.RawConn) (int, bool) {
	n, ok := 0, false
	err := c.Control(func(fd uintptr) {
		v, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
		n, ok = v, err == nil
	})
	return n, ok && err == nil
}
