package sqlmeta

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/internal/event"
)

// TestUnreadRecord holds that a record which is as it was written, and is the next
// one, is not passed over if nobody here can read it: what is in it was
// acknowledged. Moved away, the database starts without it.
func TestUnreadRecord(t *testing.T) {
	template := frozenTemplate(t)
	tr := &trial{template: template}
	db := tr.open(t, nil)
	touchClock(t, db)
	dump(t, db)
	r := &db.writer.redo
	b := append(appendHead(nil), 99, 0)
	sealRecord(b, r.run, r.seq+1)
	if _, err := r.file.WriteAt(b, r.off); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "berth.db")
	copyFiles(t, db.path, path, "", "-wal", ledgerExt, redoExt)
	db.Close()
	if _, err := Open(t.Context(), frozen(path, nil)); !errors.Is(err, errRecord) || !strings.Contains(err.Error(), redoExt) {
		t.Fatalf("a record that cannot be read: got %v", err)
	}
	if err := os.Rename(path+redoExt, path+"-aside"); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, frozen(path, nil)).Close()
}

// TestRestoreIsWhole holds that recorded changes whose transaction was lost are all
// repeated, or none is and everybody is told.
func TestRestoreIsWhole(t *testing.T) {
	tr := &trial{template: frozenTemplate(t)}
	db := tr.open(t, nil)
	defer db.Close()
	touchClock(t, db)
	for _, tag := range []string{"t1", "t2"} {
		mustPut(t, db, imageOf(t, mustRepo(t, "a"), tag, "x", tag))
	}
	at := len(db.writer.redo.pending) - 1
	db.writer.discard()
	db.writer.redo.pending[at] ^= 1
	if err := db.writer.settled(t.Context()); !errors.Is(err, errRecord) {
		t.Errorf("a part of what was recorded is gone: got %v", err)
	}
	db.writer.redo.pending[at] ^= 1
	if err := db.writer.settled(t.Context()); err != nil {
		t.Error(err)
	}
	for _, tag := range []string{"t1", "t2"} {
		if got := bodyAt(t, db, mustRepo(t, "a"), tag); got != "image of x,"+tag {
			t.Errorf("tag %s leads to %q", tag, got)
		}
	}
}

// TestSessionAfterRestore holds that whatever comes when records could only be committed by
// repeating them has a session to work with, though theirs was given up.
func TestSessionAfterRestore(t *testing.T) {
	read := func(ctx context.Context, t *tx) error {
		var n int
		return t.s.get(ctx, `SELECT count(*) FROM tags`, nil, &n)
	}
	for name, next := range map[string]func(context.Context, *DB) error{
		"outside a transaction": func(ctx context.Context, db *DB) error { return db.writer.do(ctx, outside, read) },
		"in one of its own": func(ctx context.Context, db *DB) error {
			db.writer.redo.stop() // so that nothing is recorded
			return db.writer.do(ctx, durable, read)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSpy()
			db := (&trial{template: frozenTemplate(t)}).open(t, func(c driver.Connector) driver.Connector { return spiedConnector{c, s} })
			defer db.Close()
			touchClock(t, db)
			mustPut(t, db, imageOf(t, mustRepo(t, "a"), "t1", "x", "t1"))
			s.arm(1, before)
			if err := next(t.Context(), db); err != nil {
				t.Error(err)
			}
			if text, failed := s.disarm(); !failed {
				t.Errorf("nothing failed, not even %q", text)
			}
			if got := bodyAt(t, db, mustRepo(t, "a"), "t1"); got != "image of x,t1" {
				t.Errorf("the tag leads to %q", got)
			}
		})
	}
}

// TestNewRunWaits holds that a run of records begins with a commit that waits for the
// disk, also if nobody asks for that: the records before it, which the database
// may need after the loss of power, are written over.
func TestNewRunWaits(t *testing.T) {
	tr := &trial{template: frozenTemplate(t)}
	db := tr.open(t, nil)
	defer db.Close()
	level := func(text string) (level int64) {
		err := db.writer.do(t.Context(), relaxed, func(ctx context.Context, t *tx) error {
			if _, err := t.exec(ctx, text); err != nil {
				return err
			}
			return t.get(ctx, `PRAGMA synchronous`, nil, &level)
		})
		if err != nil {
			t.Fatal(err)
		}
		return level
	}
	const change = `UPDATE clock SET ticks = ticks + 1`
	if first, next := level(change), level(change); first != 2 || next != 1 {
		t.Errorf("synchronous is %d and then %d, want 2 (FULL) and 1 (NORMAL)", first, next)
	}
	if db.writer.redo.seq != 1 {
		t.Error("the second change is not recorded: this tests nothing")
	}
}

// TestRecordsBehind holds that what lies in the file behind the last record is left
// alone: a record of another run, and one that is not the next.
func TestRecordsBehind(t *testing.T) {
	tr := &trial{template: frozenTemplate(t)}
	db := tr.open(t, nil)
	defer db.Close()
	touchClock(t, db)
	mustPut(t, db, imageOf(t, mustRepo(t, "a"), "t1", "x", "t1"))
	r := &db.writer.redo
	for what, of := range map[string]struct{ run, seq int64 }{
		"another run":     {r.run + 1, r.seq + 1},
		"not the next":    {r.run, r.seq + 2},
		"the same number": {r.run, r.seq},
	} {
		path := filepath.Join(t.TempDir(), "berth.db")
		copyFiles(t, db.path, path, "", "-wal", ledgerExt, redoExt)
		rec := recorder{tables: r.rec.tables}
		rec.reset()
		rec.row("losses", nil, []any{int64(1), what, int64(1)})
		sealRecord(rec.buf, of.run, of.seq)
		f, err := os.OpenFile(path+redoExt, os.O_RDWR, 0)
		if err == nil {
			_, err = f.WriteAt(rec.buf, r.off)
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
		next := mustOpen(t, frozen(path, nil))
		if got, want := dump(t, next), dump(t, db); got != want {
			t.Errorf("with a record of %s behind them there is\n%s\nwant\n%s", what, got, want)
		}
		next.Close()
	}
}

// TestRecordsUnlike holds that records are not repeated on what they were not made
// on, but said to be there: whoever has them must decide.
func TestRecordsUnlike(t *testing.T) {
	tr := &trial{template: frozenTemplate(t)}
	db := tr.open(t, nil)
	defer db.Close()
	touchClock(t, db)
	path := filepath.Join(t.TempDir(), "berth.db")
	dump(t, db)
	copyFiles(t, db.path, path, "", "-wal", ledgerExt)
	if err := db.DeleteTag(t.Context(), mustRepo(t, "a"), mustTag(t, "v1"), event.Actor{}); err != nil {
		t.Fatal(err)
	}
	copyFiles(t, db.path, path, redoExt)
	pool, err := sql.Open("sqlite", path)
	if err == nil {
		_, err = pool.ExecContext(t.Context(), `DELETE FROM tags WHERE name = 'v1'`)
		err = errors.Join(err, pool.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), frozen(path, nil)); !errors.Is(err, errUnlike) || !strings.Contains(err.Error(), redoExt) {
		t.Errorf("records of another state: got %v", err)
	}
}

// TestSwallowedFailure holds that a statement which fails leaves nothing in a record,
// though its change goes on and the rows it had changed before were told of.
func TestSwallowedFailure(t *testing.T) {
	tr := &trial{template: frozenTemplate(t)}
	db := tr.open(t, nil)
	defer db.Close()
	touchClock(t, db)
	err := db.writer.do(t.Context(), durable, func(ctx context.Context, t *tx) error {
		if _, err := t.exec(ctx, `INSERT INTO losses (repo_id, digest, lost) VALUES (1, 'one', 1), (1, 'two', 1), (1, 'one', 2)`); err == nil {
			return errors.New("it did not fail")
		}
		_, err := t.exec(ctx, `INSERT INTO losses (repo_id, digest, lost) VALUES (1, 'three', 1)`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "berth.db")
	copyFiles(t, db.path, path, "", "-wal", ledgerExt, redoExt)
	next := mustOpen(t, frozen(path, nil))
	defer next.Close()
	if got, want := dump(t, next), dump(t, db); got != want {
		t.Errorf("whoever opens it anew sees\n%s\nwant\n%s", got, want)
	}
}

// TestSnapshotHasRecords holds that a snapshot has what was answered before.
func TestSnapshotHasRecords(t *testing.T) {
	tr := &trial{template: frozenTemplate(t)}
	db := tr.open(t, nil)
	defer db.Close()
	touchClock(t, db)
	db.writer.redo.timer = time.AfterFunc(time.Hour, func() {}) // or it might be committed by itself
	db.writer.redo.timer.Stop()
	p := imageOf(t, mustRepo(t, "a"), "t1", "x", "t1")
	mustPut(t, db, p)
	path := filepath.Join(t.TempDir(), "snapshot.db")
	if err := db.Snapshot(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	copied := mustOpen(t, frozen(path, nil))
	defer copied.Close()
	if got := bodyAt(t, copied, p.Repo, "t1"); got != string(p.Manifest.Body) {
		t.Errorf("in the snapshot the tag leads to %q", got)
	}
}

// TestFilesOfTwoMoments holds that a copy has what was answered before it began, also
// if a new run has begun between the copying of the database and that of the records.
func TestFilesOfTwoMoments(t *testing.T) {
	tr := &trial{template: frozenTemplate(t)}
	db := tr.open(t, nil)
	defer db.Close()
	a := mustRepo(t, "a")
	for i := range 4 { // from whichever part of the file to the other
		touchClock(t, db)
		tag := fmt.Sprintf("t%d", i)
		mustPut(t, db, imageOf(t, a, tag, "x", tag))
		path := filepath.Join(t.TempDir(), "berth.db")
		copyFiles(t, db.path, path, "", "-wal", ledgerExt)
		run := db.writer.redo.run
		want := dump(t, db)
		db.writer.redo.stop()
		touchClock(t, db)
		mustPut(t, db, imageOf(t, a, "later", "x", "later"+tag))
		copyFiles(t, db.path, path, redoExt)
		if db.writer.redo.run == run {
			t.Fatal("no run has begun: this tests nothing")
		}
		next := mustOpen(t, frozen(path, nil))
		if got := dump(t, next); got != want {
			t.Errorf("copy %d has\n%s\nwant\n%s", i, got, want)
		}
		next.Close()
	}
}
