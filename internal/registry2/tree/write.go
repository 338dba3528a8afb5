package tree

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"berth/internal/meta"
	"berth/internal/oci"
)

// Modes of what is written: those that registry:2's own have.
const (
	dirMode  fs.FileMode = 0o755
	linkMode fs.FileMode = 0o644
)

// A writer writes links. What it has written is durable after sync.
type writer struct {
	root  *os.Root
	dirs  map[string]bool // whose entries have changed
	owner owner           // whom the tree belongs to
}

// writer returns one for a batch of links.
func (t *Tree) writer() (*writer, error) {
	w := &writer{root: t.root, dirs: map[string]bool{}}
	if err := w.makeDirs(reposDir); err != nil {
		return nil, err
	}
	info, err := t.root.Lstat(reposDir)
	if err != nil {
		return nil, err
	}
	w.owner = ownerOf(info)
	return w, nil
}

// write makes a link hold d, and returns when it was written.
func (w *writer) write(repo oci.Repo, l meta.LinkName, d oci.Digest) (time.Time, error) {
	dir := path.Join(reposDir, repo.String())
	if l.Kind == meta.TagLink { // registry:2 writes the history of the tag first
		index := path.Join(dir, tagsDir, l.Name, "index", string(d.Algorithm()), d.Hex(), linkFile)
		if _, err := w.writeFile(index, d.String()); err != nil {
			return time.Time{}, err
		}
	}
	return w.writeFile(path.Join(dir, linkPath(l)), d.String())
}

// writeFile puts a file in the place of whatever is there.
func (w *writer) writeFile(name, content string) (time.Time, error) {
	if err := w.makeDirs(path.Dir(name)); err != nil {
		return time.Time{}, err
	}
	temp := name + "." + rand.Text() + ".tmp"
	if err := w.writeNew(temp, content); err != nil {
		return time.Time{}, errors.Join(err, remove(w.root, temp))
	}
	if err := w.root.Rename(temp, name); err != nil {
		return time.Time{}, errors.Join(err, remove(w.root, temp))
	}
	w.changed(path.Dir(name))
	info, err := w.root.Lstat(name)
	if err != nil {
		return time.Time{}, err
	}
	return info.ModTime(), nil
}

func (w *writer) writeNew(name, content string) error {
	f, err := w.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, linkMode)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteString(content); err != nil {
		return err
	}
	if err := w.owner.give(w.root, name); err != nil {
		return err
	}
	return f.Sync()
}

// makeDirs makes a directory and what is missing above it.
func (w *writer) makeDirs(dir string) error {
	info, err := w.root.Lstat(dir)
	if err == nil && info.IsDir() {
		return nil
	}
	if err == nil {
		return &fs.PathError{Op: "make directory", Path: dir, Err: errors.New("it is " + describe(info.Mode()))}
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := path.Dir(dir)
	if parent != "." {
		if err := w.makeDirs(parent); err != nil {
			return err
		}
	}
	if err := w.root.Mkdir(dir, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	w.changed(parent)
	return w.owner.give(w.root, dir)
}

// remove takes a link away, and for a tag everything that belongs to it.
func (w *writer) remove(repo oci.Repo, l meta.LinkName) error {
	dir := path.Join(reposDir, repo.String(), linkDir(l))
	if l.Kind == meta.TagLink {
		dir = path.Dir(dir)
		if err := w.root.RemoveAll(dir); err != nil {
			return err
		}
	} else {
		if err := remove(w.root, path.Join(dir, linkFile)); err != nil {
			return err
		}
		_ = w.root.Remove(dir) // fails as long as something is in it
	}
	if _, err := w.root.Lstat(path.Dir(dir)); err == nil {
		w.changed(path.Dir(dir))
	}
	return nil
}

// remove removes a file, which may be missing.
func remove(root *os.Root, name string) error {
	err := root.Remove(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// changed notes that dir has got or lost an entry. Those above it are noted too:
// they may have been made by a process that did not come to the fsync.
func (w *writer) changed(dir string) {
	for strings.HasPrefix(dir, reposDir) && !w.dirs[dir] {
		w.dirs[dir] = true
		dir = path.Dir(dir)
	}
	w.dirs[dir] = true
}

// sync makes everything durable, from the top down.
func (w *writer) sync() error {
	var all []string
	for dir := range w.dirs {
		all = append(all, dir)
	}
	slices.Sort(all)
	for _, dir := range all {
		if err := syncDir(w.root, dir); err != nil {
			return err
		}
	}
	clear(w.dirs)
	return nil
}
