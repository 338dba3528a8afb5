package sqlmeta

import (
	"bytes"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"modernc.org/sqlite"

	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
)

// A shortDisk has no room for a COMMIT while full says so, and for what a connection
// needs if connects is set.
type shortDisk struct {
	driver.Connector
	full     func() bool
	connects bool
}

var errShort = fmt.Errorf("injected: %w", syscall.ENOSPC)

func (d shortDisk) Connect(ctx context.Context) (driver.Conn, error) {
	if d.connects && d.full() {
		return nil, errShort
	}
	conn, err := d.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &shortConn{&spiedConn{Conn: conn, spy: newSpy()}, d.full}, nil
}

type shortConn struct {
	*spiedConn
	full func() bool
}

func (c *shortConn) PrepareContext(ctx context.Context, text string) (driver.Stmt, error) {
	s, err := c.spiedConn.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	return shortStmt{s.(*spiedStmt), c.full}, nil
}

type shortStmt struct {
	*spiedStmt
	full func() bool
}

func (s shortStmt) ExecContext(ctx context.Context, a []driver.NamedValue) (driver.Result, error) {
	if s.text == "COMMIT" && s.full() {
		return nil, errShort
	}
	return s.spiedStmt.ExecContext(ctx, a)
}

func sizeOf(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// A fullness says when a disk is full: all of it or but for the room behind the records.
type fullness struct {
	path  string // of the database
	left  string // of a copy in which the change of begin is only recorded
	is    atomic.Bool
	spare bool // what the file of records gives up is room

	connects bool // a connection needs room
}

func (f *fullness) now() bool {
	if !f.is.Load() {
		return false
	}
	info, err := os.Stat(f.path + redoExt)
	return !f.spare || err == nil && info.Size() > redoSize
}

func (f *fullness) open(t *testing.T) (*DB, error) {
	t.Helper()
	return Open(t.Context(), frozen(f.path, func(c driver.Connector) driver.Connector { return shortDisk{c, f.now, f.connects} }))
}

// begin opens a copy of a prepared database and records that tag v1 goes from the
// repository that it returns. Then the disk is full if it is to be.
func (f *fullness) begin(t *testing.T, full bool) (*DB, oci.Repo) {
	t.Helper()
	f.path = filepath.Join(t.TempDir(), "berth.db")
	copyFiles(t, frozenTemplate(t), f.path, "", ledgerExt)
	db, err := f.open(t)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	db.writer.redo.settling.Lock() // nothing is committed meanwhile
	defer db.writer.redo.settling.Unlock()
	touchClock(t, db)
	a := mustRepo(t, "a")
	if err := db.DeleteTag(t.Context(), a, mustTag(t, "v1"), event.Actor{}); err != nil {
		t.Fatal(err)
	}
	if got := sizeOf(t, f.path+redoExt); got != redoSize+spareSize {
		t.Errorf("the file of records has %d bytes", got)
	}
	f.left = filepath.Join(t.TempDir(), "berth.db")
	copyFiles(t, f.path, f.left, "", "-wal", ledgerExt, redoExt)
	f.is.Store(full)
	return db, a
}

// mustBeGone wants the tag to be gone that begin removed.
func mustBeGone(t *testing.T, db *DB, repo oci.Repo, when string) {
	t.Helper()
	tags, err := db.Tags(t.Context(), repo, "", 100)
	if err != nil || len(tags) == 0 || slices.ContainsFunc(tags, func(tag meta.Tag) bool { return tag.Name == mustTag(t, "v1") }) {
		t.Errorf("%s there are the tags %v, %v", when, tags, err)
	}
}

// TestRoomForRecords holds that what was answered is committed also if there is no
// room but that behind the records, which is made again later.
func TestRoomForRecords(t *testing.T) {
	f := &fullness{spare: true}
	db, a := f.begin(t, true)
	mustBeGone(t, db, a, "on a full disk")
	if got := sizeOf(t, f.path+redoExt); got != redoSize {
		t.Errorf("on a full disk the file of records has %d bytes", got)
	}
	if err := db.Trouble(); err != nil {
		t.Error(err)
	}
	mustPut(t, db, imageOf(t, a, "t2", "x", "t2"))
	if db.writer.redo.run != 0 || db.writer.redo.dirty.Load() {
		t.Error("changes are recorded though there may be no room to commit them")
	}
	f.is.Store(false)
	db.writer.redo.wait = 0
	touchClock(t, db)
	if got := sizeOf(t, f.path+redoExt); got != redoSize+spareSize {
		t.Errorf("when there is room again the file of records has %d bytes", got)
	}
}

// TestNoRoomForRecords holds that what was answered and cannot be committed at all
// is so as soon as there is room, without anybody asking, and that readiness tells
// of it meanwhile.
func TestNoRoomForRecords(t *testing.T) {
	f := &fullness{}
	db, a := f.begin(t, true)
	if _, err := db.Tags(t.Context(), a, "", 10); err == nil && db.writer.redo.dirty.Load() {
		t.Error("who reads does not see what was answered, and is not told")
	}
	if err := db.Trouble(); err == nil || errors.Is(err, meta.ErrNoSpace) {
		t.Errorf("trouble: got %v, want one that readers have, too", err)
	}
	if _, err := db.PutManifest(t.Context(), imageOf(t, a, "t2", "x", "t2")); err == nil {
		t.Error("a change is answered behind such that cannot be committed")
	}
	next := killed(t, db)
	mustBeGone(t, next, a, "after a kill")
	f.is.Store(false)
	for db.writer.redo.dirty.Load() {
		select {
		case <-t.Context().Done():
			t.Fatal("it never is")
		case <-time.After(time.Millisecond):
		}
	}
	mustBeGone(t, db, a, "when there is room")
	if err := db.Trouble(); err != nil {
		t.Error(err)
	}
}

// TestStartWithoutRoom holds that a start on a full disk brings what is recorded into
// the database with the room behind the records, and that without it nothing is
// lost, and it is said what to do.
func TestStartWithoutRoom(t *testing.T) {
	for _, way := range []struct{ spare, connects bool }{{true, false}, {true, true}, {false, false}} {
		f := &fullness{}
		_, a := f.begin(t, false)
		next := &fullness{path: filepath.Join(t.TempDir(), "berth.db"), spare: way.spare, connects: way.connects}
		copyFiles(t, f.left, next.path, "", "-wal", ledgerExt, redoExt)
		next.is.Store(true)
		again, err := next.open(t)
		if !way.spare {
			if err == nil || !strings.Contains(err.Error(), "megabytes of room") {
				t.Fatalf("got %v, want what to do", err)
			}
			next.is.Store(false)
			again, err = next.open(t)
		}
		if err != nil {
			t.Fatal(err)
		}
		mustBeGone(t, again, a, "after a start")
		again.Close()
	}
}

// TestStray holds that a record whose change was committed otherwise is not
// repeated by the next process, also if no other run of records has begun.
func TestStray(t *testing.T) {
	f := &fullness{}
	db, a := f.begin(t, false)
	var left atomic.Int64
	left.Store(1)
	db.writer.redo.file = brokenFile{db.writer.redo.file, &left, true}
	db.writer.redo.spared, db.writer.redo.wait = false, 1<<30
	mustPut(t, db, imageOf(t, a, "t2", "x", "t2"))
	want := dump(t, db)
	if db.writer.redo.run != 0 {
		t.Fatal("another run has begun: this tests nothing")
	}
	if got := dump(t, killed(t, db)); got != want {
		t.Errorf("after a kill there is\n%s\nwant\n%s", got, want)
	}
}

// TestTaken holds that nobody opens a database that another one has open: what that
// one has recorded would be repeated beneath it.
func TestTaken(t *testing.T) {
	f := &fullness{}
	db, _ := f.begin(t, false)
	want := dump(t, db)
	if _, err := f.open(t); !errors.Is(err, errTaken) {
		t.Fatalf("got %v, want %v", err, errTaken)
	}
	if _, err := PutAside(t.Context(), f.path, time.Now()); !errors.Is(err, errTaken) {
		t.Fatalf("put aside: got %v, want %v", err, errTaken)
	}
	if got := dump(t, db); got != want {
		t.Errorf("afterwards there is\n%s\nwant\n%s", got, want)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	next, err := f.open(t)
	if err != nil {
		t.Fatal(err)
	}
	next.Close()
}

// TestSpareIsEnough holds that of a transaction of records, however many pages it
// changes, no more is only in memory than there is room for behind the records.
func TestSpareIsEnough(t *testing.T) {
	f := &fullness{}
	db, _ := f.begin(t, false)
	const rows = 3000 // each has a page of its own
	run := func(text string) {
		t.Helper()
		err := db.writer.do(t.Context(), durable, func(ctx context.Context, t *tx) error { _, err := t.exec(ctx, text); return err })
		if err != nil {
			t.Fatal(err)
		}
	}
	run(fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < %d)
		INSERT INTO manifests (id, repo_id, digest, media_type, size, subject, artifact_type, pushed_us, pushed_by, annotations, body)
		SELECT 1000+i, (SELECT id FROM repos WHERE name = 'a'), 'sha256:' || i, '', 3000, '', '', 0, '', '', zeroblob(3000) FROM n`, rows))
	touchClock(t, db)
	status := func(s *session, of sqlite.DBStatusOp) int64 {
		n, _, err := s.conn.(*shortConn).Conn.(sqlite.DBStatus).Status(of, false)
		if err != nil {
			t.Fatal(err)
		}
		return int64(n)
	}
	db.writer.redo.settling.Lock() // nothing is committed meanwhile
	defer db.writer.redo.settling.Unlock()
	var written, spilled int64
	step := rows / 3
	for from := 1000; from < 1000+rows; from += step {
		err := db.writer.do(t.Context(), durable, func(ctx context.Context, t *tx) error {
			_, err := t.exec(ctx, `UPDATE manifests SET pushed_us = 1 WHERE id BETWEEN $1 AND $2`, from, from+step-1)
			written, spilled = status(t.s, sqlite.DBStatusCacheWrite), status(t.s, sqlite.DBStatusCacheSpill)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if db.writer.redo.run == 0 {
			t.Fatal("it is not recorded: this tests nothing")
		}
	}
	err := db.writer.do(t.Context(), outside, func(_ context.Context, x *tx) error {
		frames := status(x.s, sqlite.DBStatusCacheWrite) - written
		const frame, index = 4096 + 24, 64 << 10
		if need := frames*frame + index; need > spareSize || spilled == 0 {
			t.Errorf("the COMMIT wrote %d pages, which take %d bytes of %d; before it %d had been written", frames, need, spareSize, spilled)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestFileErrors holds that an error of a file is one of a full disk when the disk is
// found full, and that no other is.
func TestFileErrors(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "text"), bytes.Repeat([]byte("text"), 1024), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, file := range map[string]bool{"missing": true, "text": false} {
		pool, err := openSQLite(filepath.Join(dir, name), live, readerPragmas(), nil)
		if err == nil {
			_, err = schemaVersion(t.Context(), pool)
			pool.Close()
		}
		for _, full := range []bool{false, true} {
			v, err := sqliteDialect().wherever(func() bool { return full }).triage(err)
			if got := errors.Is(err, meta.ErrNoSpace); got != (file && full) || v != fatal {
				t.Errorf("%s, with the disk found full: %v: got %v", name, full, err)
			}
		}
	}
	path := filepath.Join(t.TempDir(), "berth.db")
	if isFull(path) {
		t.Error("this disk is full")
	}
	if names, err := filepath.Glob(path + "*"); err != nil || len(names) > 0 {
		t.Errorf("left behind: %v, %v", names, err)
	}
}

// TestFaultWhileRecovering makes every call of an Open fail that has something to
// repeat, in every way, and that several times over: nothing is lost, and nothing
// happens twice.
func TestFaultWhileRecovering(t *testing.T) {
	f := &fullness{}
	db, a := f.begin(t, false)
	want := dump(t, db)
	opened := func(path string, s *spy) (*DB, error) {
		return Open(t.Context(), frozen(path, func(c driver.Connector) driver.Connector { return spiedConnector{c, s} }))
	}
	for _, mode := range []failure{before, after, dead} {
		for n := 1; ; n++ {
			path := filepath.Join(t.TempDir(), "berth.db")
			copyFiles(t, f.left, path, "", "-wal", ledgerExt, redoExt)
			s := newSpy()
			s.arm(n, mode)
			next, err := opened(path, s)
			text, failed := s.disarm()
			if err == nil {
				next.reader.close()
				next.writer.close() // without saving the clock
			} else if !failed {
				t.Fatal(err)
			}
			s.arm(n+1, mode) // the next start fails a step later
			if next, err = opened(path, s); err == nil {
				next.reader.close()
				next.writer.close()
			}
			s.disarm()
			for range 2 {
				next := mustOpen(t, frozen(path, nil))
				if got := dump(t, next); got != want {
					t.Errorf("call %d (%s) failing %d: there is\n%s\nwant\n%s", n, text, mode, got, want)
				}
				mustBeGone(t, next, a, "after it")
				if err := errors.Join(next.reader.close(), next.writer.close()); err != nil {
					t.Error(err)
				}
			}
			if !failed {
				break
			}
		}
	}
}

// TestKilledWhileRecovering kills what repeats records before and after it is
// committed: whoever comes next has them once.
func TestKilledWhileRecovering(t *testing.T) {
	f := &fullness{}
	db, _ := f.begin(t, false)
	path := filepath.Join(t.TempDir(), "berth.db")
	copyFiles(t, f.left, path, "", "-wal", ledgerExt, redoExt)
	want := dump(t, db)
	var kills []string
	kill := func(string) {
		to := filepath.Join(t.TempDir(), "berth.db")
		copyFiles(t, path, to, "", "-wal", ledgerExt, redoExt)
		kills = append(kills, to)
	}
	m := &moments{before: kill, after: kill}
	mustOpen(t, frozen(path, m.wrap)).Close()
	if len(kills) < 2 {
		t.Fatal("nothing was committed: this tests nothing")
	}
	for i, to := range kills[:2] {
		next := mustOpen(t, frozen(to, nil))
		if got := dump(t, next); got != want {
			t.Errorf("after kill %d there is\n%s\nwant\n%s", i, got, want)
		}
		next.Close()
	}
}
