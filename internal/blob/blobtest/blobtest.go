// Package blobtest holds what every blob.Store must do, as tests: an
// implementation's own test calls Run. It also holds Faulty, which puts faults
// into any Store. It knows blob's interfaces and no implementation.
package blobtest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"testing"

	"berth/internal/blob"
	"berth/internal/oci"
)

// A Place is where objects are kept. Called again it opens the same place anew,
// as the next process does.
type Place func() blob.Store

// Run tests the Store that newPlace makes: an empty one for every call.
func Run(t *testing.T, newPlace func(t *testing.T) Place) {
	tests := []struct {
		name string
		run  func(t *testing.T, p *place)
	}{
		{"round trip", testRoundTrip},
		{"sizes", testSizes},
		{"keys", testKeys},
		{"create twice", testCreateTwice},
		{"missing", testMissing},
		{"unfinished is not readable", testUnfinishedHidden},
		{"digest algorithms", testAlgorithms},
		{"seek", testSeek},
		{"resume", testResume},
		{"resume drops what came later", testResumeCuts},
		{"resume lost bytes", testResumeLost},
		{"resume after delete", testResumeDeleted},
		{"replay", testReplay},
		{"replay while writing", testReplayMidway},
		{"delete unfinished", testDeleteUnfinished},
		{"delete twice", testDeleteTwice},
		{"delete while reading", testDeleteWhileReading},
		{"list", testList},
		{"list stops", testListStops},
		{"commit twice", testCommitTwice},
		{"commit as another digest", testCommitOther},
		{"write after commit", testWriteAfterCommit},
		{"nothing after settle", testAfterSettle},
		{"commit after delete", testCommitDeleted},
		{"canceled", testCanceled},
		{"crash before record", testCrashUnrecorded},
		{"crash, then delete", testCrashDelete},
		{"crash, then commit again", testCrashCommit},
		{"recover recorded", testRecoverRecorded},
		{"recover unrecorded", testRecoverUnrecorded},
		{"recover keeps uploads", testRecoverKeeps},
		{"recover asks in vain", testRecoverError},
		{"recover beside writers", testRecoverBeside},
		{"many writers", testManyWriters},
		{"one digest, many keys", testSameDigest},
		{"commit and delete", testCommitDeleteStorm},
		{"free", testFree},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			open := newPlace(t)
			tt.run(t, &place{t: t, open: open, Store: open()})
		})
	}
}

// A place is an open Store with what tests do to it again and again.
type place struct {
	blob.Store
	t    *testing.T
	open Place
}

// reopen is the next process.
func (p *place) reopen() { p.Store = p.open() }

// bytesOf returns n bytes that depend on seed.
func bytesOf(seed uint64, n int) []byte {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	b := make([]byte, n)
	rand.NewChaCha8(key).Read(b) // never fails
	return b
}

func digestOf(b []byte) oci.Digest { return oci.SHA256.FromBytes(b) }

func (p *place) create(key blob.Key) blob.Writer {
	p.t.Helper()
	w, err := p.Create(p.t.Context(), key)
	if err != nil {
		p.t.Fatalf("Create: %v", err)
	}
	return w
}

func (p *place) resume(key blob.Key, size int, state []byte) blob.Writer {
	p.t.Helper()
	w, err := p.Resume(p.t.Context(), key, int64(size), state)
	if err != nil {
		p.t.Fatalf("Resume at %d: %v", size, err)
	}
	return w
}

func (p *place) write(w io.Writer, b []byte) {
	p.t.Helper()
	if n, err := w.Write(b); err != nil || n != len(b) {
		p.t.Fatalf("Write: got %d, %v, want %d", n, err, len(b))
	}
}

func (p *place) checkpoint(w blob.Writer) []byte {
	p.t.Helper()
	state, err := w.Checkpoint(p.t.Context())
	if err != nil {
		p.t.Fatalf("Checkpoint: %v", err)
	}
	return state
}

func (p *place) commit(w blob.Writer, d oci.Digest) blob.Key {
	p.t.Helper()
	key, err := w.Commit(p.t.Context(), d)
	if err != nil {
		p.t.Fatalf("Commit: %v", err)
	}
	return key
}

func (p *place) settle(w blob.Writer) {
	p.t.Helper()
	if err := w.Settle(p.t.Context()); err != nil {
		p.t.Fatalf("Settle: %v", err)
	}
}

func (p *place) close(c io.Closer) {
	p.t.Helper()
	if err := c.Close(); err != nil {
		p.t.Fatalf("Close: %v", err)
	}
}

// put stores b and returns the finished key.
func (p *place) put(b []byte) blob.Key {
	p.t.Helper()
	key, err := store(p.t, p.Store, blob.NewKey(), b)
	if err != nil {
		p.t.Fatal(err)
	}
	return key
}

// store stores b in s, with errors for those who are not on the test's goroutine.
func store(t testing.TB, s blob.Store, key blob.Key, b []byte) (blob.Key, error) {
	w, err := s.Create(t.Context(), key)
	if err != nil {
		return "", err
	}
	defer w.Close()
	if _, err := w.Write(b); err != nil {
		return "", err
	}
	final, err := w.Commit(t.Context(), digestOf(b))
	if err != nil {
		return "", err
	}
	return final, w.Settle(t.Context())
}

// check reports what is wrong with reading key: it must hold want.
func check(t testing.TB, s blob.Store, key blob.Key, want []byte) error {
	r, err := s.Open(t.Context(), key)
	if err != nil {
		return err
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("object %s: got %d bytes of %s, want %d of %s", key, len(got), digestOf(got), len(want), digestOf(want))
	}
	if r.Size() != int64(len(want)) {
		return fmt.Errorf("object %s: got size %d, want %d", key, r.Size(), len(want))
	}
	return checkSmall(r, key, want)
}

// checkSmall is check for who wants all bytes at once, if r is for that.
func checkSmall(r blob.Reader, key blob.Key, want []byte) error {
	small, ok := r.(blob.Small)
	if !ok {
		return nil
	}
	got, err := small.Bytes()
	if err == nil && !bytes.Equal(got, want) {
		err = fmt.Errorf("object %s: Bytes: got %d bytes of %s, want %d of %s", key, len(got), digestOf(got), len(want), digestOf(want))
	}
	return err
}

func (p *place) has(key blob.Key, want []byte) {
	p.t.Helper()
	if err := check(p.t, p.Store, key, want); err != nil {
		p.t.Error(err)
	}
}

func (p *place) hasNot(key blob.Key) {
	p.t.Helper()
	r, err := p.Open(p.t.Context(), key)
	if err == nil {
		r.Close()
	}
	if !errors.Is(err, fs.ErrNotExist) {
		p.t.Errorf("Open(%s): got %v, want an error that wraps fs.ErrNotExist", key, err)
	}
}

func (p *place) del(key blob.Key) {
	p.t.Helper()
	if err := p.Delete(p.t.Context(), key); err != nil {
		p.t.Errorf("Delete(%s): %v", key, err)
	}
}

// list returns every object by key.
func (p *place) list() map[blob.Key]blob.Object {
	p.t.Helper()
	all := make(map[blob.Key]blob.Object)
	for o, err := range p.List(p.t.Context()) {
		if err != nil {
			p.t.Fatalf("List: %v", err)
		}
		if _, twice := all[o.Key]; twice {
			p.t.Errorf("List yields %s twice", o.Key)
		}
		all[o.Key] = o
	}
	return all
}

// empty checks that nothing at all is left.
func (p *place) empty() {
	p.t.Helper()
	if all := p.list(); len(all) != 0 {
		p.t.Errorf("got %v, want an empty store", all)
	}
}
