//go:build !linux

package sqlmeta

import "os"

// syncData makes the bytes of a file durable whose length stays.
func syncData(f *os.File) error { return f.Sync() }
