//go:build !windows

package listen

import "syscall"

const outOfFiles = syscall.EMFILE

// smallSegments makes a socket use segments as on an Ethernet. Those of the
// loopback are so large that its window moves in jumps, with pauses of whole
// retransmission timeouts in between.
func smallSegments(fd uintptr) {
	_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, 1400)
}
