//go:build unix

package listen

import "syscall"

// fileLimit returns how many files this process may have open. The Go runtime
// has already raised the soft limit to the hard one.
func fileLimit() (uint64, bool) {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 0, false
	}
	return uint64(l.Cur), true
}
