package fsblob

import (
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// keptDirs are directories that stay open: few, and for a short while.
type keptDirs struct {
	mu  sync.Mutex
	all []keptDir
}

// A keptDir is an open directory, which can be fsynced, too.
type keptDir struct {
	name string
	fd   int
}

// keptDir returns a descriptor of the directory name, which stays open. The error
// is that of the openat2, as it is.
func (d *disk) keptDir(name string) (int, error) {
	name = strings.TrimSuffix(name, "/")
	d.kept.mu.Lock()
	defer d.kept.mu.Unlock()
	for _, k := range d.kept.all {
		if k.name == name {
			return k.fd, nil
		}
	}
	fd, err := d.openat2(name, unix.OpenHow{Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: inside})
	if err != nil {
		return -1, err
	}
	d.kept.all = append(d.kept.all, keptDir{name, fd})
	return fd, nil
}

// close closes the directories.
func (k *keptDirs) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, dir := range k.all {
		_ = unix.Close(dir.fd)
	}
	k.all = nil
}

// A keptSyncer is a rawFile that others close.
type keptSyncer struct{ rawFile }

// Close does nothing.
func (*keptSyncer) Close() error { return nil }
