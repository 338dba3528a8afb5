package fsblob

import (
	"os"
	"path"
	"strings"

	"berth/internal/blob"
	"berth/internal/osfile"
)

// Facts is what a data directory's file system can do.
type Facts struct {
	// Type is how the system calls it, such as ext4 or nfs.
	Type string

	// Network says that other machines may change the files too, or that a
	// program somewhere answers for them (fuse, 9p): SQLite's write-ahead log is
	// not safe there.
	Network bool

	Locks       bool // a file can be locked, and the lock is seen by another open
	Syncs       bool // files can be fsynced
	Links       bool // hard links; without them blobs are renamed to their place
	MapsShared  bool // memory can be shared through a file
	CaseFolding bool // Name and name are the same file

	Free, Total int64 // bytes of the file system
}

// Probe finds out what the file system of dir can do, by doing it in a directory
// of its own that it removes. The error says what to do if dir can't be written.
// It needs no lock.
//
// Where there is no space to try anything, the file system is taken to be able to
// do everything: it was tried when there was, and pulls must go on.
func Probe(dir string) (Facts, error) {
	d, err := openDisk(dir)
	if err != nil {
		return Facts{}, explain(dir, err)
	}
	defer d.close()
	f, err := d.probe()
	if err != nil {
		return Facts{}, explain(dir, err)
	}
	return f, nil
}

func (d *disk) probe() (Facts, error) {
	facts, err := d.try()
	if osfile.NoSpace(err) {
		facts, err = Facts{Locks: true, Syncs: true, Links: true, MapsShared: true}, nil
	}
	if err != nil {
		return facts, err
	}
	if facts.Free, facts.Total, err = d.space(); err != nil {
		return facts, err
	}
	facts.Type, facts.Network, err = d.fileSystem()
	return facts, err
}

// try does what has to be possible in a directory of its own.
func (d *disk) try() (Facts, error) {
	var facts Facts
	if err := d.mkdir(berthDir, privateDir); err != nil {
		return facts, err
	}
	dir := path.Join(berthDir, "probe-"+string(blob.NewKey()))
	if err := d.mkdir(dir, privateDir); err != nil {
		return facts, err
	}
	defer d.root.RemoveAll(dir)
	f, err := d.create(path.Join(dir, "file"))
	if err != nil {
		return facts, err
	}
	defer f.Close()
	// Its first page is written before it is mapped: touching one for which there
	// is no space would end the process.
	if _, err := f.WriteAt(make([]byte, os.Getpagesize()), 0); err != nil {
		return facts, err
	}
	facts.Syncs = f.Sync() == nil
	facts.MapsShared = mapsShared(f.File)
	facts.Locks = d.excludes(f)
	facts.Links = d.link(f.name, path.Join(dir, "link")) == nil
	_, err = d.lstat(strings.ToUpper(f.name))
	facts.CaseFolding = err == nil
	return facts, nil
}

// excludes reports whether a lock on f keeps another one from locking it.
func (d *disk) excludes(f *file) bool {
	if ok, err := osfile.TryLock(f.File); err != nil || !ok {
		return false
	}
	other, _, err := d.open(f.name, os.O_RDWR)
	if err != nil {
		return false
	}
	defer other.Close()
	ok, err := osfile.TryLock(other.File)
	return err == nil && !ok
}
