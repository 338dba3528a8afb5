package sqlmeta

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"testing"

	"berth/internal/blob"
	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
)

// hold occupies the writer until the returned function is called, so that
// whatever comes meanwhile must wait and share the next transaction.
func hold(t *testing.T, db *DB) (release func()) {
	t.Helper()
	held, free, done := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		done <- db.writer.do(context.Background(), outside, func(context.Context, *tx) error {
			close(held)
			<-free
			return nil
		})
	}()
	<-held
	return func() {
		close(free)
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// waiting waits until n mutations wait for their turn.
func waiting(t *testing.T, db *DB, n int) {
	t.Helper()
	for t.Context().Err() == nil {
		db.writer.mu.Lock()
		has := len(db.writer.waiting)
		db.writer.mu.Unlock()
		if has == n {
			return
		}
		runtime.Gosched()
	}
}

func TestGroupCommit(t *testing.T) {
	db := openTemp(t)
	const n = maxBatch + 10
	release := hold(t, db)
	before := db.Stats()
	errs := make([]chan error, n)
	for i := range errs {
		errs[i] = make(chan error, 1)
		go func() {
			errs[i] <- db.write(t.Context(), relaxed, func(ctx context.Context, t *tx) error { return t.condemn(ctx, fmt.Sprint(i), 0) })
		}()
		waiting(t, db, i+1)
	}
	release()
	for _, err := range errs {
		if err := <-err; err != nil {
			t.Error(err)
		}
	}
	after := db.Stats()
	if got := after.Commits - before.Commits; got != 2 { // 64, 10
		t.Errorf("%d commits, want 2", got)
	}
	if got := after.Mutations - before.Mutations; got != n {
		t.Errorf("%d mutations, want %d", got, n)
	}
	if after.Synced != before.Synced {
		t.Errorf("%d commits waited for the disk, want none", after.Synced-before.Synced)
	}
}

// TestNeighbours holds that a mutation that fails half-way leaves nothing behind
// and does not concern those that share its transaction.
func TestNeighbours(t *testing.T) {
	db := openTemp(t)
	errOwn := errors.New("own mistake")
	release := hold(t, db)
	before := db.Stats()
	good, bad := make(chan error, 4), make(chan error, 2)
	for i := range 6 {
		go func() {
			err := db.writer.do(t.Context(), durable, func(ctx context.Context, t *tx) error {
				_, err := t.exec(ctx, `INSERT INTO garbage (key, due) VALUES ($1, 0)`, fmt.Sprint(i))
				if i%3 == 1 {
					return errOwn
				}
				return err
			})
			if i%3 == 1 {
				bad <- err
			} else {
				good <- err
			}
		}()
		waiting(t, db, i+1)
	}
	release()
	for range 4 {
		if err := <-good; err != nil {
			t.Errorf("a good one: %v", err)
		}
	}
	for range 2 {
		if err := <-bad; err != errOwn {
			t.Errorf("a bad one: %v, want %v", err, errOwn)
		}
	}
	keys, err := db.Condemned(t.Context(), 0, 10)
	if got := fmt.Sprint(keys); err != nil || got != "[0 2 3 5]" {
		t.Errorf("got %s, %v", got, err)
	}
	after := db.Stats()
	if got := after.Commits - before.Commits; got != 1 {
		t.Errorf("%d commits, want 1", got)
	}
}

func TestCancelBeforeTurn(t *testing.T) {
	db := openTemp(t)
	release := hold(t, db)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	ran := false
	go func() {
		done <- db.writer.do(ctx, durable, func(context.Context, *tx) error { ran = true; return nil })
	}()
	waiting(t, db, 1)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	release()
	if ran {
		t.Error("a mutation ran after its caller was told that it did not")
	}
	if err := db.SaveClock(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

// TestCancelDuringTurn holds that a mutation that has begun is finished, and that
// its caller learns what became of it.
func TestCancelDuringTurn(t *testing.T) {
	db := openTemp(t)
	ctx, cancel := context.WithCancel(t.Context())
	err := db.writer.do(ctx, durable, func(ctx context.Context, t *tx) error {
		cancel()
		_, err := t.exec(ctx, `INSERT INTO garbage (key, due) VALUES ('x', 0)`)
		return err
	})
	if err != nil {
		t.Error(err)
	}
	keys, err := db.Condemned(t.Context(), 0, 10)
	if err != nil || len(keys) != 1 {
		t.Errorf("got %v, %v", keys, err)
	}
}

// TestPanic holds that a bug in one mutation does not stop the registry for good.
func TestPanic(t *testing.T) {
	db := openTemp(t)
	release := hold(t, db)
	neighbour := make(chan error, 1)
	recovered := make(chan any, 1)
	go func() {
		defer func() { recovered <- recover() }()
		db.writer.do(t.Context(), durable, func(ctx context.Context, t *tx) error {
			t.exec(ctx, `INSERT INTO garbage (key, due) VALUES ('x', 0)`)
			panic("a bug")
		})
	}()
	waiting(t, db, 1)
	go func() { neighbour <- db.MarkDamaged(t.Context(), oci.SHA256.FromBytes(nil), "nobody's") }()
	waiting(t, db, 2)
	release()
	if got := <-recovered; got != "a bug" {
		t.Errorf("recovered %v", got)
	}
	if err := <-neighbour; !errors.Is(err, errLost) {
		t.Errorf("the neighbour got %v, want %v", err, errLost)
	}
	pushBlob(t, db, mustRepo(t, "a"), "x")
	if keys, err := db.Condemned(t.Context(), 0, 10); err != nil || len(keys) != 0 {
		t.Errorf("got %v, %v", keys, err)
	}
}

// TestDurability holds which changes wait for the disk, and that the database is
// really told so.
func TestDurability(t *testing.T) {
	db := openTemp(t)
	ctx, a, b := t.Context(), mustRepo(t, "a"), mustRepo(t, "b")
	level := func(k kind) (level int) {
		err := db.writer.do(ctx, k, func(ctx context.Context, t *tx) error { return t.get(ctx, `PRAGMA synchronous`, nil, &level) })
		if err != nil {
			t.Fatal(err)
		}
		return level
	}
	unrecorded(t, db)
	db.writer.redo.spared, db.writer.redo.wait = false, 1<<30 // so that all that follows is committed as a whole
	for range 2 {                                             // there and back
		if got := level(durable); got != 2 {
			t.Errorf("durable: synchronous is %d, want 2 (FULL)", got)
		}
		if got := level(relaxed); got != 1 {
			t.Errorf("relaxed: synchronous is %d, want 1 (NORMAL)", got)
		}
	}
	u := meta.Upload{ID: "1", Repo: a, Key: "k1", Algorithm: oci.SHA256}
	x := meta.Blob{Digest: oci.SHA256.FromBytes([]byte("x")), Key: "k1", Size: 1}
	image, other := imageOf(t, a, "v1", "x"), imageOf(t, a, "v1", "never there")
	steps := []struct {
		name   string
		synced int64
		do     func() error
	}{
		{"CreateUpload", 0, func() error { return db.CreateUpload(ctx, u) }},
		{"SaveUpload", 0, func() error { return db.SaveUpload(ctx, u) }},
		{"CommitUpload", 1, func() error { _, err := db.CommitUpload(ctx, u, x, event.Actor{}); return err }},
		{"TouchBlob", 0, func() error { return db.TouchBlob(ctx, a, x.Digest) }},
		{"SaveClock", 0, func() error { return db.SaveClock(ctx) }},
		{"LinkBlob", 1, func() error { return db.LinkBlob(ctx, a, b, x.Digest, event.Actor{}) }},
		{"PutManifest", 1, func() error { _, err := db.PutManifest(ctx, image); return err }},
		{"PutManifest again", 0, func() error { _, err := db.PutManifest(ctx, image); return err }},
		{"MarkDamaged", 1, func() error { return db.MarkDamaged(ctx, x.Digest, "k1") }},
		{"DeleteTag", 1, func() error { return db.DeleteTag(ctx, a, image.Tags[0], event.Actor{}) }},
		{"DeleteManifest", 1, func() error { return db.DeleteManifest(ctx, a, image.Digest, event.Actor{}) }},
		{"UnlinkBlob", 1, func() error { return db.UnlinkBlob(ctx, a, x.Digest, event.Actor{}) }},
		{"CollectBlobs", 1, func() error { _, _, err := db.CollectBlobs(ctx, 0, 9); return err }},
		{"CollectBlobs again", 0, func() error { _, _, err := db.CollectBlobs(ctx, 0, 9); return err }},
		{"Forget", 1, func() error { return db.Forget(ctx, []blob.Key{"k1"}) }},
		{"ForgetLosses", 1, func() error { _, err := db.ForgetLosses(ctx, 0, 9); return err }},
		{"ForgetLosses again", 0, func() error { _, err := db.ForgetLosses(ctx, 0, 9); return err }},
		{"CreateUpload again", 0, func() error {
			return db.CreateUpload(ctx, meta.Upload{ID: "2", Repo: a, Key: "k2", Algorithm: oci.SHA256})
		}},
		{"ExpireUploads", 1, func() error { _, err := db.ExpireUploads(ctx, 0, 9); return err }},
		{"ExpireUploads again", 0, func() error { _, err := db.ExpireUploads(ctx, 0, 9); return err }},
		{"CreateUpload and DropUpload", 1, func() error { return errors.Join(db.CreateUpload(ctx, u), db.DropUpload(ctx, u)) }},
		{"DropUpload again", 0, func() error { return db.DropUpload(ctx, u) }},
		{"Subscribe", 1, func() error { _, err := db.Subscribe(ctx, "r", meta.NeedNews); return err }},
		{"PutManifest with a reader", 1, func() error { _, err := db.PutManifest(ctx, other); return err }},
		{"PutManifest again with a reader", 0, func() error { _, err := db.PutManifest(ctx, other); return err }},
		{"FlushEvents", 0, func() error { return db.FlushEvents(ctx) }},
		{"Advance", 0, func() error { return db.Advance(ctx, "r", 1) }},
		{"TrimEvents", 0, func() error { _, err := db.TrimEvents(ctx, 0, 9); return err }},
		{"Unsubscribe", 1, func() error { return db.Unsubscribe(ctx, "r") }},
	}
	for _, s := range steps {
		before := db.Stats()
		if err := s.do(); err != nil {
			t.Errorf("%s: %v", s.name, err)
		}
		if got := db.Stats().Synced - before.Synced; got != s.synced {
			t.Errorf("%s: %d synced commits, want %d", s.name, got, s.synced)
		}
	}
}

// TestMixedBatch holds that a relaxed change beside a durable one does not take
// its durability away.
func TestMixedBatch(t *testing.T) {
	db := openTemp(t)
	release := hold(t, db)
	before := db.Stats()
	done := make(chan error, 2)
	go func() { done <- db.SaveClock(t.Context()) }()
	waiting(t, db, 1)
	go func() { done <- db.MarkDamaged(t.Context(), oci.SHA256.FromBytes(nil), "nobody's") }()
	waiting(t, db, 2)
	release()
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	after := db.Stats()
	if after.Synced-before.Synced != 1 || after.Commits-before.Commits != 1 {
		t.Errorf("before %+v, after %+v: want one commit, synced", before, after)
	}
}

// TestLateComers holds that what comes while a transaction is being run shares
// it, but for what waits for the disk when the transaction does not.
func TestLateComers(t *testing.T) {
	for _, c := range []struct {
		running, late   kind
		commits, synced int64
	}{
		{durable, durable, 1, 1}, {durable, relaxed, 1, 1}, {relaxed, relaxed, 1, 0}, {relaxed, durable, 2, 1},
	} {
		db := openTemp(t)
		before := db.Stats()
		done := make(chan error, 1)
		err := db.writer.do(t.Context(), c.running, func(ctx context.Context, x *tx) error {
			go func() {
				done <- db.writer.do(t.Context(), c.late, func(ctx context.Context, t *tx) error { return t.condemn(ctx, "late", 0) })
			}()
			waiting(t, db, 1)
			return x.condemn(ctx, "early", 0)
		})
		if err := errors.Join(err, <-done); err != nil {
			t.Error(err)
		}
		after := db.Stats()
		if after.Commits-before.Commits != c.commits || after.Synced-before.Synced != c.synced {
			t.Errorf("%v: before %+v, after %+v", c, before, after)
		}
		if keys, err := db.Condemned(t.Context(), 0, 10); err != nil || len(keys) != 2 {
			t.Errorf("got %v, %v", keys, err)
		}
	}
}

// TestEveryOperationAgain runs every operation beside one that fails and leaves
// changes behind, so that both are run again: the operation does what it does
// alone, and returns the same.
func TestEveryOperationAgain(t *testing.T) {
	template := filepath.Join(t.TempDir(), "template.db")
	db := mustOpen(t, frozen(template, nil))
	prepare(t, db)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, op := range operations(t) {
		t.Run(op.name, func(t *testing.T) {
			t.Parallel()
			tr := newTrial(t, template, op)
			db := tr.open(t, nil)
			defer db.Close()
			release := hold(t, db)
			done, spoiled, runs := make(chan error, 1), make(chan error, 1), 0
			go func() { done <- op.do(t.Context(), db) }()
			waiting(t, db, 1)
			go func() {
				spoiled <- db.writer.do(t.Context(), durable, func(ctx context.Context, t *tx) error {
					runs++
					if err := t.condemn(ctx, "spoilt", 0); err != nil {
						return err
					}
					return errInjected
				})
			}()
			waiting(t, db, 2)
			release()
			if err := <-done; err != nil {
				t.Error(err)
			}
			if err := <-spoiled; err != errInjected || runs != 2 {
				t.Errorf("the other was run %d times, %v", runs, err)
			}
			if got := dump(t, db); got != tr.want {
				t.Errorf("got\n%s\nwant\n%s", got, tr.want)
			}
		})
	}
}

// TestFull holds that a database that cannot grow says so, goes on reading, and
// recovers without a restart.
func TestFull(t *testing.T) {
	db := mustOpen(t, Options{Path: filepath.Join(t.TempDir(), "berth.db"), maxPages: 120})
	defer db.Close()
	a := mustRepo(t, "a")
	var err error
	n := 0
	for ; err == nil; n++ {
		if n == 1000 {
			t.Fatal("the database is never full")
		}
		_, err = db.PutManifest(t.Context(), imageOf(t, a, fmt.Sprint("v", n), fmt.Sprintf("%04000d", n)))
	}
	if !errors.Is(err, meta.ErrNoSpace) {
		t.Fatalf("got %v, want %v", err, meta.ErrNoSpace)
	}
	if err := db.Trouble(); !errors.Is(err, meta.ErrNoSpace) {
		t.Errorf("trouble: got %v, want %v", err, meta.ErrNoSpace)
	}
	tags, err := db.Tags(t.Context(), a, "", 1000)
	if err != nil || len(tags) != n-1 {
		t.Errorf("%d tags, %v; want %d", len(tags), err, n-1)
	}
	for _, tag := range tags[:2] { // the space of one alone may not be where a new one needs it
		if err := db.DeleteManifest(t.Context(), a, tag.Digest, event.Actor{}); err != nil {
			t.Errorf("delete: %v", err)
		}
	}
	if err := db.Trouble(); err != nil {
		t.Errorf("trouble after a commit: %v", err)
	}
	mustPut(t, db, imageOf(t, a, "v0", fmt.Sprintf("%04000d", 0)))
	if err := db.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestClosed(t *testing.T) {
	db := mustOpen(t, Options{Path: filepath.Join(t.TempDir(), "berth.db")})
	for range 2 {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := db.SaveClock(t.Context()); !errors.Is(err, errClosed) {
		t.Errorf("write: got %v, want %v", err, errClosed)
	}
	if _, err := db.FindContent(t.Context(), oci.SHA256.FromBytes(nil)); err == nil {
		t.Error("read: no error")
	}
}

// TestCloseWaits holds that what is waiting when the database is closed is still
// written.
func TestCloseWaits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "berth.db")
	db := mustOpen(t, Options{Path: path})
	release := hold(t, db)
	put, closed := make(chan error, 1), make(chan error, 1)
	go func() { _, err := db.PutManifest(t.Context(), imageOf(t, mustRepo(t, "a"), "v1")); put <- err }()
	waiting(t, db, 1)
	go func() { closed <- db.Close() }()
	waiting(t, db, 2)
	release()
	if err := errors.Join(<-put, <-closed); err != nil {
		t.Error(err)
	}
	db = mustOpen(t, Options{Path: path})
	defer db.Close()
	if _, err := db.FindManifest(t.Context(), mustRepo(t, "a"), oci.Ref{Tag: mustTag(t, "v1")}); err != nil {
		t.Error(err)
	}
}
