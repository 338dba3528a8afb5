package osfile

import (
	"os"

	"golang.org/x/sys/unix"
)

// SyncData makes the content of a file durable, and of what is known about it what is
// needed to read it again: its size, and where it is. Its times are not.
func SyncData(f *os.File) error {
	return os.NewSyscallError("fdatasync", Control(f, unix.Fdatasync))
}
