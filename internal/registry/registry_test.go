package registry_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"berth/internal/blob"
	"berth/internal/blob/memblob"
	"berth/internal/event"
	"berth/internal/meta/sqlmeta"
	"berth/internal/oci"
	"berth/internal/registry"
)

// An env is a registry whose process can end and begin again.
type env struct {
	trash time.Duration // how long it is kept
	t     *testing.T
	path  string
	blobs blob.Store
	db    *sqlmeta.DB
	core  *registry.Core
	opts  registry.Options
}

func newEnv(t *testing.T) *env {
	e := &env{t: t, path: filepath.Join(t.TempDir(), "berth.db"), blobs: memblob.New()}
	e.opts = registry.Options{Deletion: registry.DeletionOn, Grace: 24 * time.Hour, Log: slog.New(slog.DiscardHandler)}
	e.restart()
	t.Cleanup(func() { e.db.Close() })
	return e
}

// restart forgets all that is only in memory.
func (e *env) restart() {
	e.t.Helper()
	if e.db != nil {
		if err := e.db.Close(); err != nil {
			e.t.Fatal(err)
		}
	}
	db, err := sqlmeta.Open(e.t.Context(), sqlmeta.Options{Path: e.path, Grace: e.opts.Grace, Trash: e.trash,
		Memory: 1 << 20, Doubt: func(err error) { e.t.Error(err) }})
	if err != nil {
		e.t.Fatal(err)
	}
	e.db, e.opts.Records, e.opts.Blobs = db, db, e.blobs
	e.core = registry.New(e.opts)
}

func repo(t testing.TB, s string) oci.Repo {
	t.Helper()
	r, err := oci.ParseRepo(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func tag(t testing.TB, s string) oci.Tag {
	t.Helper()
	r, err := oci.ParseTag(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// push uploads content in one go.
func (e *env) push(r oci.Repo, content []byte) oci.Digest {
	e.t.Helper()
	d := oci.SHA256.FromBytes(content)
	u := e.start(r)
	if err := u.Append(e.t.Context(), 0, bytes.NewReader(content)); err != nil {
		e.t.Fatal(err)
	}
	if err := u.Commit(e.t.Context(), d); err != nil {
		e.t.Fatal(err)
	}
	return d
}

func (e *env) start(r oci.Repo) registry.Upload {
	e.t.Helper()
	u, err := e.core.StartUpload(e.t.Context(), r, oci.SHA256)
	if err != nil {
		e.t.Fatal(err)
	}
	return u
}

func (e *env) resume(r oci.Repo, u registry.Upload) registry.Upload {
	e.t.Helper()
	again, err := e.core.ResumeUpload(e.t.Context(), r, u.ID())
	if err != nil {
		e.t.Fatal(err)
	}
	return again
}

// wantBlob checks that a blob reads back as content.
func (e *env) wantBlob(r oci.Repo, d oci.Digest, content []byte) {
	e.t.Helper()
	b, err := e.core.Blob(e.t.Context(), r, d)
	if err != nil {
		e.t.Fatalf("blob %s: %v", d, err)
	}
	defer b.Close()
	got, err := io.ReadAll(b)
	if err != nil || !bytes.Equal(got, content) {
		e.t.Fatalf("blob %s: %d bytes, error %v; want the %d pushed", d, len(got), err, len(content))
	}
}

func wantCode(t *testing.T, err error, want oci.Code) {
	t.Helper()
	if got := oci.CodeOf(err); got != want || err == nil {
		t.Errorf("error %v, want code %s", err, want)
	}
}

// brokenReader gives content and then the error of a lost connection.
type brokenReader struct{ r io.Reader }

var errLost = errors.New("connection lost")

func (b *brokenReader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err == io.EOF {
		err = errLost
	}
	return n, err
}

func TestUpload(t *testing.T) {
	content := randomBytes(200_000)
	d := oci.SHA256.FromBytes(content)
	a := repo(t, "a")

	t.Run("in chunks", func(t *testing.T) {
		e := newEnv(t)
		u := e.start(a)
		for at := 0; at < len(content); at += 70_000 {
			u = e.resume(a, u)
			if err := u.Append(t.Context(), int64(at), bytes.NewReader(content[at:min(at+70_000, len(content))])); err != nil {
				t.Fatal(err)
			}
		}
		if err := e.resume(a, u).Commit(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		e.wantBlob(a, d, content)
		_, err := e.core.ResumeUpload(t.Context(), a, u.ID())
		wantCode(t, err, oci.BlobUploadUnknown)
	})
	t.Run("empty", func(t *testing.T) {
		e := newEnv(t)
		e.wantBlob(a, e.push(a, nil), nil)
	})
	t.Run("at another offset", func(t *testing.T) {
		e := newEnv(t)
		u := e.start(a)
		if err := u.Append(t.Context(), 0, bytes.NewReader(content[:10])); err != nil {
			t.Fatal(err)
		}
		for _, at := range []int64{0, 9, 11} {
			err := e.resume(a, u).Append(t.Context(), at, bytes.NewReader(content))
			r, ok := errors.AsType[*registry.RangeError](err)
			if !ok || r.Size != 10 {
				t.Errorf("append at %d: %v, want a RangeError at 10", at, err)
			}
		}
	})
	t.Run("cut and resumed", func(t *testing.T) {
		e := newEnv(t)
		u := e.start(a)
		err := u.Append(t.Context(), 0, &brokenReader{bytes.NewReader(content[:150_000])})
		if !errors.Is(err, errLost) {
			t.Fatalf("append: %v", err)
		}
		u = e.resume(a, u)
		if u.Size() != 150_000 {
			t.Fatalf("recorded %d bytes of 150000", u.Size())
		}
		if err := u.Append(t.Context(), 150_000, bytes.NewReader(content[150_000:])); err != nil {
			t.Fatal(err)
		}
		if err := u.Commit(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		e.wantBlob(a, d, content)
	})
	t.Run("resumed after a restart", func(t *testing.T) {
		e := newEnv(t)
		u := e.start(a)
		if err := u.Append(t.Context(), 0, &brokenReader{bytes.NewReader(content[:150_000])}); !errors.Is(err, errLost) {
			t.Fatal(err)
		}
		e.restart()
		u = e.resume(a, u)
		if err := u.Append(t.Context(), u.Size(), bytes.NewReader(content[u.Size():])); err != nil {
			t.Fatal(err)
		}
		if err := e.resume(a, u).Commit(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		e.wantBlob(a, d, content)
	})
	t.Run("wrong digest", func(t *testing.T) {
		e := newEnv(t)
		u := e.start(a)
		if err := u.Append(t.Context(), 0, bytes.NewReader(content[:10])); err != nil {
			t.Fatal(err)
		}
		wantCode(t, u.Commit(t.Context(), d), oci.DigestInvalid)
		_, err := e.core.ResumeUpload(t.Context(), a, u.ID())
		wantCode(t, err, oci.BlobUploadUnknown)
		_, err = e.core.Blob(t.Context(), a, d)
		wantCode(t, err, oci.BlobUnknown)
	})
	t.Run("wrong digest of known content", func(t *testing.T) {
		e := newEnv(t)
		e.push(repo(t, "b"), content)
		other := bytes.Clone(content) // of the same size
		other[10]++
		for _, wrong := range [][]byte{content[:10], other} {
			u := e.start(a)
			if err := u.Append(t.Context(), 0, bytes.NewReader(wrong)); err != nil {
				t.Fatal(err)
			}
			wantCode(t, u.Commit(t.Context(), d), oci.DigestInvalid)
			_, err := e.core.Blob(t.Context(), a, d)
			wantCode(t, err, oci.BlobUnknown)
		}
	})
	t.Run("sha512 without notice", func(t *testing.T) {
		e := newEnv(t)
		u := e.start(a)
		if err := u.Append(t.Context(), 0, bytes.NewReader(content)); err != nil {
			t.Fatal(err)
		}
		d := oci.SHA512.FromBytes(content)
		if err := u.Commit(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		e.wantBlob(a, d, content)
	})
	t.Run("too large", func(t *testing.T) {
		e := newEnv(t)
		e.opts.MaxUpload = 100_000
		e.restart()
		u := e.start(a)
		wantCode(t, u.Append(t.Context(), 0, bytes.NewReader(content)), oci.SizeInvalid)
		_, err := e.core.ResumeUpload(t.Context(), a, u.ID())
		wantCode(t, err, oci.BlobUploadUnknown)
	})
	t.Run("of others", func(t *testing.T) {
		e := newEnv(t)
		u, err := e.core.As(event.Actor{Name: "alice"}).StartUpload(t.Context(), a, oci.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		for _, who := range []string{"", "bob"} {
			_, err = e.core.As(event.Actor{Name: who}).ResumeUpload(t.Context(), a, u.ID())
			wantCode(t, err, oci.BlobUploadUnknown)
		}
		_, err = e.core.As(event.Actor{Name: "alice"}).ResumeUpload(t.Context(), repo(t, "b"), u.ID())
		wantCode(t, err, oci.BlobUploadUnknown)
	})
	t.Run("cancelled", func(t *testing.T) {
		e := newEnv(t)
		u := e.start(a)
		if err := u.Append(t.Context(), 0, bytes.NewReader(content)); err != nil {
			t.Fatal(err)
		}
		if err := u.Cancel(t.Context()); err != nil {
			t.Fatal(err)
		}
		for o, err := range e.blobs.List(t.Context()) {
			t.Errorf("object %v (error %v) is left", o, err)
		}
	})
}

// A heldReader gives its first bytes and then waits, as a connection does whose
// other end is gone without a word, until it is interrupted.
type heldReader struct {
	first       io.Reader
	reached     chan struct{}
	interrupted chan struct{}
}

func newHeldReader(first []byte) *heldReader {
	return &heldReader{first: bytes.NewReader(first), reached: make(chan struct{}), interrupted: make(chan struct{})}
}

func (h *heldReader) Read(p []byte) (int, error) {
	if n, err := h.first.Read(p); err == nil {
		return n, nil
	}
	close(h.reached)
	<-h.interrupted
	return 0, errLost
}

func (h *heldReader) Interrupt() { close(h.interrupted) }

// TestTakeover is about two connections on one session: the old one hangs.
func TestTakeover(t *testing.T) {
	content := randomBytes(100_000)
	d := oci.SHA256.FromBytes(content)
	a := repo(t, "a")
	e := newEnv(t)
	e.opts.CheckpointBytes = 1 // so that what came is recorded at once
	e.restart()

	u := e.start(a)
	old := newHeldReader(content[:60_000])
	ended := make(chan error)
	go func() { ended <- u.Append(context.WithoutCancel(t.Context()), 0, old) }()
	<-old.reached

	at := e.resume(a, u).Size()
	if at != 60_000 {
		t.Fatalf("recorded %d bytes of 60000", at)
	}
	for _, offset := range []int64{0, at - 1, at + 1, registry.Anywhere} {
		err := e.resume(a, u).Append(t.Context(), offset, bytes.NewReader(content))
		if r, ok := errors.AsType[*registry.RangeError](err); !ok || r.Size != at {
			t.Fatalf("append at %d beside a running one: %v, want a RangeError at %d", offset, err, at)
		}
	}
	if _, ok := errors.AsType[*registry.RangeError](e.resume(a, u).Commit(t.Context(), d)); !ok {
		t.Fatal("commit beside a running append was not refused")
	}
	again := e.resume(a, u)
	if err := again.Append(t.Context(), at, bytes.NewReader(content[at:])); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("the append that was taken over reports success")
	}
	if err := again.Commit(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	e.wantBlob(a, d, content)
}

// TestStalledUploadIsRecorded is about a client that sends a little, and then
// nothing: what it sent is recorded without a further byte.
func TestStalledUploadIsRecorded(t *testing.T) {
	a := repo(t, "a")
	e := newEnv(t)
	e.opts.CheckpointEvery = time.Millisecond
	e.restart()
	u := e.start(a)
	same := e.resume(a, u)
	stalled := newHeldReader(randomBytes(1000))
	ended := make(chan error)
	go func() { ended <- u.Append(context.WithoutCancel(t.Context()), 0, stalled) }()
	<-stalled.reached
	for e.resume(a, same).Size() != 1000 { // go test's own time limit ends this
		time.Sleep(time.Millisecond)
	}
	stalled.Interrupt()
	if err := <-ended; !errors.Is(err, errLost) {
		t.Errorf("append: %v", err)
	}
}

func TestDamageHeals(t *testing.T) {
	content := randomBytes(1000)
	a := repo(t, "a")
	e := newEnv(t)
	d := e.push(a, content)
	for o := range e.blobs.List(t.Context()) {
		if err := e.blobs.Delete(t.Context(), o.Key); err != nil {
			t.Fatal(err)
		}
	}
	_, err := e.core.Blob(t.Context(), a, d)
	wantCode(t, err, oci.BlobUnknown)
	wantCode(t, e.core.MountBlob(t.Context(), registry.Mount{From: a, To: repo(t, "b"), Digest: d}), oci.BlobUnknown)
	e.push(a, content)
	e.wantBlob(a, d, content)
}

func TestMount(t *testing.T) {
	content := randomBytes(1000)
	a, b := repo(t, "a"), repo(t, "b")
	e := newEnv(t)
	d := e.push(a, content)
	none := func(oci.Repo) bool { return false }
	wantCode(t, e.core.MountBlob(t.Context(), registry.Mount{From: a, To: b, Digest: d, Readable: none}), oci.BlobUnknown)
	wantCode(t, e.core.MountBlob(t.Context(), registry.Mount{To: b, Digest: d, Readable: none}), oci.BlobUnknown)
	wantCode(t, e.core.MountBlob(t.Context(), registry.Mount{From: b, To: b, Digest: d}), oci.BlobUnknown)
	_, err := e.core.Blob(t.Context(), b, d)
	wantCode(t, err, oci.BlobUnknown)
	e.push(b, randomBytes(10)) // so that there is such a repository
	_, err = e.core.Blob(t.Context(), b, d)
	wantCode(t, err, oci.BlobUnknown)
	if err := e.core.MountBlob(t.Context(), registry.Mount{To: b, Digest: d}); err != nil {
		t.Fatal(err)
	}
	e.wantBlob(b, d, content)
}
