//go:build unix

package fsblob

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	hasDirSync = true
	nonBlock   = unix.O_NONBLOCK
)

func isAny(err error, all ...syscall.Errno) bool {
	for _, e := range all {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// noSpace reports whether err says that the file system, a quota or the largest
// size of a file is exhausted.
func noSpace(err error) bool { return isAny(err, syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG) }

// busy reports whether err says that the process or the system ran short.
func busy(err error) bool { return isAny(err, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM) }

// noLinks reports whether err says that this file can't get a hard link.
func noLinks(err error) bool {
	return isAny(err, syscall.EPERM, syscall.ENOTSUP, syscall.EOPNOTSUPP, syscall.ENOSYS, syscall.EXDEV, syscall.EMLINK)
}

// noDirSync reports whether err says that directories can't be fsynced here, as
// with some network file systems.
func noDirSync(err error) bool { return isAny(err, syscall.EINVAL, syscall.ENOTSUP, syscall.ENOSYS) }

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
