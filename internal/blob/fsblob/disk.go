package fsblob

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"

	"berth/internal/osfile"
)

// A hook is called around everything that a disk does to the file system, with
// the name it does it to; do does it. Tests record with it, and inject faults.
type hook func(op, name string, do func() error) error

// A disk is a directory of which names never lead out. Names have slashes.
type disk struct {
	root *os.Root
	self *os.File // the directory itself
	conn syscall.RawConn
	hook hook // nil outside tests

	// taken counts how often a name in the tree of blobs was taken away or given to
	// another file. It is counted when it is done: who read it before a look can tell
	// whether what the look found may be gone.
	taken *atomic.Int64

	// kept are directories that stay open until leave; nil if none do.
	kept *keptDirs

	// plain says that the kernel can't be asked not to follow symbolic links
	// anywhere on the way, so that it has to be checked by hand.
	plain bool
}

// A namer makes, changes and looks at names below a directory, and never outside
// of it. An os.Root is one.
type namer interface {
	OpenFile(name string, flag int, mode fs.FileMode) (*os.File, error)
	Mkdir(name string, mode fs.FileMode) error
	Link(from, to string) error
	Rename(from, to string) error
	Remove(name string) error
	Lstat(name string) (fs.FileInfo, error)
}

func openDisk(dir string) (*disk, error) {
	if err := makeDataDir(dir); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return openRoot(root)
}

// openRoot makes a disk of root, which it closes on an error.
func openRoot(root *os.Root) (*disk, error) {
	d := &disk{root: root, taken: new(atomic.Int64)}
	var err error
	if d.self, err = root.Open("."); err != nil {
		root.Close()
		return nil, err
	}
	if d.conn, err = d.self.SyscallConn(); err != nil {
		d.close()
		return nil, err
	}
	d.plain = !d.canOpenBeneath()
	return d, nil
}

// makeDataDir makes dir and what is missing above it, and makes their names
// durable. What exists may be a symbolic link: it is the operator's choice.
func makeDataDir(dir string) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	} else if err == nil {
		return &fs.PathError{Op: "open", Path: dir, Err: syscall.ENOTDIR}
	} else if !isMissing(err) {
		return err
	}
	parent := filepath.Dir(filepath.Clean(dir))
	if err := makeDataDir(parent); err != nil {
		return err
	}
	if err := os.Mkdir(dir, privateDir); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	p, err := os.Open(parent)
	if errors.Is(err, fs.ErrPermission) {
		return nil // may be written but not read, so it can't be fsynced by us
	}
	if err != nil {
		return err
	}
	defer p.Close()
	return osfile.SyncNames(p)
}

func (d *disk) close() error { return errors.Join(d.self.Close(), d.root.Close()) }

// near returns a disk that keeps the directories open to which its names lead, for
// who does several things in the same ones one after the other. It must be given up
// by leave, soon, since it doesn't notice that a directory is moved or replaced.
func (d *disk) near() *disk {
	n := *d
	n.kept = new(keptDirs)
	return &n
}

// leave closes the directories that are kept open. Nobody may be using them.
func (d *disk) leave() { d.kept.close() }

// do does f, under the hook if there is one.
func (d *disk) do(op, name string, f func() error) error {
	if d.hook == nil {
		return f()
	}
	return d.hook(op, name, f)
}

// create creates a file that must not exist, open for reading and writing.
func (d *disk) create(name string) (*file, error) {
	var f *os.File
	err := d.do("create", name, func() (err error) {
		f, err = d.names().OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, fileMode)
		return err
	})
	return d.file(f, name, err)
}

// open opens a regular file without following a symbolic link anywhere. What is
// there and isn't one is missing: the error wraps fs.ErrNotExist.
func (d *disk) open(name string, flag int) (*file, fs.FileInfo, error) {
	var f *os.File
	err := d.do("open", name, func() (err error) {
		f, err = d.openNoFollow(name, flag, 0)
		return err
	})
	opened, err := d.file(f, name, err)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errNotThere(name)
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return opened, info, nil
}

// file wraps f, which it closes when there was an error all the same.
func (d *disk) file(f *os.File, name string, err error) (*file, error) {
	if err != nil {
		if f != nil {
			f.Close()
		}
		return nil, err
	}
	return &file{File: f, d: d, name: name}, nil
}

// openDir opens a directory without following a symbolic link anywhere.
func (d *disk) openDir(name string) (*os.File, error) {
	return d.openNoFollow(name, os.O_RDONLY, fs.ModeDir)
}

// openNoFollow opens a file of type want, 0 for a regular one.
func (d *disk) openNoFollow(name string, flag int, want fs.FileMode) (*os.File, error) {
	if d.plain {
		return d.openPlain(name, flag, want)
	}
	return d.openBeneath(name, flag, want)
}

// openPlain is openNoFollow for where the system has no way to do it at once. It
// opens and then compares with what it looked at before: if that was no link and
// is the same file, no link was followed at the end of the path. On the way
// there the os.Root keeps links from leading out.
func (d *disk) openPlain(name string, flag int, want fs.FileMode) (*os.File, error) {
	before, err := d.root.Lstat(name)
	if err != nil {
		if !isMissing(err) && d.throughLink(name) {
			return nil, errNotThere(name)
		}
		return nil, err
	}
	if before.Mode().Type() != want {
		return nil, errNotThere(name)
	}
	f, err := d.root.OpenFile(name, flag|nonBlock, 0)
	if err != nil {
		return nil, err
	}
	after, err := f.Stat()
	if err == nil && !os.SameFile(before, after) {
		err = errNotThere(name)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// anyLink is throughLink, one name after the other.
func (d *disk) anyLink(name string) bool {
	for _, p := range prefixes(name) {
		if info, err := d.root.Lstat(p); err == nil && info.Mode().Type() == fs.ModeSymlink {
			return true
		}
	}
	return false
}

// errNotThere says that name is something else than what was looked for.
func errNotThere(name string) error {
	return fmt.Errorf("%s is a link or a special file: %w", name, fs.ErrNotExist)
}

func (d *disk) link(from, to string) error {
	return d.do("link", to, func() error { return d.names().Link(from, to) })
}

func (d *disk) rename(from, to string) error {
	defer d.take(from, to)
	return d.do("rename", to, func() error { return d.names().Rename(from, to) })
}

// remove removes a file or an empty directory. That there is none is no error.
func (d *disk) remove(name string) error {
	defer d.take(name)
	err := d.do("remove", name, func() error { return d.names().Remove(name) })
	if isMissing(err) {
		return nil
	}
	return err
}

// take counts that names were taken away, if they are of blobs.
func (d *disk) take(names ...string) {
	for _, name := range names {
		if strings.HasPrefix(name, blobsDir) {
			d.taken.Add(1)
			return
		}
	}
}

// mkdir makes a directory, which may exist. The error wraps fs.ErrNotExist if it
// did and is gone, where the directory above is kept open: that may have been moved.
func (d *disk) mkdir(name string, mode fs.FileMode) error {
	err := d.do("mkdir", name, func() error { return d.names().Mkdir(name, mode) })
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := d.lstat(name)
	if isMissing(err) && d.kept == nil { // a Delete was faster
		return d.mkdir(name, mode)
	}
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s must be a directory and is a %s: symbolic links are not followed inside the data directory, use a bind mount", name, describe(info.Mode()))
	}
	return err
}

func describe(m fs.FileMode) string {
	switch m.Type() {
	case fs.ModeSymlink:
		return "symbolic link"
	case 0:
		return "file"
	}
	return "special file"
}

// lstat returns what name is, without following it.
func (d *disk) lstat(name string) (fs.FileInfo, error) { return d.names().Lstat(name) }

// A syncError is that of an fsync, after which nothing is known of what was to
// become durable.
type syncError struct{ err error }

func (e *syncError) Error() string { return e.err.Error() }
func (e *syncError) Unwrap() error { return e.err }

func asSyncError(err error) error {
	if err == nil {
		return nil
	}
	return &syncError{err}
}

// syncDir makes the names in a directory durable.
func (d *disk) syncDir(name string) error {
	var f syncer
	err := d.do("opendir", name, func() (err error) {
		f, err = d.openSyncer(name)
		return err
	})
	if err != nil {
		return err
	}
	defer f.Close()
	return asSyncError(d.do("syncdir", name, func() error { return osfile.SyncNames(f) }))
}

// A syncer is an open directory.
type syncer interface {
	Sync() error
	Close() error
}

// isOrdered reports whether the file system is known to keep a name that a file
// got from surviving without what the disk had been given of the file before. The
// log of ext4 and that of xfs do: what they note of the content when the disk has
// been given it comes before what they note of the name.
func (d *disk) isOrdered() bool {
	name, _, err := d.fileSystem()
	return err == nil && (name == "ext4" || name == "xfs")
}

// space returns how many bytes are free and how large the file system is.
func (d *disk) space() (free, total int64, err error) {
	err = d.do("space", ".", func() (err error) {
		free, total, err = d.statSpace()
		return err
	})
	return free, total, err
}

// A file is an open file of a disk.
type file struct {
	*os.File
	d    *disk
	name string
}

// WriteAt writes p at off, all of it or with an error.
func (f *file) WriteAt(p []byte, off int64) (int, error) {
	if f.d.hook == nil { // so that a Write costs no closure
		return f.File.WriteAt(p, off)
	}
	var n int
	err := f.d.hook("write", f.name, func() (err error) {
		n, err = f.File.WriteAt(p, off)
		return err
	})
	return n, err
}

// Sync makes the content durable.
func (f *file) Sync() error {
	return asSyncError(f.d.do("fsync", f.name, func() error { return osfile.SyncData(f.File) }))
}

// Await waits until the disk has been given the content, as awaitContent does.
func (f *file) Await() error {
	err := f.d.do("await", f.name, func() error { return awaitContent(f.File) })
	if errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return asSyncError(err)
}

// Truncate makes the file size bytes long.
func (f *file) Truncate(size int64) error {
	return f.d.do("truncate", f.name, func() error { return f.File.Truncate(size) })
}
