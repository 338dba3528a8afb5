package fsblob

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"berth/internal/osfile"
)

// awaitContent waits until the disk has been given the content of a file: nothing
// of it is durable by that. The error wraps errors.ErrUnsupported where one can't
// wait for it; any other one is as that of an fdatasync, and told only once.
func awaitContent(f *os.File) error {
	err := osfile.Control(f, func(fd int) error {
		return unix.SyncFileRange(fd, 0, 0, unix.SYNC_FILE_RANGE_WAIT_BEFORE|unix.SYNC_FILE_RANGE_WRITE|unix.SYNC_FILE_RANGE_WAIT_AFTER)
	})
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EPERM) {
		err = errors.ErrUnsupported
	}
	return os.NewSyscallError("sync_file_range", err)
}

// beginWriteback asks the kernel to start writing n bytes at off to the disk. It
// waits for nothing and promises nothing, and an error of the disk is left for
// the fdatasync that does: asking to wait here would take it away from there.
func beginWriteback(f *os.File, off, n int64) {
	_ = osfile.Control(f, func(fd int) error { return unix.SyncFileRange(fd, off, n, unix.SYNC_FILE_RANGE_WRITE) })
}
