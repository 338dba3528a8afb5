package sqlmeta

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"berth/internal/osfile"
)

// Idle writes what is in the log back into the database file and cuts the log.
// It waits for nothing: what a reader still needs stays. Call it when nobody is
// writing, or when the space is needed; writers wait while it runs.
func (db *DB) Idle(ctx context.Context) error {
	return db.writer.do(ctx, outside, func(ctx context.Context, t *tx) error {
		return checkpoint(ctx, t.s)
	})
}

// Snapshot writes the records, as they are at one moment, into a new database
// file at path, checks it and makes it durable. A file that is there already is
// replaced at once or not at all. Readers and writers go on meanwhile.
func (db *DB) Snapshot(ctx context.Context, path string) error {
	db.snapshotting.Lock()
	defer db.snapshotting.Unlock()
	temp := path + ".tmp"
	err := db.copyTo(ctx, temp)
	if err == nil {
		err = checkFile(ctx, temp, finished)
	}
	if err == nil {
		err = syncFile(temp)
	}
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		os.Remove(temp)
		return fmt.Errorf("write snapshot %s: %w", path, err)
	}
	return osfile.SyncDir(filepath.Dir(path))
}

func (db *DB) copyTo(ctx context.Context, path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err // left behind by one that was interrupted
	}
	if _, err := createFile(path); err != nil {
		return err
	}
	if err := db.writer.settled(ctx); err != nil {
		return err
	}
	return vacuumInto(ctx, db.path, path, db.opts.wrap)
}

// Snapshots are kept in a folder, named by the time they were taken at. The
// folder is made when the first one is taken.
type Snapshots struct {
	Dir  string
	Keep int // how many; at least one is kept
}

// A SnapshotFile is one of them.
type SnapshotFile struct {
	Path  string
	Taken time.Time
}

const snapshotName = "berth-20060102T150405Z.db"

// List returns the snapshots in the folder, the newest first.
func (s Snapshots) List() ([]SnapshotFile, error) {
	entries, err := os.ReadDir(s.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var list []SnapshotFile
	for _, e := range entries {
		if taken, err := time.Parse(snapshotName, e.Name()); err == nil && e.Type().IsRegular() {
			list = append(list, SnapshotFile{Path: filepath.Join(s.Dir, e.Name()), Taken: taken})
		}
	}
	slices.SortFunc(list, func(a, b SnapshotFile) int { return strings.Compare(b.Path, a.Path) })
	return list, nil
}

// Take takes a snapshot of db, and then removes the oldest ones that are too
// many. Only what has been checked counts, so a database that is going bad
// pushes no good snapshot out. Should the wall clock have gone back, the name is
// made the newest all the same.
func (s Snapshots) Take(ctx context.Context, db *DB) (SnapshotFile, error) {
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return SnapshotFile{}, fmt.Errorf("take snapshot: %w", err)
	}
	if err := s.tidy(db); err != nil {
		return SnapshotFile{}, fmt.Errorf("take snapshot: %w", err)
	}
	before, err := s.List()
	if err != nil {
		return SnapshotFile{}, fmt.Errorf("take snapshot: %w", err)
	}
	taken := db.opts.Now().UTC().Truncate(time.Second)
	if len(before) > 0 && !taken.After(before[0].Taken) {
		taken = before[0].Taken.Add(time.Second)
	}
	made := SnapshotFile{Path: filepath.Join(s.Dir, taken.Format(snapshotName)), Taken: taken}
	mark := db.changes.Load() + 1
	if err := db.Snapshot(ctx, made.Path); err != nil {
		return SnapshotFile{}, err
	}
	db.snapped.Store(mark)
	for i, old := range before {
		if i+1 < s.Keep {
			continue
		}
		if err := os.Remove(old.Path); err != nil {
			return made, fmt.Errorf("remove old snapshot: %w", err)
		}
	}
	return made, nil
}

// tidy removes what snapshots that a crash interrupted have left behind. Each has
// a name of its own, so the next one does not take its place.
func (s Snapshots) tidy(db *DB) error {
	db.snapshotting.Lock()
	defer db.snapshotting.Unlock()
	entries, err := os.ReadDir(s.Dir)
	for _, e := range entries {
		name, _, half := strings.Cut(e.Name(), ".tmp")
		if _, ours := time.Parse(snapshotName, name); err == nil && half && ours == nil && e.Type().IsRegular() {
			err = os.Remove(filepath.Join(s.Dir, e.Name()))
		}
	}
	return err
}

// Changed reports whether anything has been written since the last Take, or no
// snapshot has been taken since the database was opened.
func (db *DB) Changed() bool { return db.snapped.Load() != db.changes.Load()+1 }

// syncFile makes a file's contents durable. It must not be a database that is
// open: where locks belong to the process, closing it would drop SQLite's.
func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
