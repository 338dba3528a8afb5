package floor

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncData makes what was written to f durable, without times that nobody needs.
func syncData(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }
