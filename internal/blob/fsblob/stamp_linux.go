package fsblob

import (
	"io/fs"
	"syscall"

	"golang.org/x/sys/unix"
)

// hasStamps says that a file's state can be told by one call.
const hasStamps = true

// A stamp tells a state of a file from its other states and from other files:
// which file it is, how large, when its bytes and when anything about it changed.
type stamp struct {
	device, number   uint64
	size             int64
	modified, change unix.Timespec
}

// stampOf returns the stamp in what an fstat told.
func stampOf(info fs.FileInfo) stamp {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return stamp{size: info.Size()} // which no file has
	}
	return stamp{uint64(st.Dev), uint64(st.Ino), st.Size, unix.Timespec(st.Mtim), unix.Timespec(st.Ctim)}
}

func newStamp(st *unix.Stat_t) stamp {
	return stamp{uint64(st.Dev), uint64(st.Ino), st.Size, st.Mtim, st.Ctim}
}

// stamp looks at what name stands for now. It follows links to directories on the
// way, and none at the end.
func (d *disk) stamp(name string) (stamp, error) {
	var st unix.Stat_t
	err := d.do("stat", name, func() error { return d.fstatat(name, &st) })
	return newStamp(&st), err
}

func (d *disk) fstatat(name string, st *unix.Stat_t) error {
	var err error
	cerr := d.conn.Control(func(dir uintptr) {
		for {
			if err = unix.Fstatat(int(dir), name, st, unix.AT_SYMLINK_NOFOLLOW); err != unix.EINTR {
				return
			}
		}
	})
	if cerr != nil {
		return cerr
	}
	return err
}
