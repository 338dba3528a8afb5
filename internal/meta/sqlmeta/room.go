package sqlmeta

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"berth/internal/meta"
	"berth/internal/osfile"
)

// wherever returns a dialect that finds out, by asking full, whether a file cannot be
// used because the disk is full: SQLite tells so only of most writes.
func (d dialect) wherever(full func() bool) dialect {
	triage := d.triage
	d.triage = func(err error) (verdict, error) {
		v, err := triage(err)
		if !errors.Is(err, meta.ErrNoSpace) && (osfile.NoSpace(err) || v == fatal && isFileError(err) && full()) {
			return fatal, fmt.Errorf("%w: %w", meta.ErrNoSpace, err)
		}
		return v, err
	}
	return d
}

// isFileError reports whether err is SQLite's of a file that cannot be opened, read
// or written.
func isFileError(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && (e.Code()&0xff == sqlite3.SQLITE_IOERR || e.Code()&0xff == sqlite3.SQLITE_CANTOPEN)
}

// probeSize is how much a disk must take that is not full.
const probeSize = 64 << 10

// isFull reports whether a disk is full, or a quota, where path is. It tries.
func isFull(path string) bool {
	name := path + "-room"
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		_, err = f.WriteAt(make([]byte, probeSize), 0)
		if err == nil {
			err = f.Sync()
		}
		err = errors.Join(err, f.Close(), os.Remove(name))
	}
	return osfile.NoSpace(err)
}

// isFull reports whether err says that there is no space.
func (w *writer) isFull(err error) bool {
	_, err = w.dialect.triage(err)
	return errors.Is(err, meta.ErrNoSpace)
}

// enter takes the file of records and sees to it that the database can be used
// here, and has what is recorded. The index of the log takes room, which a full disk
// has behind the records.
func (db *DB) enter(ctx context.Context, first *sql.DB) error {
	r := &db.writer.redo
	if err := r.take(); err != nil {
		return err
	}
	err := checkLog(ctx, first)
	if r.held != nil && db.writer.isFull(err) {
		_, _ = r.cut(), r.held.Sync() // else it fails again
		err = checkLog(ctx, first)
	}
	if err != nil {
		return err
	}
	return db.recoverRedo(ctx, first)
}
