package fsblob

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// inside is what the kernel is asked for at every open: not to leave the data
// directory, and to follow no symbolic link on the whole way.
const inside = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS

// canOpenBeneath reports whether there is openat2: kernels before 5.6 and the
// filters of some older container engines have none.
func (d *disk) canOpenBeneath() bool {
	f, err := d.openBeneath(".", os.O_RDONLY, fs.ModeDir)
	if err != nil {
		return false
	}
	f.Close()
	return true
}

// openBeneath is openNoFollow in one system call. Opening without blocking
// keeps a FIFO from hanging the caller; it means nothing for files.
func (d *disk) openBeneath(name string, flag int, want fs.FileMode) (*os.File, error) {
	fd, err := d.openFD(name, flag, want)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// openFD is openBeneath without an *os.File.
func (d *disk) openFD(name string, flag int, want fs.FileMode) (int, error) {
	how := unix.OpenHow{Flags: uint64(flag) | unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NONBLOCK, Resolve: inside}
	if want == fs.ModeDir {
		how.Flags = how.Flags&^unix.O_NONBLOCK | unix.O_DIRECTORY
	}
	fd, err := d.openat2(name, how)
	switch {
	case err == nil:
		return fd, nil
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ENXIO), errors.Is(err, unix.EXDEV):
		return -1, errNotThere(name)
	}
	return -1, &fs.PathError{Op: "openat2", Path: name, Err: err}
}

// openat2 opens name as how says. The error is that of the call, as it is.
func (d *disk) openat2(name string, how unix.OpenHow) (fd int, err error) {
	cerr := d.conn.Control(func(dir uintptr) {
		for {
			if fd, err = unix.Openat2(int(dir), name, &how); err != unix.EINTR {
				return
			}
		}
	})
	if cerr != nil {
		return -1, cerr
	}
	return fd, err
}
