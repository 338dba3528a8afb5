package fsblob

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

	"berth/internal/blob"
	"berth/internal/oci"
)

// maxPlace is how often Commit makes a directory that a Delete removes each time
// before the object is in it.
const maxPlace = 100

// Commit implements blob.Writer: fsync the file, give it its name in the tree,
// fsync every directory that changed, from the top down; or where makeDurable
// can, the same in the order that costs less. An fsync that fails is never tried
// again, because the kernel reports an error once and a second call
// may succeed although the data never reached the disk: the object is lost then.
func (w *writer) Commit(ctx context.Context, d oci.Digest) (blob.Key, error) {
	if err := w.commit(ctx, d); err != nil {
		return "", fmt.Errorf("commit %s as %s: %w", w.key, d, mark(err))
	}
	return w.final.key(), nil
}

func (w *writer) commit(ctx context.Context, d oci.Digest) error {
	if w.err != nil {
		return w.err
	}
	if d.IsZero() {
		return fmt.Errorf("no digest: %w", fs.ErrInvalid)
	}
	target := object{d, w.key}
	if w.final != target {
		if err := w.takeBack(); err != nil {
			return err
		}
	}
	info, err := w.f.Stat()
	if err != nil {
		return err
	}
	if info.Size() != w.size {
		return fmt.Errorf("%w: the file has %d bytes, %d were written", blob.ErrLost, info.Size(), w.size)
	}
	w.final = target
	if err := w.makeDurable(target); err != nil {
		return w.loseIfUnsynced(ctx, err)
	}
	w.done = true
	return nil
}

// makeDurable makes the content durable and gives it its final name, durably. A
// name must never survive without the content: where the file system sees to that
// once the disk has been given the content, that is waited for, and one commit of
// its journal has everything then; else the content is fsynced first.
func (w *writer) makeDurable(target object) error {
	given := w.s.ordered && !w.s.renames.Load()
	if given {
		err := w.f.Await()
		given = !errors.Is(err, errors.ErrUnsupported)
		if given && err != nil {
			return err
		}
	}
	if !given {
		if err := w.f.Sync(); err != nil {
			return err
		}
	}
	d := w.s.d.near()
	defer d.leave()
	unsynced, err := w.place(d, target)
	if err != nil {
		return err
	}
	if given {
		return w.s.syncNames(d, unsynced, w.f.Sync)
	}
	return w.s.syncNames(d, unsynced)
}

// place gives the file its final name and returns the directories of which the
// entry in their parent has to be fsynced. It works by d, which keeps them open.
func (w *writer) place(d *disk, target object) (unsynced []string, err error) {
	for range maxPlace {
		if unsynced, err = w.s.makeDirs(d, target.hexDir()); err == nil {
			err = w.name(d, target)
		}
		if !isMissing(err) {
			return unsynced, err
		}
		// A directory vanished under us, or the upload was deleted.
		d.leave()
		if _, lerr := w.s.d.lstat(uploadPath(w.key)); lerr != nil {
			return nil, lerr
		}
	}
	return nil, err
}

// name links or renames the file to its final name. That it has that name
// already is success: this is then the same Commit again.
func (w *writer) name(d *disk, target object) error {
	if !w.s.renames.Load() {
		err := d.link(uploadPath(w.key), target.path())
		if errors.Is(err, fs.ErrExist) {
			if ok, serr := w.isAt(target); ok || serr != nil {
				return serr
			}
		}
		if err == nil || !noLinks(err) {
			return err
		}
		w.s.useRenames(err)
	}
	if ok, err := w.isAt(target); ok || err != nil {
		return err
	}
	if err := w.s.writeIntent(target); err != nil {
		return err
	}
	return w.s.d.rename(uploadPath(w.key), target.path())
}

// isAt reports whether the file is what stands under the final name.
func (w *writer) isAt(target object) (bool, error) {
	there, err := w.s.d.lstat(target.path())
	if isMissing(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	here, err := w.f.Stat()
	return err == nil && os.SameFile(there, here), err
}

// makeDirs makes the directories down to hexDir and returns those whose entry in
// their parent is not known to be durable. The last one always is among them:
// there are too many of those to remember.
func (s *Store) makeDirs(d *disk, hexDir string) ([]string, error) {
	var unsynced []string
	for _, dir := range prefixes(hexDir)[len(prefixes(blobsDir)):] {
		if _, ok := s.synced.Load(dir); ok {
			continue
		}
		if err := d.mkdir(dir, sharedDir); err != nil {
			if isMissing(err) { // somebody tidied up
				s.synced.Clear()
			}
			return nil, err
		}
		unsynced = append(unsynced, dir)
	}
	return unsynced, nil
}

// syncNames makes a new final name durable: the entries of dirs, from the top
// down, and at the same time the content of the last one, and what others make
// durable. A file system with a journal has written all of it with the first of
// these fsyncs, and would spend another wait for the disk on each that comes after.
func (s *Store) syncNames(d *disk, dirs []string, others ...func() error) error {
	hexDir := dirs[len(dirs)-1]
	done := make(chan error, 1+len(others))
	go func() { done <- d.syncDir(hexDir) }()
	for _, sync := range others {
		go func() { done <- sync() }()
	}
	err := s.syncEntries(d, dirs)
	for range 1 + len(others) {
		err = errors.Join(err, <-done)
	}
	return err
}

// syncEntries makes the entries of dirs durable, from the top down, and notes that
// of all but the last one.
func (s *Store) syncEntries(d *disk, dirs []string) error {
	for _, dir := range dirs {
		if err := d.syncDir(path.Dir(dir)); err != nil {
			return err
		}
		if dir != dirs[len(dirs)-1] {
			s.synced.Store(dir, true)
		}
	}
	return nil
}

// loseIfUnsynced gives the object up if err is that of an fsync: its file goes,
// and if even that fails it is remembered, so that nobody takes the page cache's
// word for it.
func (w *writer) loseIfUnsynced(ctx context.Context, err error) error {
	if _, ok := errors.AsType[*syncError](err); !ok {
		return err
	}
	w.err, w.done = fmt.Errorf("%w: %w", blob.ErrLost, err), false
	rerr := w.s.removeFinal(w.final)
	if rerr == nil {
		rerr = w.s.drop(ctx, w.key, nothingKnown)
	}
	if rerr != nil {
		w.s.lost.Store(w.key, true)
		w.s.log.Error("remove an object whose fsync failed", "key", string(w.key), "error", rerr)
	}
	return w.err
}

// takeBack undoes what Commit did or began to do, before the object becomes
// another one: a finished object never changes.
func (w *writer) takeBack() error {
	if w.final == (object{}) {
		return nil
	}
	if err := w.s.undoRename(context.Background(), w.key); err != nil {
		return err
	}
	if err := w.s.removeFinal(w.final); err != nil {
		return err
	}
	w.final, w.done = object{}, false
	return nil
}

// Settle implements blob.Writer.
func (w *writer) Settle(context.Context) error {
	if w.err != nil && w.done {
		return nil
	}
	if !w.done {
		return fmt.Errorf("settle %s: there was no Commit", w.key)
	}
	var err error
	if w.s.renames.Load() {
		err = w.s.d.remove(uploadPath(w.key) + intentExt)
	}
	// The file may have been linked before the store went over to renaming.
	if err = errors.Join(err, w.s.d.remove(uploadPath(w.key))); err != nil {
		return fmt.Errorf("settle %s: %w", w.key, err)
	}
	w.err = fmt.Errorf("%w: it is finished", fs.ErrClosed)
	return nil
}
