package sqlmeta

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"berth/internal/osfile"
)

// A Recovery says what OpenOrRestore found and did. Its zero value is the usual
// case: the database was there.
type Recovery struct {
	From  string        // the snapshot that is now the database; empty if none had to be
	Taken time.Time     // when it was taken: names and tags are as of then
	Age   time.Duration // how long ago that is
	Aside string        // where the broken database was put; empty if there was none
	Cause error         // what was wrong with that one
	Moved bool          // the file is not the one that was opened last, but a copy of it, which was checked
}

// OpenOrRestore is Open for a database with snapshots. It decides what to do
// when the database is not as it was left:
//
//   - It is missing, and there are snapshots: the newest good one takes its place.
//   - It has been copied here, perhaps while it was in use, which can tear it: it
//     is checked as a whole. If it is torn it is put aside, and the newest good
//     snapshot takes its place. So it is if the recorded changes beside it are
//     those of another moment.
//   - It is damaged: that is an error, which says what to do. Only a person can
//     know whether the damage is worse than the age of a snapshot.
//
// A database that another program or a newer version wrote is never touched.
func OpenOrRestore(ctx context.Context, o Options, s Snapshots) (*DB, Recovery, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	path, err := filepath.Abs(o.Path)
	if err != nil {
		return nil, Recovery{}, fmt.Errorf("open database: %w", err)
	}
	r := restorer{path: path, snapshots: s, now: o.Now().UTC()}
	if err := r.prepare(ctx); err != nil {
		return nil, r.Recovery, fmt.Errorf("open database %s: %w", path, err)
	}
	db, err := Open(ctx, o)
	if r.known && errors.Is(err, errUnlike) { // its files were copied at different times
		r.Cause = err
		if err = r.replace(ctx); err == nil {
			db, err = Open(ctx, o)
		}
	}
	if err != nil {
		return nil, r.Recovery, r.advise(ctx, err)
	}
	if r.From != "" || r.Moved {
		err = db.beginUsesAnew(ctx)
	}
	if err == nil {
		err = r.remember()
	}
	if err != nil {
		db.Close()
		return nil, r.Recovery, fmt.Errorf("open database %s: %w", path, err)
	}
	return db, r.Recovery, nil
}

// A restorer sees to it that there is something to open.
type restorer struct {
	Recovery
	path      string
	snapshots Snapshots
	now       time.Time
	known     bool // it is a copy of one that was opened here, as its files say
}

func (r *restorer) prepare(ctx context.Context) error {
	info, err := os.Stat(r.path)
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0:
		if err := os.Remove(r.idFile()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err // or what is made next would look like a copy of it
		}
		return r.replace(ctx)
	case err != nil:
		return err
	}
	was, err := os.ReadFile(r.idFile())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	is, err := fileID(r.path)
	if err != nil || string(was) == is {
		return err
	}
	r.Moved, r.known = true, len(was) > 0
	err = checkFile(ctx, r.path, live)
	torn := errors.Is(err, errBroken) || isCorrupt(err)
	switch {
	case errors.Is(err, errEmpty) && len(was) == 0:
		return nil // the first start was killed
	case torn && r.known:
		r.Cause = err
		return r.replace(ctx)
	case torn:
		return r.advise(ctx, err)
	}
	return err
}

// replace puts the newest good snapshot in the place of the database. Without
// any snapshot it does nothing if there is no database either.
func (r *restorer) replace(ctx context.Context) error {
	list, err := r.snapshots.List()
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return r.Cause
	}
	good, err := newestGood(ctx, list)
	if err != nil {
		return errors.Join(r.Cause, fmt.Errorf("there is no database, and no snapshot can take its place; "+
			"to begin with an empty registry, move %s away: %w", r.snapshots.Dir, err))
	}
	temp := r.path + ".restoring"
	if err := copyFile(good.Path, temp); err != nil {
		return fmt.Errorf("restore snapshot %s: %w", good.Path, err)
	}
	if err := r.putAside(); err != nil {
		return err
	}
	if err := os.Rename(temp, r.path); err != nil {
		return err
	}
	r.From, r.Taken, r.Age = good.Path, good.Taken, max(0, r.now.Sub(good.Taken))
	return osfile.SyncDir(filepath.Dir(r.path))
}

// newestGood returns the first one of the list that passes a check.
func newestGood(ctx context.Context, list []SnapshotFile) (SnapshotFile, error) {
	var errs []error
	for _, s := range list {
		err := checkFile(ctx, s.Path, finished)
		if err == nil {
			return s, nil
		}
		if ctx.Err() != nil {
			return SnapshotFile{}, ctx.Err()
		}
		errs = append(errs, fmt.Errorf("%s: %w", s.Path, err))
	}
	return SnapshotFile{}, errors.Join(errs...)
}

// putAside renames what is left of the database, and its log: the log must never
// be applied to another database. The database goes first, so that whatever
// interrupts this, the next start finds none and comes here again.
func (r *restorer) putAside() error {
	aside := r.path + ".broken-" + r.now.Format(brokenTime)
	for _, suffix := range []string{"", "-wal", redoExt} {
		info, err := os.Stat(r.path + suffix)
		if err == nil && info.Size() == 0 {
			err = os.Remove(r.path + suffix)
		} else if err == nil {
			if suffix != redoExt { // whose records are worth nothing alone
				r.Aside = aside
			}
			err = os.Rename(r.path+suffix, aside+suffix)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := os.Remove(r.path + "-shm"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return osfile.SyncDir(filepath.Dir(r.path))
}

// ErrGood says that there is a database and that it is good.
var ErrGood = errors.New("the database is there and good")

// PutAside renames a database that is damaged, so that OpenOrRestore begins anew,
// from a snapshot if there is one. It returns the new name, which is empty if
// there was no database. A good one stays where it is: ErrGood. One that another
// process has open is refused.
func PutAside(ctx context.Context, path string, now time.Time) (string, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 {
		return "", nil
	}
	if err == nil {
		taken := redo{path: path + redoExt}
		if err = taken.take(); err == nil {
			err = errors.Join(taken.close(), checkFile(ctx, path, live))
		}
	}
	switch {
	case err == nil:
		return "", fmt.Errorf("%s: %w", path, ErrGood)
	case !errors.Is(err, errBroken) && !isCorrupt(err):
		return "", fmt.Errorf("check database %s: %w", path, err)
	}
	r := restorer{path: path, now: now.UTC()}
	return r.path + ".broken-" + r.now.Format(brokenTime), r.putAside()
}

// brokenTime is how the name of a database that was put aside tells when.
const brokenTime = "20060102T150405Z"

// advise adds to the error of a damaged database what can be done about it.
func (r *restorer) advise(ctx context.Context, err error) error {
	if !isCorrupt(err) && !errors.Is(err, errBroken) {
		return err
	}
	list, lerr := r.snapshots.List()
	if lerr != nil || len(list) == 0 {
		return fmt.Errorf("%w; there is no snapshot to start from: restore %s from a backup", err, r.path)
	}
	good, gerr := newestGood(ctx, list)
	if gerr != nil {
		return fmt.Errorf("%w; no snapshot is good either: %w", err, gerr)
	}
	return fmt.Errorf("%w; move %s, %[2]s-wal and %[2]s-redo away, as berth fsck --rebuild does, to start from the snapshot of %s, which is %s old",
		err, r.path, good.Taken.Format(time.RFC3339), max(0, r.now.Sub(good.Taken)).Round(time.Second))
}

// idFile names the file that holds which file the database is.
func (r *restorer) idFile() string { return r.path + ".id" }

// remember records which file the database is, so that a copy of it is known as
// one. If this is lost, the next start checks the database, no more.
func (r *restorer) remember() error {
	id, err := fileID(r.path)
	if err != nil {
		return err
	}
	if was, err := os.ReadFile(r.idFile()); err == nil && strings.TrimSpace(string(was)) == id {
		return nil
	}
	temp := r.idFile() + ".tmp"
	if err := os.WriteFile(temp, []byte(id), 0o600); err != nil {
		return err
	}
	return os.Rename(temp, r.idFile())
}

// copyFile copies a file, durably.
func copyFile(from, to string) (err error) {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	return errors.Join(err, dst.Sync(), dst.Close())
}
