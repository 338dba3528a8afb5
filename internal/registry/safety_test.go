package registry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"berth/internal/blob"
	"berth/internal/blob/blobtest"
	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
	"berth/internal/registry"
)

// damage does something to the object of a blob behind the registry's back.
func (e *env) damage(d oci.Digest, harm func(context.Context, blob.Key) error) {
	e.t.Helper()
	rec, err := e.db.FindContent(e.t.Context(), d)
	if err != nil {
		e.t.Fatal(err)
	}
	if err := harm(e.t.Context(), rec.Key); err != nil {
		e.t.Fatal(err)
	}
}

// A spy stands between a Core and its records.
type spy struct {
	registry.Records
	beforeCommit func()
	touch, mark  func() error
}

func (s *spy) CommitUpload(ctx context.Context, u meta.Upload, b meta.Blob, by event.Actor) (meta.Blob, error) {
	if s.beforeCommit != nil {
		s.beforeCommit()
	}
	return s.Records.CommitUpload(ctx, u, b, by)
}

func (s *spy) TouchBlob(ctx context.Context, r oci.Repo, d oci.Digest) error {
	if s.touch != nil {
		if err := s.touch(); err != nil {
			return err
		}
	}
	return s.Records.TouchBlob(ctx, r, d)
}

func (s *spy) MarkDamaged(ctx context.Context, d oci.Digest, key blob.Key) error {
	if s.mark != nil {
		if err := s.mark(); err != nil {
			return err
		}
	}
	return s.Records.MarkDamaged(ctx, d, key)
}

// TestCommitIsNotDisturbed holds that between the object and its record, and
// between the record and the end, nobody gets at an upload that is committed.
func TestCommitIsNotDisturbed(t *testing.T) {
	a, content := repo(t, "a"), randomBytes(1000)
	d := oci.SHA256.FromBytes(content)
	intrusions := map[string]func(u registry.Upload) error{
		"append": func(u registry.Upload) error { return u.Append(t.Context(), u.Size(), bytes.NewReader([]byte("more"))) },
		"commit": func(u registry.Upload) error { return u.Commit(t.Context(), d) },
		"cancel": func(u registry.Upload) error { return u.Cancel(t.Context()) },
	}
	for name, intrude := range intrusions {
		for _, when := range []string{"before the record", "after the record"} {
			t.Run(name+" "+when, func(t *testing.T) {
				e := newEnv(t)
				var other registry.Upload
				come := func() {
					err := intrude(other)
					if r, ok := errors.AsType[*registry.RangeError](err); !ok || r.Size != int64(len(content)) {
						t.Errorf("got %v, want a RangeError at %d", err, len(content))
					}
				}
				records := &spy{Records: e.db}
				e.opts.Records = records
				if when == "before the record" {
					records.beforeCommit = come
				} else {
					e.opts.Blobs = blobtest.Faulty(e.blobs, func(op string, _ int) (bool, error) {
						if op == "Settle" {
							come()
						}
						return true, nil
					})
				}
				e.core = registry.New(e.opts)
				u := e.start(a)
				if err := u.Append(t.Context(), 0, bytes.NewReader(content)); err != nil {
					t.Fatal(err)
				}
				other = e.resume(a, u)
				if err := u.Commit(t.Context(), d); err != nil {
					t.Fatal(err)
				}
				e.wantBlob(a, d, content)
				wantCode(t, intrude(other), oci.BlobUploadUnknown)
				e.wantBlob(a, d, content)
			})
		}
	}
}

// TestCancelTakesOver holds that a session can be ended whose connection hangs.
func TestCancelTakesOver(t *testing.T) {
	a := repo(t, "a")
	e := newEnv(t)
	u := e.start(a)
	old := newHeldReader(randomBytes(100))
	ended := make(chan error)
	go func() { ended <- u.Append(context.WithoutCancel(t.Context()), 0, old) }()
	<-old.reached
	if err := e.resume(a, u).Cancel(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("the append that was cancelled reports success")
	}
	for o, err := range e.blobs.List(t.Context()) {
		t.Errorf("object %v (error %v) is left", o, err)
	}
}

// TestHealsByAnyUpload holds that broken content is healed by an upload that
// cannot take the short way, too: 201 says that the blob can be read.
func TestHealsByAnyUpload(t *testing.T) {
	a, content := repo(t, "a"), randomBytes(1000)
	for _, algorithm := range []oci.Algorithm{oci.SHA256, oci.SHA512} {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, restart %v", algorithm, restart), func(t *testing.T) {
				e := newEnv(t)
				d := algorithm.FromBytes(content)
				upload := func() error {
					u := e.start(a) // for sha256
					if err := u.Append(t.Context(), 0, bytes.NewReader(content)); err != nil {
						t.Fatal(err)
					}
					if restart {
						e.restart()
						u = e.resume(a, u)
					}
					return u.Commit(t.Context(), d)
				}
				if err := upload(); err != nil {
					t.Fatal(err)
				}
				e.damage(d, e.blobs.Delete)
				if err := upload(); err != nil {
					t.Fatal(err)
				}
				e.wantBlob(a, d, content)
			})
		}
	}
}

// TestNoCommitOverUnrecordedDamage holds that a commit whose content is stored
// broken, and cannot be recorded as broken, is refused.
func TestNoCommitOverUnrecordedDamage(t *testing.T) {
	a, content := repo(t, "a"), randomBytes(1000)
	e := newEnv(t)
	d := e.push(a, content)
	e.damage(d, e.blobs.Delete)
	records := &spy{Records: e.db, mark: func() error { return meta.ErrNoSpace }}
	e.opts.Records = records
	e.core = registry.New(e.opts)
	u := e.start(a)
	if err := u.Append(t.Context(), 0, bytes.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	if err := u.Commit(t.Context(), d); err == nil {
		t.Fatal("got success, want an error")
	}
	records.mark = nil
	if err := e.resume(a, u).Commit(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	e.wantBlob(a, d, content)
}

// TestShortBlobIsNotServed holds that content of another size than recorded is
// never served, however it came about.
func TestShortBlobIsNotServed(t *testing.T) {
	a, content := repo(t, "a"), randomBytes(1000)
	e := newEnv(t)
	d := e.push(a, content)
	e.sql(`UPDATE blobs SET size = size + 1 WHERE digest = ?`, d.String())
	_, err := e.core.Blob(t.Context(), a, d)
	wantCode(t, err, oci.BlobUnknown)
	wantCode(t, e.core.MountBlob(t.Context(), registry.Mount{From: a, To: repo(t, "b"), Digest: d}), oci.BlobUnknown)
	e.push(a, content)
	e.wantBlob(a, d, content)
}

// TestTouch holds that a client is told of a blob that is half-way out only
// after its grace has begun anew, and not if that failed.
func TestTouch(t *testing.T) {
	a, content := repo(t, "a"), randomBytes(10)
	e := newEnv(t)
	d := e.push(a, content)
	touched := 0
	fail := errors.New("no touch")
	var answer error
	watch := func() {
		e.opts.Records = &spy{Records: e.db, touch: func() error { touched++; return answer }}
		e.core = registry.New(e.opts)
	}
	watch()
	e.wantBlob(a, d, content)
	if touched != 0 {
		t.Errorf("touched %d times, want not at all: its grace has just begun", touched)
	}
	e.sql(`UPDATE repo_blobs SET touched = touched - ?`, int64(e.opts.Grace/2)+1)
	watch()
	answer = fail
	if _, err := e.core.Blob(t.Context(), a, d); !errors.Is(err, fail) || touched != 1 {
		t.Errorf("got %v after %d touches, want %v after 1", err, touched, fail)
	}
	answer = meta.ErrNotFound
	_, err := e.core.Blob(t.Context(), a, d)
	wantCode(t, err, oci.BlobUnknown)
	answer = nil
	e.wantBlob(a, d, content)
	e.wantBlob(a, d, content)
	if touched != 3 {
		t.Errorf("touched %d times, want 3: its grace has begun anew", touched)
	}
}

// TestStoredBytesAreReadAgain holds that the hash that ran along is not believed
// of an upload that was not written by one process, one writer after the other.
func TestStoredBytesAreReadAgain(t *testing.T) {
	a, content := repo(t, "a"), randomBytes(1000)
	d := oci.SHA256.FromBytes(content)
	for _, tt := range []struct {
		name    string
		between func(e *env, u registry.Upload)
	}{
		{"another process", func(e *env, _ registry.Upload) { e.restart() }},
		{"forgotten", func(e *env, _ registry.Upload) { e.core.ForgetSessions(-time.Hour) }},
		{"taken over", func(e *env, u registry.Upload) {
			old := newHeldReader(nil)
			ended := make(chan error)
			go func() { ended <- u.Append(context.WithoutCancel(t.Context()), u.Size(), old) }()
			<-old.reached
			if err := e.resume(a, u).Append(t.Context(), u.Size(), bytes.NewReader(nil)); err != nil {
				t.Fatal(err)
			}
			<-ended
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newEnv(t)
			u := e.start(a)
			if err := u.Append(t.Context(), 0, bytes.NewReader(content)); err != nil {
				t.Fatal(err)
			}
			tt.between(e, u)
			e.overwrite(a, u.ID(), randomBytes(len(content)))
			wantCode(t, e.resume(a, u).Commit(t.Context(), d), oci.DigestInvalid)
		})
	}
}

// overwrite changes the bytes of an upload behind the registry's back.
func (e *env) overwrite(r oci.Repo, id meta.UploadID, content []byte) {
	e.t.Helper()
	rec, err := e.db.FindUpload(e.t.Context(), r, id)
	if err != nil {
		e.t.Fatal(err)
	}
	w, err := e.blobs.Resume(e.t.Context(), rec.Key, 0, nil)
	if err != nil {
		e.t.Fatal(err)
	}
	defer w.Close()
	if _, err := w.Write(content); err != nil {
		e.t.Fatal(err)
	}
}

// A lateReader gives its first bytes and, when it was interrupted and is let go,
// more, as one does that had them in a buffer.
type lateReader struct {
	parts   [][]byte
	reached chan struct{}
	letGo   chan struct{}
}

func (l *lateReader) Read(p []byte) (int, error) {
	if len(l.parts) == 0 {
		return 0, io.EOF
	}
	if len(l.parts) == 1 {
		close(l.reached)
		<-l.letGo
	}
	n := copy(p, l.parts[0])
	l.parts = l.parts[1:]
	return n, nil
}

// TestTakenOverWritesNoMore holds that bytes which come late, on a connection
// that was taken over, go nowhere.
func TestTakenOverWritesNoMore(t *testing.T) {
	a, content := repo(t, "a"), randomBytes(100)
	e := newEnv(t)
	e.opts.CheckpointBytes = 1
	e.restart()
	u := e.start(a)
	old := &lateReader{parts: [][]byte{content[:60], randomBytes(40)}, reached: make(chan struct{}), letGo: make(chan struct{})}
	ended := make(chan error)
	go func() { ended <- u.Append(context.WithoutCancel(t.Context()), 0, old) }()
	<-old.reached
	if err := e.resume(a, u).Append(t.Context(), 60, bytes.NewReader(content[60:])); err != nil {
		t.Fatal(err)
	}
	close(old.letGo)
	wantCode(t, <-ended, oci.BlobUploadInvalid)
	d := oci.SHA256.FromBytes(content)
	if err := e.resume(a, u).Commit(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	e.wantBlob(a, d, content)
}

// TestLateFinderMarksNothing holds that whoever finds an object missing that was
// replaced meanwhile doesn't mark its successor.
func TestLateFinderMarksNothing(t *testing.T) {
	a, content := repo(t, "a"), randomBytes(100)
	e := newEnv(t)
	d := e.push(a, content)
	e.damage(d, e.blobs.Delete)
	once := false
	e.opts.Blobs = blobtest.Faulty(e.blobs, func(op string, _ int) (bool, error) {
		if op == "Open" && !once {
			once = true
			e.push(a, content)
		}
		return true, nil
	})
	e.core = registry.New(e.opts)
	_, err := e.core.Blob(t.Context(), a, d)
	wantCode(t, err, oci.BlobUnknown)
	e.wantBlob(a, d, content)
}
