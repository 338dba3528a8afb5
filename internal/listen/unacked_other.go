//go:build !linux && !darwin

package listen

import "syscall"

// unacked returns how many bytes of the connection the peer has not yet
// acknowledged, and false where the system doesn't tell.
func unacked(syscall.RawConn) (int, bool) { return 0, false }
