package sqlmeta

import (
	"context"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// touchClock makes two changes that change nothing: the first begins a run of
// records, and the second opens its transaction.
func touchClock(t *testing.T, db *DB) {
	t.Helper()
	for range 2 {
		err := db.writer.do(t.Context(), durable, func(ctx context.Context, t *tx) error {
			_, err := t.exec(ctx, `UPDATE clock SET ticks = ticks`)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if db.writer.redo.run == 0 {
		t.Fatal("nothing is recorded: this tests nothing")
	}
}

// frozenTemplate makes a prepared database, which is closed, and returns its path.
func frozenTemplate(t *testing.T) string {
	t.Helper()
	template := filepath.Join(t.TempDir(), "template.db")
	db := mustOpen(t, frozen(template, nil))
	prepare(t, db)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return template
}

// copyTo copies the files of a database that are given by what is behind the name.
func copyFiles(t *testing.T, from, to string, exts ...string) {
	t.Helper()
	for _, ext := range exts {
		if err := copyFile(from+ext, to+ext); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
}

// TestRecordsSay holds that the records of each operation say all that it changed:
// whoever has the database of before and them has what was there after it. It is
// so after the loss of power, when the log has nothing of what was not waited for,
// and after a kill, when it has some.
func TestRecordsSay(t *testing.T) {
	template := frozenTemplate(t)
	for _, op := range operations(t) {
		t.Run(op.name, func(t *testing.T) {
			tr := &trial{operation: op, template: template}
			db := tr.open(t, nil)
			defer db.Close()
			touchClock(t, db)
			dump(t, db)
			before := filepath.Join(t.TempDir(), "berth.db")
			copyFiles(t, db.path, before, "", "-wal", ledgerExt)
			if err := op.do(t.Context(), db); err != nil {
				t.Fatal(err)
			}
			kill := filepath.Join(t.TempDir(), "berth.db")
			copyFiles(t, db.path, kill, "", "-wal", ledgerExt, redoExt)
			copyFiles(t, db.path, before, redoExt)
			recorded := db.writer.redo.seq > 2
			want := dump(t, db)
			late := filepath.Join(t.TempDir(), "berth.db")
			copyFiles(t, db.path, late, "", "-wal", ledgerExt, redoExt)
			for what, path := range map[string]string{"power": before, "kill": kill, "late kill": late} {
				if what == "power" && !recorded {
					continue // it was committed as a whole, and the log is as old as before
				}
				next := mustOpen(t, frozen(path, nil))
				if got := dump(t, next); got != want {
					t.Errorf("after a %s (recorded: %v) there is\n%s\nwant\n%s", what, recorded, got, want)
				}
				if err := next.Check(t.Context()); err != nil {
					t.Error(err)
				}
				next.Close()
			}
		})
	}
}

// TestTornRecords holds that a file that ends anywhere, or has a wrong byte
// anywhere, says what it says before that.
func TestTornRecords(t *testing.T) {
	template := frozenTemplate(t)
	tr := &trial{template: template}
	db := tr.open(t, nil)
	defer db.Close()
	touchClock(t, db)
	states := []string{dump(t, db)}
	before := filepath.Join(t.TempDir(), "berth.db")
	copyFiles(t, db.path, before, "", "-wal", ledgerExt)
	a := mustRepo(t, "a")
	for _, tag := range []string{"t1", "t2", "t3"} {
		mustPut(t, db, imageOf(t, a, tag, "x", tag))
		states = append(states, dump(t, db))
	}
	file, err := os.ReadFile(db.path + redoExt)
	if err != nil {
		t.Fatal(err)
	}
	first, end := int(db.writer.redo.base), int(db.writer.redo.off)
	for at := first; at < end; at += max(1, (end-first)/40) {
		for _, how := range []string{"cut", "bad"} {
			b := slices.Clone(file)
			if how == "cut" {
				clear(b[at:])
			} else {
				b[at] ^= 0x40
			}
			path := filepath.Join(t.TempDir(), "berth.db")
			copyFiles(t, before, path, "", "-wal", ledgerExt)
			if err := os.WriteFile(path+redoExt, b, 0o600); err != nil {
				t.Fatal(err)
			}
			next := mustOpen(t, frozen(path, nil))
			if !slices.Contains(states, dump(t, next)) {
				t.Errorf("%s at %d of %d: the state is none that there was", how, at, end)
			}
			next.Close()
		}
	}
}

// TestRecordsOfAnother holds that records of another run are left alone, though their
// numbers are the next ones.
func TestRecordsOfAnother(t *testing.T) {
	tr := &trial{template: frozenTemplate(t)}
	one, other := tr.open(t, nil), tr.open(t, nil)
	defer one.Close()
	defer other.Close()
	touchClock(t, one)
	touchClock(t, other)
	want := dump(t, other)
	mustPut(t, one, imageOf(t, mustRepo(t, "a"), "t1", "x", "t1"))
	path := filepath.Join(t.TempDir(), "berth.db")
	copyFiles(t, other.path, path, "", "-wal", ledgerExt)
	copyFiles(t, one.path, path, redoExt)
	next := mustOpen(t, frozen(path, nil))
	defer next.Close()
	if got := dump(t, next); got != want {
		t.Errorf("the records of another run were repeated:\n%s\nwant\n%s", got, want)
	}
}

// A brokenFile fails at its n-th call, before or after it has done it.
type brokenFile struct {
	redoFile
	left  *atomic.Int64
	after bool
}

func (f brokenFile) call(do func() error) error {
	if f.left.Add(-1) != 0 {
		return do()
	}
	if f.after {
		_ = do()
	}
	return errInjected
}

func (f brokenFile) WriteAt(p []byte, off int64) (n int, err error) {
	err = f.call(func() error { n, err = f.redoFile.WriteAt(p, off); return err })
	return n, err
}

func (f brokenFile) Sync() error { return f.call(f.redoFile.Sync) }

// TestBrokenFile holds that changes are made without the file if it fails.
func TestBrokenFile(t *testing.T) {
	template := frozenTemplate(t)
	for n := range int64(6) {
		for _, late := range []bool{false, true} {
			tr := &trial{template: template}
			db := tr.open(t, nil)
			var left atomic.Int64
			touchClock(t, db)
			db.writer.redo.file = brokenFile{db.writer.redo.file, &left, late}
			left.Store(n + 1)
			a := mustRepo(t, "a")
			for _, tag := range []string{"t1", "t2", "t3", "t4"} {
				mustPut(t, db, imageOf(t, a, tag, "x", tag))
			}
			path := filepath.Join(t.TempDir(), "berth.db")
			copyFiles(t, db.path, path, "", "-wal", ledgerExt, redoExt)
			next := mustOpen(t, frozen(path, nil))
			if got, want := dump(t, next), dump(t, db); got != want {
				t.Errorf("call %d: whoever opens it anew sees\n%s\nwant\n%s", n+1, got, want)
			}
			next.Close()
			db.Close()
		}
	}
}

// TestUndoneAmongRecords holds that what is recorded stays when a change behind it,
// in the same transaction, is undone.
func TestUndoneAmongRecords(t *testing.T) {
	tr := &trial{template: frozenTemplate(t)}
	db := tr.open(t, nil)
	defer db.Close()
	touchClock(t, db)
	p := imageOf(t, mustRepo(t, "a"), "t1", "x", "t1")
	mustPut(t, db, p)
	undo := errors.New("undo")
	err := db.writer.do(t.Context(), durable, func(ctx context.Context, t *tx) error {
		if _, err := t.exec(ctx, `DELETE FROM tags`); err != nil {
			return err
		}
		return undo
	})
	if !errors.Is(err, undo) {
		t.Fatal(err)
	}
	if got := bodyAt(t, db, p.Repo, "t1"); got != string(p.Manifest.Body) {
		t.Errorf("the tag leads to %q", got)
	}
}

// TestSettled holds that records are committed when the database is left alone.
func TestSettled(t *testing.T) {
	tr := &trial{template: frozenTemplate(t)}
	db := tr.open(t, nil)
	defer db.Close()
	touchClock(t, db)
	mustPut(t, db, imageOf(t, mustRepo(t, "a"), "t1", "x", "t1"))
	for db.writer.redo.dirty.Load() {
		select {
		case <-t.Context().Done():
			t.Fatal("it never is")
		case <-time.After(time.Millisecond):
		}
	}
}

// TestRecordsWait holds which recorded changes wait for the disk: what a client is
// told of does, with all that was recorded before it, and also if it changes nothing
// itself.
func TestRecordsWait(t *testing.T) {
	tr := &trial{template: frozenTemplate(t)}
	db := tr.open(t, nil)
	defer db.Close()
	touchClock(t, db)
	syncs := 0
	nothing, count := func() {}, func() { syncs++ }
	db.writer.redo.file = peekingFile{db.writer.redo.file, &nothing, &count}
	for i, c := range []struct {
		kind  kind
		text  string
		syncs int
	}{
		{durable, `UPDATE clock SET ticks = ticks`, 1},
		{relaxed, `UPDATE clock SET ticks = ticks + 1`, 1},
		{relaxed, `UPDATE clock SET ticks = ticks + 1`, 1},
		{durable, `UPDATE clock SET ticks = ticks + 1 WHERE id = 2`, 2},
		{durable, `UPDATE clock SET ticks = ticks + 1 WHERE id = 2`, 2},
	} {
		err := db.writer.do(t.Context(), c.kind, func(ctx context.Context, t *tx) error {
			_, err := t.exec(ctx, c.text)
			return err
		})
		if err != nil || syncs != c.syncs {
			t.Errorf("change %d: error %v, and %d syncs so far, want %d", i, err, syncs, c.syncs)
		}
	}
}

// A peekingFile calls before and after around each sync.
type peekingFile struct {
	redoFile
	before, after *func()
}

func (f peekingFile) Sync() error {
	(*f.before)()
	err := f.redoFile.Sync()
	(*f.after)()
	return err
}

// TestFillDuringRecord holds that what is read while a change is being recorded is
// not kept, and that the change is seen by all who are told of it.
func TestFillDuringRecord(t *testing.T) {
	nothing := func() {}
	before, after := nothing, nothing
	db := mustOpen(t, Options{Path: filepath.Join(t.TempDir(), "berth.db"), Memory: 1 << 20, Trash: time.Hour})
	defer db.Close()
	a := mustRepo(t, "a")
	pushBlob(t, db, a, "layer")
	touchClock(t, db)
	db.writer.redo.file = peekingFile{db.writer.redo.file, &before, &after}
	for i, at := range []*func(){&before, &after} {
		one, two := imageOf(t, a, "x"), imageOf(t, a, "x", "layer")
		mustPut(t, db, one)
		seen := "nothing"
		for range 2 {
			if err := db.writer.settled(t.Context()); err != nil { // or who reads waits for the writer, which is us
				t.Fatal(err)
			}
			db.hot.Forget()
			*at = func() {
				*at = nothing
				seen = bodyAt(t, db, a, "x")
			}
			mustPut(t, db, two)
			if seen != string(one.Manifest.Body) {
				t.Errorf("%d: while it is recorded the tag leads to %q", i, seen)
			}
			if got := bodyAt(t, db, a, "x"); got != string(two.Manifest.Body) {
				t.Errorf("%d: then the tag leads to %q", i, got)
			}
			db.hot.Forget()
			if got := bodyAt(t, db, a, "x"); got != string(two.Manifest.Body) {
				t.Errorf("%d: in the database the tag leads to %q", i, got)
			}
			one, two = two, one
		}
	}
}

// FuzzRecords holds that whatever the file holds can be read, and that what was
// read is written as it was.
func FuzzRecords(f *testing.F) {
	r := recorder{tables: map[string]*table{"t": {name: "t", columns: []string{"a", "b", "c"}, key: []int{0}}}}
	r.reset()
	r.row("t", nil, []any{int64(1), "text", []byte("blob")})
	r.row("t", []any{int64(1), "text", []byte("blob")}, []any{int64(1), nil, []byte{}})
	r.row("t", []any{int64(1), nil, []byte{}}, nil)
	sealRecord(r.buf, 7, 1)
	f.Add(r.buf)
	f.Add(r.buf[redoHead:])
	list := readRecords(r.buf)
	want := []rowChange{
		{op: rowInsert, table: "t", vals: []any{int64(1), "text", []byte("blob")}},
		{op: rowUpdate, table: "t", key: []any{int64(1)}, cols: []int{1, 2}, vals: []any{nil, []byte{}}},
		{op: rowDelete, table: "t", key: []any{int64(1)}},
	}
	if len(list) != 1 || list[0].run != 7 || list[0].seq != 1 || !reflect.DeepEqual(list[0].changes, want) {
		f.Fatalf("%s is read as %+v", hex.EncodeToString(r.buf), list)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		readRecords(b)
		_, _ = readChanges(b)
		if len(b) >= redoHead {
			sealRecord(b, 1, 1) // so that more of them are whole
			readRecords(b)
		}
	})
}
