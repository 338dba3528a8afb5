//go:build unix

package fsblob

import (
	"os"

	"golang.org/x/sys/unix"
)

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
