package gc_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/blob"
	"berth/internal/blob/blobtest"
	"berth/internal/blob/memblob"
	"berth/internal/event"
	"berth/internal/gc"
	"berth/internal/meta"
	"berth/internal/meta/sqlmeta"
	"berth/internal/oci"
	"berth/internal/registry"
)

const (
	grace = time.Hour
	delay = time.Minute
	idle  = 24 * time.Hour
)

// An env is a registry and its collector, with a clock that the test sets.
type env struct {
	t       *testing.T
	running time.Duration
	db      *sqlmeta.DB
	blobs   *memblob.Store
	core    *registry.Core
	gc      *gc.Collector
	repo    oci.Repo
}

func newEnv(t *testing.T) *env {
	t.Helper()
	e := &env{t: t, blobs: memblob.New()}
	var err error
	e.db, err = sqlmeta.Open(t.Context(), sqlmeta.Options{
		Path: filepath.Join(t.TempDir(), "berth.db"), Grace: grace, Delay: delay, Running: func() time.Duration { return e.running },
		Memory: 1 << 20, Doubt: func(err error) { t.Error(err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.db.Close() })
	log := slog.New(slog.DiscardHandler)
	e.core = registry.New(registry.Options{Blobs: e.blobs, Records: e.db, Log: log, Deletion: registry.DeletionOn, Grace: grace})
	e.gc = &gc.Collector{Records: e.db, Blobs: e.blobs, Grace: grace, Delay: delay, UploadIdle: idle, Log: log}
	if e.repo, err = oci.ParseRepo("a"); err != nil {
		t.Fatal(err)
	}
	return e
}

func (e *env) upload(content string) registry.Upload {
	e.t.Helper()
	u, err := e.core.StartUpload(e.t.Context(), e.repo, oci.SHA256)
	if err != nil {
		e.t.Fatal(err)
	}
	if err := u.Append(e.t.Context(), 0, bytes.NewReader([]byte(content))); err != nil {
		e.t.Fatal(err)
	}
	return u
}

func (e *env) push(content string) oci.Digest {
	e.t.Helper()
	d := oci.SHA256.FromBytes([]byte(content))
	if err := e.upload(content).Commit(e.t.Context(), d); err != nil {
		e.t.Fatal(err)
	}
	return d
}

// put stores a manifest of which the blobs are parts, and returns its digest.
func (e *env) put(blobs ...oci.Digest) oci.Digest {
	e.t.Helper()
	m := oci.Manifest{MediaType: "application/x.test"}
	for _, d := range blobs {
		m.Blobs = append(m.Blobs, oci.Descriptor{Digest: d, Size: oci.UnknownSize})
		m.Body = append(m.Body, d.String()...)
	}
	res, err := e.core.PutManifest(e.t.Context(), registry.Put{Repo: e.repo, Manifest: m})
	if err != nil {
		e.t.Fatal(err)
	}
	return res.Digest
}

func (e *env) collect(want gc.Report) {
	e.t.Helper()
	got, err := e.gc.Collect(e.t.Context())
	if err != nil || got != want {
		e.t.Fatalf("collected %+v, error %v, want %+v", got, err, want)
	}
}

// objects counts what is in the store.
func (e *env) objects() int {
	e.t.Helper()
	n := 0
	for _, err := range e.blobs.List(e.t.Context()) {
		if err != nil {
			e.t.Fatal(err)
		}
		n++
	}
	return n
}

func (e *env) want(objects int) {
	e.t.Helper()
	if got := e.objects(); got != objects {
		e.t.Fatalf("got %d objects, want %d", got, objects)
	}
}

// TestGrace follows a blob that nothing needs, and one that something does until
// it no longer does.
func TestGrace(t *testing.T) {
	e := newEnv(t)
	e.push("loose")
	needed := e.push("needed")
	m := e.put(needed)
	e.running += grace - 1
	e.collect(gc.Report{})
	e.running++
	e.collect(gc.Report{Blobs: 1}) // its object may still be being read
	e.want(2)
	e.running += delay - 1
	e.collect(gc.Report{})
	e.running++
	e.collect(gc.Report{Objects: 1, Bytes: 5})
	e.want(1)

	e.running += 100 * grace
	e.collect(gc.Report{})
	if err := e.core.DeleteManifest(t.Context(), e.repo, m); err != nil {
		t.Fatal(err)
	}
	e.running += grace - 1
	e.collect(gc.Report{})
	e.running++
	e.collect(gc.Report{Blobs: 1})
	e.running += delay
	e.collect(gc.Report{Objects: 1, Bytes: 6})
	e.want(0)
	if got := e.gc.Collected(); got != 2 {
		t.Errorf("Collected is %d, want 2", got)
	}
}

// TestTouchKeeps holds that a client which was told of a blob has the grace anew.
func TestTouchKeeps(t *testing.T) {
	e := newEnv(t)
	d := e.push("loose")
	e.running += grace - 1
	b, err := e.core.Blob(t.Context(), e.repo, d)
	if err != nil {
		t.Fatal(err)
	}
	b.Close()
	e.running += grace - 1
	e.collect(gc.Report{})
	e.put(d)
	e.running += 10 * grace
	e.collect(gc.Report{})
	e.want(1)
}

// TestUploadsForEver holds that without a time after which they end, uploads stay.
func TestUploadsForEver(t *testing.T) {
	e := newEnv(t)
	e.gc.UploadIdle = 0
	u := e.upload("x")
	e.running += 1000 * idle
	e.collect(gc.Report{})
	if _, err := e.core.ResumeUpload(t.Context(), e.repo, u.ID()); err != nil {
		t.Errorf("the upload is gone: %v", err)
	}
}

// TestUploads holds that an upload ends when nobody has gone on with it.
func TestUploads(t *testing.T) {
	e := newEnv(t)
	u := e.upload("begun")
	e.running += idle - 1
	e.collect(gc.Report{})
	if err := u.Append(t.Context(), u.Size(), bytes.NewReader([]byte(" and gone on with"))); err != nil {
		t.Fatal(err)
	}
	e.running += idle - 1
	e.collect(gc.Report{})
	e.want(1)
	e.running++
	e.collect(gc.Report{Uploads: 1, Objects: 1, Bytes: 22})
	e.want(0)
	if _, err := e.core.ResumeUpload(t.Context(), e.repo, u.ID()); oci.CodeOf(err) != oci.BlobUploadUnknown {
		t.Errorf("resume: got %v, want %s", err, oci.BlobUploadUnknown)
	}
}

// TestMany holds that batches add up.
func TestMany(t *testing.T) {
	const n = 230 // more than two batches
	e := newEnv(t)
	var kept []oci.Digest
	for i := range n {
		d := e.push(string(rune('0' + i)))
		if i%23 == 0 {
			kept = append(kept, d)
		}
	}
	e.put(kept...)
	e.running += grace + delay
	e.collect(gc.Report{Blobs: n - len(kept)})
	e.running += delay
	e.collect(gc.Report{Objects: n - len(kept), Bytes: 364})
	e.want(len(kept))
}

// TestTombstones holds that they outlive every push, and end.
func TestTombstones(t *testing.T) {
	e := newEnv(t)
	d := e.push("lost")
	e.running += grace
	e.collect(gc.Report{Blobs: 1})
	put := func() error {
		_, err := e.core.PutManifest(t.Context(), registry.Put{Repo: e.repo, Manifest: oci.Manifest{
			MediaType: "application/x.test", Body: []byte("x"), Blobs: []oci.Descriptor{{Digest: d, Size: oci.UnknownSize}},
		}})
		return err
	}
	e.running += 7*24*time.Hour - 1
	e.collect(gc.Report{Objects: 1, Bytes: 4})
	if err := put(); oci.CodeOf(err) != oci.ManifestBlobUnknown {
		t.Errorf("got %v, want %s", err, oci.ManifestBlobUnknown)
	}
	e.running++
	e.collect(gc.Report{})
	if err := put(); err != nil {
		t.Errorf("got %v, want a dangling reference", err)
	}
}

// TestObjectsGoFirst holds that an object is deleted before its record goes, so
// that whatever fails, the next Collect ends it.
func TestObjectsGoFirst(t *testing.T) {
	broken := errors.New("broken")
	for _, apply := range []bool{true, false} {
		for _, op := range []string{"Delete", "Forget"} {
			e := newEnv(t)
			e.push("one")
			e.push("two")
			e.running += grace
			e.collect(gc.Report{Blobs: 2})
			e.running += delay
			f := &forgetful{Garbage: e.db, apply: apply}
			if op == "Forget" {
				f.err = broken
			}
			e.gc.Records = f
			n := 0
			e.gc.Blobs = blobtest.Faulty(e.blobs, func(o string, _ int) (bool, error) {
				if n++; o == op && n == 1 {
					return apply, broken
				}
				return true, nil
			})
			f.before = func(keys []blob.Key) {
				for o := range e.blobs.List(t.Context()) {
					if slices.Contains(keys, o.Key) {
						t.Errorf("%s: the record of %s goes before its object", op, o.Key)
					}
				}
			}
			if _, err := e.gc.Collect(t.Context()); !errors.Is(err, broken) {
				t.Errorf("%s, applied %v: got %v, want %v", op, apply, err, broken)
			}
			f.err = nil
			if _, err := e.gc.Collect(t.Context()); err != nil {
				t.Errorf("%s, applied %v: the next Collect: %v", op, apply, err)
			}
			e.want(0)
			if keys, err := e.db.Condemned(t.Context(), 0, 9); err != nil || len(keys) != 0 {
				t.Errorf("%s, applied %v: still condemned: %v, %v", op, apply, keys, err)
			}
		}
	}
}

// TestHurry holds that a collection may be given another grace, for all that it
// does, and that with none everything that nothing needs goes at once.
func TestHurry(t *testing.T) {
	e := newEnv(t)
	e.push("loose")
	e.put(e.push("needed"))
	e.running += delay
	for _, step := range []struct {
		grace time.Duration
		want  gc.Report
	}{
		{delay + 1, gc.Report{}},
		{delay, gc.Report{Blobs: 1}},
		{delay, gc.Report{}},
		{delay / 2, gc.Report{}},
		{0, gc.Report{Objects: 1, Bytes: 5}},
		{0, gc.Report{}},
	} {
		if got, err := e.gc.Ask(t.Context(), gc.Request{Grace: step.grace}); err != nil || got != step.want {
			t.Fatalf("after %v: collected %+v, error %v, want %+v", step.grace, got, err, step.want)
		}
	}
	e.want(1)
}

// TestHold holds that objects stay while somebody is about to read them, however
// long they have been condemned, and go after the last one has ended.
func TestHold(t *testing.T) {
	e := newEnv(t)
	e.push("loose")
	first, second := e.gc.Hold(), e.gc.Hold()
	e.running += grace
	e.collect(gc.Report{Blobs: 1})
	e.running += delay
	e.collect(gc.Report{})
	first()
	first()
	e.collect(gc.Report{})
	e.want(1)
	second()
	e.collect(gc.Report{Objects: 1, Bytes: 5})
	e.want(0)
}

// TestSharedKey holds that an object which two blobs have, as a file taken over
// from elsewhere may be under two digests, goes with the last of them.
func TestSharedKey(t *testing.T) {
	e := newEnv(t)
	e.push("x")
	d256, d512 := oci.SHA256.FromBytes([]byte("x")), oci.SHA512.FromBytes([]byte("x"))
	rec, err := e.db.FindContent(t.Context(), d256)
	if err != nil {
		t.Fatal(err)
	}
	u := meta.Upload{ID: "u", Repo: e.repo, Key: blob.NewKey(), Algorithm: oci.SHA512, Started: time.Now()}
	if err := e.db.CreateUpload(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	if _, err := e.db.CommitUpload(t.Context(), u, meta.Blob{Digest: d512, Key: rec.Key, Size: 1}, event.Actor{}); err != nil {
		t.Fatal(err)
	}
	for i, d := range []oci.Digest{d256, d512} {
		if err := e.core.DeleteBlob(t.Context(), e.repo, d); err != nil {
			t.Fatal(err)
		}
		e.running += delay
		e.collect(gc.Report{Objects: i, Bytes: int64(i)})
		e.want(1 - i)
	}
}

// A forgetful Garbage fails to forget.
type forgetful struct {
	meta.Garbage
	before func([]blob.Key)
	apply  bool
	err    error
}

func (f *forgetful) Forget(ctx context.Context, keys []blob.Key) error {
	f.before(keys)
	if f.err == nil || f.apply {
		if err := f.Garbage.Forget(ctx, keys); err != nil {
			return err
		}
	}
	return f.err
}

// TestPushAgain holds that what was condemned is not touched by the deletion
// when it was pushed again meanwhile.
func TestPushAgain(t *testing.T) {
	e := newEnv(t)
	d := e.push("x")
	e.running += grace
	e.collect(gc.Report{Blobs: 1})
	e.push("x")
	e.running += delay
	e.collect(gc.Report{Objects: 1, Bytes: 1})
	b, err := e.core.Blob(t.Context(), e.repo, d)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if got, err := io.ReadAll(b); string(got) != "x" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestRun holds that the loop recovers once, then collects, whatever fails, and
// ends with ctx.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		store := &counted{}
		c := gc.Collector{UploadIdle: time.Hour, Blobs: store, Records: still{n: &store.collects}, Log: slog.New(slog.DiscardHandler), Every: time.Minute}
		done := make(chan error)
		go func() { done <- c.Run(ctx) }()
		synctest.Wait()
		if r, c := store.recovers.Load(), store.collects.Load(); r != 1 || c != 0 {
			t.Errorf("at first: recovered %d times and collected %d times, want 1 and 0", r, c)
		}
		time.Sleep(2*time.Minute + 20*time.Second)
		synctest.Wait()
		if r, n := store.recovers.Load(), store.collects.Load(); r != 4 || n != 3 || c.Status().Totals.Failed != 3 {
			t.Errorf("soon: tried to recover %d times and collected %d times, want 4 and 3; %+v", r, n, c.Status())
		}
		store.works.Store(true)
		time.Sleep(60 * time.Minute)
		synctest.Wait()
		if r, c := store.recovers.Load(), store.collects.Load(); r != 5 || c != 63 {
			t.Errorf("once that works: tried to recover %d times and collected %d times, want 5 and 63", r, c)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("got %v, want nil", err)
		}
	})
}

// TestRunRecovers holds that what a crash left behind goes, and only that.
func TestRunRecovers(t *testing.T) {
	e := newEnv(t)
	e.gc.Every = time.Hour
	if _, err := e.blobs.Create(t.Context(), blob.NewKey()); err != nil { // as a crash leaves it
		t.Fatal(err)
	}
	u, d := e.upload("going on"), oci.SHA256.FromBytes([]byte("going on"))
	e.push("loose")
	ctx, cancel := context.WithCancel(t.Context())
	e.gc.Blobs = &counted{Store: e.blobs, then: func(known func(context.Context, blob.Key) (bool, error)) error {
		defer cancel()
		return e.blobs.Recover(ctx, known)
	}}
	if err := e.gc.Run(ctx); err != nil {
		t.Fatal(err)
	}
	e.want(2)
	if err := u.Commit(t.Context(), d); err != nil {
		t.Error(err)
	}
}

// A counted store counts its Recovers, which fail until it works, unless then says
// otherwise.
type counted struct {
	blob.Store
	recovers, collects atomic.Int64
	works              atomic.Bool
	then               func(known func(context.Context, blob.Key) (bool, error)) error
}

func (c *counted) Recover(_ context.Context, known func(context.Context, blob.Key) (bool, error)) error {
	c.recovers.Add(1)
	if c.then != nil {
		return c.then(known)
	}
	if c.works.Load() {
		return nil
	}
	return errors.New("that did not work")
}

// A still Garbage has none.
type still struct {
	quiet
	n *atomic.Int64
}

func (s still) ExpireUploads(context.Context, time.Duration, int) (int, error) {
	s.n.Add(1)
	return 0, nil
}

func (s still) ForgetLosses(context.Context, time.Duration, int) (int, error) {
	return 0, errors.New("that did not work")
}

// A quiet Garbage has none, and nothing goes wrong.
type quiet struct{ meta.Garbage }

func (quiet) CollectBlobs(context.Context, time.Duration, int) (int, int, error) { return 0, 0, nil }
func (quiet) Condemned(context.Context, time.Duration, int) ([]blob.Key, error)  { return nil, nil }
func (quiet) ForgetLosses(context.Context, time.Duration, int) (int, error)      { return 0, nil }
func (quiet) KnownKey(context.Context, blob.Key) (bool, error)                   { return false, nil }
