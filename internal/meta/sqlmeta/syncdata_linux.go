package sqlmeta

import (
	"os"
	"syscall"
)

// syncData makes the bytes of a file durable whose length stays.
func syncData(f *os.File) error {
	for {
		if err := syscall.Fdatasync(int(f.Fd())); err != syscall.EINTR {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}
