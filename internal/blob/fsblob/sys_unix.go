//go:build unix

package fsblob

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"berth/internal/osfile"
)

const nonBlock = unix.O_NONBLOCK

// busy reports whether err says that the process or the system ran short.
func busy(err error) bool { return osfile.IsAny(err, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM) }

// noLinks reports whether err says that this file can't get a hard link.
func noLinks(err error) bool {
	return osfile.IsAny(err, syscall.EPERM, syscall.ENOTSUP, syscall.EOPNOTSUPP, syscall.ENOSYS, syscall.EXDEV, syscall.EMLINK)
}

// linkCount returns how many names an open file has.
func linkCount(f *os.File) (int, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, errors.ErrUnsupported
	}
	return int(st.Nlink), nil
}

// fileNumber returns what tells a file from others of its file system; 0 where it
// can't be told.
func fileNumber(info fs.FileInfo) uint64 {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0
	}
	return uint64(st.Ino)
}

func (d *disk) statSpace() (free, total int64, err error) {
	var st unix.Statfs_t
	cerr := d.conn.Control(func(fd uintptr) {
		for {
			if err = unix.Fstatfs(int(fd), &st); err != unix.EINTR {
				return
			}
		}
	})
	if cerr != nil {
		return 0, 0, cerr
	}
	if err != nil {
		return 0, 0, os.NewSyscallError("fstatfs", err)
	}
	return int64(st.Bavail) * int64(st.Bsize), int64(st.Blocks) * int64(st.Bsize), nil
}

// whose says who owns dir and who is asking, and what to do about it.
func whose(dir string, info fs.FileInfo) string {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	uid := os.Getuid()
	return fmt.Sprintf(": it belongs to uid %d with mode %04o, and berth runs as uid %d; run chown -R %d %s (for a container: the folder that is "+
		"mounted there), run berth as uid %d (docker run --user %d:%d), or choose another directory with --data",
		st.Uid, info.Mode().Perm(), uid, uid, dir, st.Uid, st.Uid, st.Gid)
}
