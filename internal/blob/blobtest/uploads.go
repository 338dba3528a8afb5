package blobtest

import (
	"context"
	"errors"
	"io/fs"
	"testing"

	"berth/internal/blob"
	"berth/internal/oci"
)

func testResume(t *testing.T, p *place) {
	want := bytesOf(10, 1_000_000)
	key := blob.NewKey()
	w := p.create(key)
	var at int
	for _, next := range []int{1, 4096, 4097, 600_000, 999_999, 1_000_000} {
		p.write(w, want[at:next])
		at = next
		state := p.checkpoint(w)
		p.close(w)
		p.reopen()
		w = p.resume(key, at, state)
	}
	final := p.commit(w, digestOf(want))
	p.settle(w)
	p.close(w)
	p.has(final, want)
	if n := len(p.list()); n != 1 {
		t.Errorf("got %d objects, want 1", n)
	}
}

func testResumeCuts(t *testing.T, p *place) {
	key := blob.NewKey()
	w := p.create(key)
	p.write(w, []byte("kept "))
	state := p.checkpoint(w)
	p.write(w, []byte("and this was never recorded"))
	p.close(w)
	p.reopen()
	w = p.resume(key, 5, state)
	p.write(w, []byte("this"))
	final := p.commit(w, digestOf([]byte("kept this")))
	p.settle(w)
	p.close(w)
	p.has(final, []byte("kept this"))
}

func testResumeLost(t *testing.T, p *place) {
	key := blob.NewKey()
	w := p.create(key)
	p.write(w, []byte("12345"))
	state := p.checkpoint(w)
	p.close(w)
	p.reopen()
	if w, err := p.Resume(t.Context(), key, 6, state); !errors.Is(err, blob.ErrLost) {
		if err == nil {
			w.Close()
		}
		t.Errorf("got %v, want an error that wraps blob.ErrLost", err)
	}
	p.close(p.resume(key, 5, state))
	p.del(key)
	p.empty()
}

func testResumeDeleted(t *testing.T, p *place) {
	key := blob.NewKey()
	w := p.create(key)
	p.close(w)
	p.del(key)
	if w, err := p.Resume(t.Context(), key, 0, nil); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			w.Close()
		}
		t.Errorf("got %v, want an error that wraps fs.ErrNotExist", err)
	}
}

func testCommitTwice(t *testing.T, p *place) {
	want := []byte("committed twice")
	w := p.create(blob.NewKey())
	p.write(w, want)
	first := p.commit(w, digestOf(want))
	if second := p.commit(w, digestOf(want)); second != first {
		t.Errorf("got %s, then %s", first, second)
	}
	p.has(first, want)
	p.settle(w)
	p.settle(w)
	p.close(w)
	p.has(first, want)
	p.del(first)
	p.empty()
}

// testCommitOther is a client that finishes an upload with one digest, is told
// of an error, and tries the other one.
func testCommitOther(t *testing.T, p *place) {
	want := []byte("under another name")
	w := p.create(blob.NewKey())
	p.write(w, want)
	p.commit(w, oci.SHA256.FromBytes(want))
	second := p.commit(w, oci.SHA512.FromBytes(want))
	p.settle(w)
	p.close(w)
	p.has(second, want)
	if n := len(p.list()); n != 1 {
		t.Errorf("got %d objects, want 1: the first Commit must leave nothing", n)
	}
	p.del(second)
	p.empty()
}

// testWriteAfterCommit holds that bytes never change under a finished key.
func testWriteAfterCommit(t *testing.T, p *place) {
	w := p.create(blob.NewKey())
	p.write(w, []byte("short"))
	first := p.commit(w, digestOf([]byte("short")))
	p.write(w, []byte(" and longer"))
	if err := check(t, p.Store, first, []byte("short")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	final := p.commit(w, digestOf([]byte("short and longer")))
	p.settle(w)
	p.close(w)
	p.has(final, []byte("short and longer"))
	if n := len(p.list()); n != 1 {
		t.Errorf("got %d objects, want 1", n)
	}
}

func testAfterSettle(t *testing.T, p *place) {
	want := []byte("finished")
	w := p.create(blob.NewKey())
	defer w.Close()
	if err := w.Settle(t.Context()); err == nil {
		t.Error("Settle before Commit: no error")
	}
	p.write(w, want)
	final := p.commit(w, digestOf(want))
	p.settle(w)
	if _, err := w.Write([]byte("more")); err == nil {
		t.Error("Write after Settle: no error")
	}
	if _, err := w.Commit(t.Context(), digestOf([]byte("else"))); err == nil {
		t.Error("Commit after Settle: no error")
	}
	p.has(final, want)
}

func testCommitDeleted(t *testing.T, p *place) {
	key := blob.NewKey()
	w := p.create(key)
	defer w.Close()
	p.write(w, []byte("canceled by another request"))
	p.del(key)
	if _, err := w.Commit(t.Context(), digestOf([]byte("canceled by another request"))); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want an error that wraps fs.ErrNotExist", err)
	}
	p.empty()
}

// crash leaves what a process leaves that ends between Commit and Settle.
func (p *place) crash(content []byte) (upload, final blob.Key) {
	p.t.Helper()
	upload = blob.NewKey()
	w := p.create(upload)
	p.write(w, content)
	final = p.commit(w, digestOf(content))
	p.close(w)
	p.reopen()
	return upload, final
}

// recover runs Recover with what is known.
func (p *place) recover(known ...blob.Key) {
	p.t.Helper()
	r, ok := p.Store.(blob.Recoverer)
	if !ok {
		p.t.Skip("the store has nothing to recover")
	}
	err := r.Recover(p.t.Context(), func(_ context.Context, k blob.Key) (bool, error) {
		for _, key := range known {
			if k == key {
				return true, nil
			}
		}
		return false, nil
	})
	if err != nil {
		p.t.Fatalf("Recover: %v", err)
	}
}

func testCrashUnrecorded(t *testing.T, p *place) {
	for _, size := range []int{0, 100_000} {
		p.crash(bytesOf(20, size))
		p.recover()
		p.empty()
	}
}

func testCrashDelete(t *testing.T, p *place) {
	for _, size := range []int{0, 100_000} {
		upload, _ := p.crash(bytesOf(21, size))
		p.del(upload)
		p.empty()
	}
}

func testCrashCommit(t *testing.T, p *place) {
	for _, a := range []oci.Algorithm{oci.SHA256, oci.SHA512} {
		for _, size := range []int{0, 1, 100_000} {
			content := bytesOf(22, size)
			upload, _ := p.crash(content)
			w := p.resume(upload, size, nil)
			key := p.commit(w, a.FromBytes(content))
			p.settle(w)
			p.close(w)
			p.has(key, content)
			p.recover(key)
			p.has(key, content)
			p.del(key)
			p.empty()
		}
	}
}

func testRecoverRecorded(t *testing.T, p *place) {
	content := bytesOf(23, 100_000)
	_, final := p.crash(content)
	p.has(final, content)
	p.recover(final)
	p.has(final, content)
	if n := len(p.list()); n != 1 {
		t.Errorf("got %d objects, want 1", n)
	}
	p.recover(final)
	p.has(final, content)
}

func testRecoverUnrecorded(t *testing.T, p *place) {
	kept := p.put([]byte("of another one"))
	w := p.create(blob.NewKey())
	p.write(w, []byte("never recorded"))
	p.close(w)
	p.reopen()
	p.recover()
	p.has(kept, []byte("of another one"))
	if n := len(p.list()); n != 1 {
		t.Errorf("got %d objects, want 1", n)
	}
}

func testRecoverKeeps(t *testing.T, p *place) {
	content := bytesOf(24, 100_000)
	key := blob.NewKey()
	w := p.create(key)
	p.write(w, content[:50_000])
	state := p.checkpoint(w)
	p.close(w)
	committed, _ := p.crash([]byte("committed, and the record failed"))
	p.recover(key, committed)
	w = p.resume(key, 50_000, state)
	p.write(w, content[50_000:])
	p.has(p.commit(w, digestOf(content)), content)
	p.close(w)
	w = p.resume(committed, len("committed, and the record failed"), nil)
	p.has(p.commit(w, digestOf([]byte("committed, and the record failed"))), []byte("committed, and the record failed"))
	p.close(w)
}

// testRecoverError holds that an answer which could not be had deletes nothing.
func testRecoverError(t *testing.T, p *place) {
	content := []byte("the database is away")
	upload, final := p.crash(content)
	r, ok := p.Store.(blob.Recoverer)
	if !ok {
		t.Skip("the store has nothing to recover")
	}
	away := errors.New("the database is away")
	for _, deny := range []blob.Key{upload, final} {
		err := r.Recover(t.Context(), func(_ context.Context, k blob.Key) (bool, error) {
			if k == deny {
				return false, away
			}
			return false, nil
		})
		if !errors.Is(err, away) {
			t.Errorf("got %v, want the error of known", err)
		}
		p.has(final, content)
	}
}
