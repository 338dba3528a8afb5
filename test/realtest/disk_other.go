//go:build !linux

package realtest

import "testing"

// A Disk is a file system whose power can be cut. It needs Linux.
type Disk struct {
	Dir string // where it is mounted
}

// NewDisk skips the test.
func NewDisk(t testing.TB, _ int64) *Disk {
	t.Helper()
	Root(t)
	return nil
}

// Cut does nothing.
func (*Disk) Cut() {}

// Mount does nothing.
func (*Disk) Mount() {}
