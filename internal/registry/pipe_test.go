package registry_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"
	"testing/iotest"
	"time"

	"berth/internal/blob"
	"berth/internal/blob/blobtest"
	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
	"berth/internal/registry"
)

// large is content that is stored in several parts, none of them round.
const large = 3<<20 + 12_345

// A counter counts what a Core asks of its records, and looks at what it saves.
type counter struct {
	registry.Records
	finds, saves int
	onSave       func(meta.Upload) error
	onCommit     func() error
}

func (c *counter) FindUpload(ctx context.Context, r oci.Repo, id meta.UploadID) (meta.Upload, error) {
	c.finds++
	return c.Records.FindUpload(ctx, r, id)
}

func (c *counter) SaveUpload(ctx context.Context, u meta.Upload) error {
	c.saves++
	if c.onSave != nil {
		if err := c.onSave(u); err != nil {
			return err
		}
	}
	return c.Records.SaveUpload(ctx, u)
}

func (c *counter) CommitUpload(ctx context.Context, u meta.Upload, b meta.Blob, by event.Actor) (meta.Blob, error) {
	if c.onCommit != nil {
		if err := c.onCommit(); err != nil {
			return meta.Blob{}, err
		}
	}
	return c.Records.CommitUpload(ctx, u, b, by)
}

// count puts a counter between the Core and its records.
func (e *env) count() *counter {
	c := &counter{Records: e.db}
	e.opts.Records = c
	e.core = registry.New(e.opts)
	return c
}

// faults puts faults into the store of the Core.
func (e *env) faults(inject blobtest.Inject) {
	e.opts.Blobs = blobtest.Faulty(e.blobs, inject)
	e.core = registry.New(e.opts)
}

// noLeaks fails the test if goroutines are left at its end.
func noLeaks(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		for runtime.NumGoroutine() > before { // go test's own time limit ends this
			time.Sleep(time.Millisecond)
		}
	})
}

// A dribble reads in parts of random sizes.
type dribble struct {
	r    io.Reader
	rnd  *rand.Rand
	most int
}

func newDribble(p []byte, most int) *dribble {
	return &dribble{bytes.NewReader(p), rand.New(rand.NewPCG(1, 2)), most}
}

func (d *dribble) Read(p []byte) (int, error) { return d.r.Read(p[:min(len(p), 1+d.rnd.IntN(d.most))]) }

// TestLargeUpload stores what comes in all kinds of reads, in both ways.
func TestLargeUpload(t *testing.T) {
	a, content := repo(t, "a"), randomBytes(large)
	d := oci.SHA256.FromBytes(content)
	for name, reader := range map[string]func(p []byte) io.Reader{
		"whole":            func(p []byte) io.Reader { return bytes.NewReader(p) },
		"with its end":     func(p []byte) io.Reader { return iotest.DataErrReader(bytes.NewReader(p)) },
		"like docker":      func(p []byte) io.Reader { return newDribble(p, 32<<10) },
		"in large reads":   func(p []byte) io.Reader { return newDribble(p, 2<<20) },
		"in small reads":   func(p []byte) io.Reader { return newDribble(p, 1500) },
		"in half the room": func(p []byte) io.Reader { return iotest.HalfReader(bytes.NewReader(p)) },
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			noLeaks(t)
			u := e.start(a)
			if err := u.Append(t.Context(), 0, reader(content[:large/3])); err != nil {
				t.Fatal(err)
			}
			if err := u.Append(t.Context(), large/3, reader(content[large/3:])); err != nil {
				t.Fatal(err)
			}
			if err := u.Commit(t.Context(), d); err != nil {
				t.Fatal(err)
			}
			e.wantBlob(a, d, content)

			whole := newEnv(t)
			if err := whole.start(a).Finish(t.Context(), 0, reader(content), d); err != nil {
				t.Fatal(err)
			}
			whole.wantBlob(a, d, content)
		})
	}
}

// TestCheckpointsAreTrue holds that size, hash and stored bytes of every
// checkpoint belong together, whatever else goes on when it is made: an upload
// can go on from each.
func TestCheckpointsAreTrue(t *testing.T) {
	a, content := repo(t, "a"), randomBytes(large)
	e := newEnv(t)
	e.opts.CheckpointBytes, e.opts.CheckpointEvery = 300_000, time.Millisecond
	var stored []byte
	e.blobs = &copying{Store: e.blobs, to: &stored}
	e.restart()
	c := e.count()
	c.onSave = func(u meta.Upload) error {
		h := sha256.New()
		if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(u.Hash); err != nil {
			t.Error(err)
		}
		if want := sha256.Sum256(content[:u.Size]); !bytes.Equal(h.Sum(nil), want[:]) {
			t.Errorf("at %d bytes the hash is of something else", u.Size)
		}
		if !bytes.Equal(stored, content[:u.Size]) {
			t.Errorf("at %d bytes %d are stored, or others", u.Size, len(stored))
		}
		return nil
	}
	for _, cut := range []int{1, 70_000, 300_000, 1<<20 + 1, large - 1} {
		stored = nil
		u := e.start(a)
		if err := u.Append(t.Context(), 0, &brokenReader{newDribble(content[:cut], 100_000)}); !errors.Is(err, errLost) {
			t.Fatal(err)
		}
		u = e.resume(a, u)
		if u.Size() != int64(cut) {
			t.Fatalf("recorded %d bytes of %d", u.Size(), cut)
		}
		if err := u.Append(t.Context(), int64(cut), newDribble(content[cut:], 100_000)); err != nil {
			t.Fatal(err)
		}
		if err := u.Commit(t.Context(), oci.SHA256.FromBytes(content)); err != nil {
			t.Fatal(err)
		}
	}
	if c.saves < 15 {
		t.Errorf("saved %d times in 15 MiB, want every time a ring was filled at least", c.saves)
	}
}

// copying keeps a copy of what is written.
type copying struct {
	blob.Store
	to *[]byte
}

func (c *copying) Create(ctx context.Context, key blob.Key) (blob.Writer, error) {
	w, err := c.Store.Create(ctx, key)
	return &copyingWriter{w, c.to}, err
}

func (c *copying) Resume(ctx context.Context, key blob.Key, size int64, state []byte) (blob.Writer, error) {
	w, err := c.Store.Resume(ctx, key, size, state)
	if err != nil {
		return nil, err
	}
	*c.to = (*c.to)[:size]
	return &copyingWriter{w, c.to}, nil
}

type copyingWriter struct {
	blob.Writer
	to *[]byte
}

func (w *copyingWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	*w.to = append(*w.to, p[:n]...)
	return n, err
}

// TestWriteFails has the n-th write of an upload fail, done or not: the upload
// can go on from its last checkpoint, and what comes of it is right.
func TestWriteFails(t *testing.T) {
	a, content := repo(t, "a"), randomBytes(large)
	d := oci.SHA256.FromBytes(content)
	fail := errors.New("broken disk")
	for n := 1; n < 14; n += 3 {
		for _, done := range []bool{false, true} {
			t.Run(fmt.Sprintf("write %d, done %v", n, done), func(t *testing.T) {
				e := newEnv(t)
				noLeaks(t)
				e.opts.CheckpointBytes = 500_000
				writes := 0
				e.faults(func(op string, _ int) (bool, error) {
					if op != "Write" {
						return true, nil
					}
					if writes++; writes == n {
						return done, fail
					}
					return true, nil
				})
				u := e.start(a)
				if err := u.Append(t.Context(), 0, bytes.NewReader(content)); !errors.Is(err, fail) {
					t.Fatalf("append: %v", err)
				}
				u = e.resume(a, u)
				if err := u.Finish(t.Context(), u.Size(), bytes.NewReader(content[u.Size():]), d); err != nil {
					t.Fatal(err)
				}
				e.wantBlob(a, d, content)
			})
		}
	}
}

// TestNoSpaceEndsUpload holds that an upload for which there is no space goes, at
// whatever write that turns out.
func TestNoSpaceEndsUpload(t *testing.T) {
	a, content := repo(t, "a"), randomBytes(large)
	for _, n := range []int{1, 4, 6, 9} {
		e := newEnv(t)
		writes := 0
		e.faults(func(op string, _ int) (bool, error) {
			if op == "Write" {
				if writes++; writes == n {
					return false, blob.ErrNoSpace
				}
			}
			return true, nil
		})
		u := e.start(a)
		if err := u.Finish(t.Context(), 0, bytes.NewReader(content), oci.SHA256.FromBytes(content)); !errors.Is(err, blob.ErrNoSpace) {
			t.Errorf("write %d: %v", n, err)
		}
		_, err := e.core.ResumeUpload(t.Context(), a, u.ID())
		wantCode(t, err, oci.BlobUploadUnknown)
		for o := range e.blobs.List(t.Context()) {
			t.Errorf("write %d: object %v is left", n, o)
		}
	}
}

// TestMaxUpload holds that the limit is exact, and that nothing beyond is stored.
func TestMaxUpload(t *testing.T) {
	a, content := repo(t, "a"), randomBytes(large)
	d := oci.SHA256.FromBytes(content)
	e := newEnv(t)
	e.opts.MaxUpload = large
	e.restart()
	if err := e.start(a).Finish(t.Context(), 0, bytes.NewReader(content), d); err != nil {
		t.Errorf("a blob of the limit: %v", err)
	}
	for _, size := range []int64{1, 300_000, 1 << 20, large - 1} {
		var stored []byte
		e := newEnv(t)
		e.blobs, e.opts.MaxUpload = &copying{Store: e.blobs, to: &stored}, size
		e.restart()
		u := e.start(a)
		wantCode(t, u.Finish(t.Context(), 0, bytes.NewReader(content), d), oci.SizeInvalid)
		if int64(len(stored)) > size {
			t.Errorf("%d bytes were stored, and %d are allowed", len(stored), size)
		}
		_, err := e.core.ResumeUpload(t.Context(), a, u.ID())
		wantCode(t, err, oci.BlobUploadUnknown)
	}
}

// TestStalledLargeUpload is about a client that has sent a lot and sends no more,
// and about the one who comes in its place.
func TestStalledLargeUpload(t *testing.T) {
	noLeaks(t)
	for _, first := range []int{2 << 20, 2<<20 + 777} { // in whole parts, and not
		stall(t, first)
	}
}

func stall(t *testing.T, first int) {
	t.Helper()
	a, content := repo(t, "a"), randomBytes(large)
	e := newEnv(t)
	e.opts.CheckpointEvery = time.Millisecond
	e.restart()
	u := e.start(a)
	same := e.resume(a, u)
	old := newHeldReader(content[:first])
	ended := make(chan error, 1)
	go func() { ended <- u.Append(context.WithoutCancel(t.Context()), 0, old) }()
	<-old.reached
	for e.resume(a, same).Size() != int64(first) { // go test's own time limit ends this
		time.Sleep(time.Millisecond)
	}
	again := e.resume(a, same)
	if err := again.Append(t.Context(), int64(first), bytes.NewReader(content[first:])); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, errLost) {
		t.Errorf("the append that was taken over: %v", err)
	}
	d := oci.SHA256.FromBytes(content)
	if err := again.Commit(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	e.wantBlob(a, d, content)
}

// TestTakenOverWithMoreToStore holds that what waits in memory to be stored goes
// nowhere once another one has taken over.
func TestTakenOverWithMoreToStore(t *testing.T) {
	a, content := repo(t, "a"), randomBytes(large)
	d := oci.SHA256.FromBytes(content)
	e := newEnv(t)
	noLeaks(t)
	reached, letGo := make(chan struct{}), make(chan struct{})
	writes := 0
	e.faults(func(op string, _ int) (bool, error) {
		if op == "Write" {
			if writes++; writes == 6 { // it is in parts by now, beside reading
				close(reached)
				<-letGo
			}
		}
		return true, nil
	})
	u := e.start(a)
	again := e.resume(a, u)
	old := newHeldReader(randomBytes(1 << 20))
	ended := make(chan error, 1)
	go func() { ended <- u.Append(context.WithoutCancel(t.Context()), 0, old) }()
	<-reached
	<-old.reached
	took := make(chan error, 1)
	go func() { took <- again.Finish(context.WithoutCancel(t.Context()), 0, bytes.NewReader(content), d) }()
	close(letGo)
	if err := <-took; err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("the append that was taken over reports success")
	}
	e.wantBlob(a, d, content)
}

// panicking gives its content and then panics, as a handler's reader may.
type panicking struct{ r io.Reader }

func (p *panicking) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	if err != nil {
		panic("no more")
	}
	return n, nil
}

// TestReaderPanics holds that a reader that panics leaves the session to others.
func TestReaderPanics(t *testing.T) {
	a, content := repo(t, "a"), randomBytes(large)
	e := newEnv(t)
	noLeaks(t)
	for _, n := range []int{10, 2 << 20} {
		u := e.start(a)
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic was lost")
				}
			}()
			_ = u.Append(t.Context(), 0, &panicking{bytes.NewReader(content[:n])})
		}()
		u = e.resume(a, u)
		if err := u.Append(t.Context(), u.Size(), bytes.NewReader(nil)); err != nil {
			t.Error(err)
		}
	}
}

// TestFinish holds what a blob costs that comes with one request: its record is
// read once and written once, unless something goes wrong.
func TestFinish(t *testing.T) {
	a, content := repo(t, "a"), randomBytes(large)
	d := oci.SHA256.FromBytes(content)
	e := newEnv(t)
	c := e.count()
	u := e.resume(a, e.start(a))
	if err := u.Finish(t.Context(), 0, bytes.NewReader(content), d); err != nil {
		t.Fatal(err)
	}
	if c.finds != 1 || c.saves != 0 {
		t.Errorf("looked for the upload %d times and saved it %d times, want 1 and 0", c.finds, c.saves)
	}
	e.wantBlob(a, d, content)

	other := randomBytes(large)
	d = oci.SHA256.FromBytes(other)
	fail := errors.New("no commit")
	c.onCommit = func() error { return fail }
	u = e.start(a)
	if err := u.Finish(t.Context(), 0, bytes.NewReader(other), d); !errors.Is(err, fail) || c.saves != 1 {
		t.Errorf("got %v and %d saves, want %v and 1", err, c.saves, fail)
	}
	c.onCommit = nil
	u = e.resume(a, u)
	if u.Size() != large {
		t.Errorf("recorded %d bytes, want %d", u.Size(), large)
	}
	if err := u.Commit(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	e.wantBlob(a, d, other)
}

// TestFinishInterrupted holds that an upload can begin again whose process ended
// with its object finished and neither recorded nor saved.
func TestFinishInterrupted(t *testing.T) {
	a, content := repo(t, "a"), randomBytes(large)
	d := oci.SHA256.FromBytes(content)
	e := newEnv(t)
	c := e.count()
	gone := errors.New("killed")
	c.onCommit, c.onSave = func() error { return gone }, func(meta.Upload) error { return gone }
	u := e.start(a)
	if err := u.Finish(t.Context(), 0, bytes.NewReader(content), d); !errors.Is(err, gone) {
		t.Fatal(err)
	}
	e.restart()
	u = e.resume(a, u)
	if u.Size() != 0 {
		t.Fatalf("recorded %d bytes, want none", u.Size())
	}
	if err := u.Finish(t.Context(), 0, bytes.NewReader(content), d); err != nil {
		t.Fatal(err)
	}
	e.wantBlob(a, d, content)
}

// TestStaleValue holds that a value of a session which another one has moved on,
// or ended, does not go by what it read before.
func TestStaleValue(t *testing.T) {
	a, content := repo(t, "a"), randomBytes(1000)
	d := oci.SHA256.FromBytes(content)
	e := newEnv(t)
	u := e.start(a)
	var stale []registry.Upload
	for range 4 {
		stale = append(stale, e.resume(a, u))
	}
	if err := u.Append(t.Context(), 0, bytes.NewReader(content[:600])); err != nil {
		t.Fatal(err)
	}
	if r, ok := errors.AsType[*registry.RangeError](stale[0].Append(t.Context(), 0, bytes.NewReader(content))); !ok || r.Size != 600 {
		t.Error("a value from before begins anew")
	}
	if err := stale[1].Append(t.Context(), registry.Anywhere, bytes.NewReader(content[600:])); err != nil {
		t.Fatal(err)
	}
	if err := stale[2].Commit(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	e.wantBlob(a, d, content)
	wantCode(t, stale[3].Append(t.Context(), registry.Anywhere, bytes.NewReader(nil)), oci.BlobUploadUnknown)
	wantCode(t, stale[0].Finish(t.Context(), registry.Anywhere, bytes.NewReader(nil), d), oci.BlobUploadUnknown)
	wantCode(t, u.Cancel(t.Context()), oci.BlobUploadUnknown)
}

// TestSavedAllTheSame holds that who was told that nothing was recorded, though it
// was, goes on behind it: not over it.
func TestSavedAllTheSame(t *testing.T) {
	a, content := repo(t, "a"), randomBytes(1000)
	d := oci.SHA256.FromBytes(content)
	e := newEnv(t)
	c := e.count()
	u := e.start(a)
	lost := errors.New("the answer is lost")
	c.onSave = func(rec meta.Upload) error { return errors.Join(e.db.SaveUpload(t.Context(), rec), lost) }
	if err := u.Append(t.Context(), 0, bytes.NewReader(content[:600])); !errors.Is(err, lost) {
		t.Fatalf("got %v, want that the answer is lost", err)
	}
	c.onSave = nil
	if err := u.Append(t.Context(), 600, bytes.NewReader(content[600:])); err != nil {
		t.Fatal(err)
	}
	if err := u.Commit(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	e.wantBlob(a, d, content)
}

// TestFinishWrong holds that Finish refuses what Append and Commit refuse.
func TestFinishWrong(t *testing.T) {
	a, content := repo(t, "a"), randomBytes(large)
	d := oci.SHA256.FromBytes(content)
	for _, known := range []bool{false, true} {
		e := newEnv(t)
		if known {
			e.push(repo(t, "b"), content)
		}
		u := e.start(a)
		if _, ok := errors.AsType[*registry.RangeError](u.Finish(t.Context(), 1, bytes.NewReader(content), d)); !ok {
			t.Error("Finish at an offset that is not there")
		}
		if err := u.Finish(t.Context(), 0, &brokenReader{bytes.NewReader(content[:large-1])}, d); !errors.Is(err, errLost) {
			t.Errorf("Finish with a body that breaks off: %v", err)
		}
		u = e.resume(a, u)
		wantCode(t, u.Finish(t.Context(), large-1, bytes.NewReader([]byte{content[large-1] + 1}), d), oci.DigestInvalid)
		_, err := e.core.ResumeUpload(t.Context(), a, u.ID())
		wantCode(t, err, oci.BlobUploadUnknown)
		_, err = e.core.Blob(t.Context(), a, d)
		wantCode(t, err, oci.BlobUnknown)
		if err := e.start(a).Finish(t.Context(), registry.Anywhere, bytes.NewReader(content), d); err != nil {
			t.Errorf("Finish, known %v: %v", known, err)
		}
		e.wantBlob(a, d, content)
	}
}
