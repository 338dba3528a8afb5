//go:build !linux

package fsblob

import "syscall"

// forgetPages does nothing where the system cannot be told.
func forgetPages(syscall.Conn, int64, int64) {}
