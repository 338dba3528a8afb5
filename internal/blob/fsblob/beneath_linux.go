package fsblob

import (
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// A beneath does what an os.Root does to names, and the same in the end, with
// one system call for the way to a name where an os.Root makes two for each
// directory on it. Where that way is an unusual one it asks the os.Root.
type beneath struct {
	d *disk
}

// names returns how the names of d are changed.
func (d *disk) names() namer {
	if d.plain {
		return d.root
	}
	return beneath{d}
}

// A place is a directory and a name in it.
type place struct {
	dir  int
	base string
	kept bool // the directory stays open
}

// place opens the directory of name, to be closed by leave. ok is false if
// there are links, or no directories, on the way, or it does not end in a name.
func (b beneath) place(name string) (p place, ok bool, err error) {
	dir, base := path.Split(name)
	if base == "" || base == "." || base == ".." { // the kernel does not look whether these lead out
		return place{}, false, nil
	}
	if dir == "" {
		dir = "."
	}
	p = place{base: base, kept: b.d.kept != nil}
	if p.kept {
		p.dir, err = b.d.keptDir(dir)
	} else {
		p.dir, err = b.d.openat2(dir, unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: inside})
	}
	if unusual(err) {
		return p, false, nil
	}
	return p, true, err
}

func (p place) leave() {
	if !p.kept {
		_ = unix.Close(p.dir)
	}
}

// do calls f with the place of name; instead is for when there is an unusual way
// to it.
func (b beneath) do(op, name string, f func(place) error, instead func() error) error {
	p, ok, err := b.place(name)
	if err == nil && !ok {
		return instead()
	}
	if err == nil {
		defer p.leave()
		err = repeat(func() error { return f(p) })
	}
	return pathError(op, name, err)
}

// both is do for two names.
func (b beneath) both(op, from, to string, f func(from, to place) error, instead func() error) error {
	p, ok, err := b.place(from)
	if err == nil && !ok {
		return instead()
	}
	if err != nil {
		return pathError(op, from, err)
	}
	defer p.leave()
	return b.do(op, to, func(q place) error { return f(p, q) }, instead)
}

// repeat calls f until it is not interrupted.
func repeat(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}

func pathError(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// unusual reports whether err says that there is a link, or no directory, on the
// way to a name.
func unusual(err error) bool { return err == unix.ELOOP || err == unix.EXDEV || err == unix.ENOTDIR }

// Mkdir is as of an os.Root.
func (b beneath) Mkdir(name string, mode fs.FileMode) error {
	return b.do("mkdirat", name, func(p place) error { return unix.Mkdirat(p.dir, p.base, uint32(mode.Perm())) },
		func() error { return b.d.root.Mkdir(name, mode) })
}

// Remove is as of an os.Root.
func (b beneath) Remove(name string) error {
	return b.do("unlinkat", name, func(p place) error {
		err := unix.Unlinkat(p.dir, p.base, 0)
		if err != unix.EISDIR && err != unix.EPERM {
			return err
		}
		if derr := unix.Unlinkat(p.dir, p.base, unix.AT_REMOVEDIR); derr != unix.ENOTDIR {
			return derr
		}
		return err
	}, func() error { return b.d.root.Remove(name) })
}

// Link is as of an os.Root.
func (b beneath) Link(from, to string) error {
	return b.both("linkat", from, to, func(f, t place) error { return unix.Linkat(f.dir, f.base, t.dir, t.base, 0) },
		func() error { return b.d.root.Link(from, to) })
}

// Rename is as of an os.Root.
func (b beneath) Rename(from, to string) error {
	return b.both("renameat", from, to, func(f, t place) error {
		err := unix.Renameat(f.dir, f.base, t.dir, t.base)
		if err == unix.EISDIR {
			return unix.EEXIST
		}
		return err
	}, func() error { return b.d.root.Rename(from, to) })
}

// Lstat is as of an os.Root.
func (b beneath) Lstat(name string) (fs.FileInfo, error) {
	fd, err := b.d.openat2(name, unix.OpenHow{Flags: unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: inside})
	if unusual(err) {
		return b.d.root.Lstat(name)
	}
	if err != nil {
		return nil, pathError("openat2", name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	return f.Stat()
}

// OpenFile is as of an os.Root.
func (b beneath) OpenFile(name string, flag int, mode fs.FileMode) (*os.File, error) {
	how := unix.OpenHow{Flags: uint64(flag) | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: inside}
	if flag&os.O_CREATE != 0 {
		how.Mode = uint64(mode.Perm())
	}
	fd, err := b.d.openat2(name, how)
	if unusual(err) {
		return b.d.root.OpenFile(name, flag, mode)
	}
	if err != nil {
		return nil, pathError("openat2", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// throughLink reports whether name, or a directory on the way to it, is a
// symbolic link.
func (d *disk) throughLink(name string) bool {
	if !d.plain {
		fd, err := d.openat2(name, unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: inside})
		if err == nil {
			_ = unix.Close(fd)
			return false
		}
		if err == unix.ENOENT { // a link before what is missing would have been found first
			return false
		}
	}
	return d.anyLink(name)
}
