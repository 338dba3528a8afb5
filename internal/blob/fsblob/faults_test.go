package fsblob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"berth/internal/blob"
)

// A fault is a hook that, once armed, lets one call fail, or all from one on.
type fault struct {
	mu      sync.Mutex
	armed   bool
	at      int    // which call fails, from 1
	op      string // if set, only calls of this kind count
	applied bool   // it fails after having been done
	crash   bool   // so do all that follow, without having been done
	err     error

	n     int
	fired bool
}

func (f *fault) hook(op, name string, do func() error) error {
	do = unsynced(op, do)
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.armed || f.op != "" && f.op != op {
		return do()
	}
	f.n++
	if f.n < f.at || f.n > f.at && !f.crash {
		return do()
	}
	first := !f.fired
	f.fired = true
	if first && f.applied {
		if err := do(); err != nil {
			return err
		}
	}
	return fmt.Errorf("%s %s: %w", op, name, f.err)
}

// unsynced takes the waiting out of fsyncs, of which there are thousands here.
// That they happen is what the tests of the order are for.
func unsynced(op string, do func() error) func() error {
	if op == "fsync" || op == "syncdir" || op == "await" {
		return func() error { return nil }
	}
	return do
}

func (f *fault) arm(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.armed = on
}

// forEachFault runs f with a fault at the first call, at the second, and so on,
// until one doesn't come up any more. It is an error if that never happened.
func forEachFault(t *testing.T, f func(t *testing.T, f *fault, renames bool)) {
	for _, renames := range []bool{false, true} {
		for _, applied := range []bool{false, true} {
			for _, crash := range []bool{false, true} {
				name := fmt.Sprintf("renames=%v,applied=%v,crash=%v", renames, applied, crash)
				t.Run(name, func(t *testing.T) {
					for n := 1; ; n++ {
						inject := &fault{at: n, applied: applied, crash: crash, err: syscall.EIO}
						t.Run(fmt.Sprint(n), func(t *testing.T) { f(t, inject, renames) })
						if !inject.fired {
							if n < 4 {
								t.Errorf("only %d calls were seen", n-1)
							}
							return
						}
					}
				})
			}
		}
	}
}

// recorded is what the database would answer.
func recorded(keys ...blob.Key) func(context.Context, blob.Key) (bool, error) {
	return func(_ context.Context, k blob.Key) (bool, error) {
		for _, key := range keys {
			if k == key {
				return true, nil
			}
		}
		return false, nil
	}
}

// reopen opens dir again, as the next process.
func reopen(t *testing.T, dir string, renames bool) *Store {
	s := openTest(t, dir, func(op, _ string, do func() error) error { return unsynced(op, do)() })
	s.renames.Store(renames)
	return s
}

// TestFaultsUpload lets every call of an upload fail once, and looks at what is
// left, as the same process and as the next one: what was there stays, what was
// promised is there, what failed can be tried again, and nothing is left over.
func TestFaultsUpload(t *testing.T) {
	forEachFault(t, func(t *testing.T, f *fault, renames bool) {
		dir := t.TempDir()
		s := openTest(t, dir, f.hook)
		s.renames.Store(renames)
		old := mustPut(t, s, "old")
		key := blob.NewKey()
		f.arm(true)
		final, err := put(t, s, key, "content")
		f.arm(false)
		if f.crash {
			s = reopen(t, dir, renames)
		}
		has(t, s, old, "old")
		switch {
		case final != "": // only Settle failed, if anything
			if err == nil && f.fired && !f.applied {
				t.Error("a failed Settle was not reported")
			}
			has(t, s, final, "content")
		case err == nil:
			t.Error("no key and no error")
		default:
			final = again(t, s, key)
		}
		if err := s.Recover(t.Context(), recorded(old, final)); err != nil {
			t.Errorf("Recover: %v", err)
		}
		has(t, s, old, "old")
		has(t, s, final, "content")
		onlyFinished(t, dir, old, final)
	})
}

// again goes on with the upload as a registry does that was asked for it once
// more: where it was, or if it is lost from the beginning.
func again(t *testing.T, s *Store, key blob.Key) blob.Key {
	t.Helper()
	w, err := s.Resume(t.Context(), key, 0, nil)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, blob.ErrLost) {
		return mustPut(t, s, "content")
	}
	if err != nil {
		t.Fatalf("Resume: %v", err)
	}
	defer w.Close()
	final, err := finish(t, w, "content")
	if err != nil {
		t.Fatalf("the upload again: %v", err)
	}
	return final
}

// TestFaultsGiveUp is TestFaultsUpload for an upload that nobody goes on with:
// Delete, or Recover, leaves nothing of it.
func TestFaultsGiveUp(t *testing.T) {
	forEachFault(t, func(t *testing.T, f *fault, renames bool) {
		dir := t.TempDir()
		s := openTest(t, dir, f.hook)
		s.renames.Store(renames)
		old := mustPut(t, s, "old")
		key := blob.NewKey()
		f.arm(true)
		final, _ := put(t, s, key, "content")
		f.arm(false)
		if f.crash {
			s = reopen(t, dir, renames)
			if err := s.Recover(t.Context(), recorded(old)); err != nil {
				t.Error(err)
			}
		} else if err := s.Delete(t.Context(), key); err != nil {
			t.Error(err)
		}
		if final != "" {
			if err := s.Delete(t.Context(), final); err != nil {
				t.Error(err)
			}
		}
		has(t, s, old, "old")
		onlyFinished(t, dir, old)
	})
}

// interrupted leaves what a process leaves that ends between Commit and Settle.
func interrupted(t *testing.T, s *Store, content string) (upload, final blob.Key) {
	t.Helper()
	upload = blob.NewKey()
	w, err := s.Create(t.Context(), upload)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	io.WriteString(w, content)
	if final, err = w.Commit(t.Context(), digestOf(content)); err != nil {
		t.Fatal(err)
	}
	return upload, final
}

// TestFaultsCleanUp lets every call of Delete, Recover and Resume fail once on
// what an interrupted Commit left. Trying again gets it right.
func TestFaultsCleanUp(t *testing.T) {
	forEachFault(t, func(t *testing.T, f *fault, renames bool) {
		dir := t.TempDir()
		s := openTest(t, dir, f.hook)
		s.renames.Store(renames)
		one, _ := interrupted(t, s, "one")
		two, _ := interrupted(t, s, "two")
		_, three := interrupted(t, s, "three")
		four := mustPut(t, s, "four")
		clean := func() error {
			w, err := s.Resume(t.Context(), one, 3, nil)
			if err == nil {
				err = w.Close()
			} else if errors.Is(err, fs.ErrNotExist) {
				err = nil // Recover came first, below
			}
			return errors.Join(err, s.Delete(t.Context(), two), s.Delete(t.Context(), four), s.Recover(t.Context(), recorded(one, three)))
		}
		f.arm(true)
		err := clean()
		f.arm(false)
		if f.fired && f.crash && !f.applied && err == nil {
			t.Error("no error")
		}
		if f.crash {
			s = reopen(t, dir, renames)
		}
		has(t, s, three, "three")
		if err := clean(); err != nil {
			t.Errorf("again: %v", err)
		}
		w, err := s.Resume(t.Context(), one, 0, nil)
		if err != nil {
			t.Fatalf("an upload that is recorded was lost: %v", err)
		}
		final, err := finish(t, w, "other")
		w.Close()
		if err != nil {
			t.Fatal(err)
		}
		has(t, s, final, "other")
		onlyFinished(t, dir, three, final)
	})
}

// TestFsyncFailsOnce holds that a failed fsync is not tried again: the object is
// lost, although a second fsync would say that all is well.
func TestFsyncFailsOnce(t *testing.T) {
	for _, op := range []string{"await", "fsync", "syncdir"} {
		for _, stuck := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s,stuck=%v", op, stuck), func(t *testing.T) {
				var broken bool
				s := openTest(t, t.TempDir(), func(o, name string, do func() error) error {
					if broken && (o == op || stuck && o == "remove") {
						return syscall.EIO
					}
					return do()
				})
				s.ordered = true // else nothing is awaited
				key := blob.NewKey()
				w, err := s.Create(t.Context(), key)
				if err != nil {
					t.Fatal(err)
				}
				defer w.Close()
				io.WriteString(w, "x")
				broken = true
				if _, err := w.Commit(t.Context(), digestOf("x")); !errors.Is(err, blob.ErrLost) || !errors.Is(err, syscall.EIO) {
					t.Errorf("Commit: got %v, want blob.ErrLost and the cause", err)
				}
				broken = false
				if _, err := w.Commit(t.Context(), digestOf("x")); !errors.Is(err, blob.ErrLost) {
					t.Errorf("Commit again: got %v, want blob.ErrLost", err)
				}
				if err := w.Settle(t.Context()); err == nil {
					t.Error("Settle: no error")
				}
				if _, err := s.Resume(t.Context(), key, 1, nil); !errors.Is(err, blob.ErrLost) && !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("Resume: got %v, want blob.ErrLost or fs.ErrNotExist", err)
				}
				if err := s.Delete(t.Context(), key); err != nil {
					t.Error(err)
				}
				if _, err := s.Resume(t.Context(), key, 1, nil); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("Resume after Delete: got %v, want fs.ErrNotExist", err)
				}
			})
		}
	}
}

// TestErrors holds what callers can tell errors by.
func TestErrors(t *testing.T) {
	tests := []struct {
		op   string
		err  error
		want error
	}{
		{"create", syscall.ENOSPC, blob.ErrNoSpace},
		{"write", syscall.ENOSPC, blob.ErrNoSpace},
		{"write", syscall.EDQUOT, blob.ErrNoSpace},
		{"fsync", syscall.ENOSPC, blob.ErrNoSpace},
		{"fsync", syscall.EDQUOT, blob.ErrLost},
		{"mkdir", syscall.ENOSPC, blob.ErrNoSpace},
		{"link", syscall.ENOSPC, blob.ErrNoSpace},
		{"create", syscall.EMFILE, blob.ErrBusy},
		{"create", syscall.ENFILE, blob.ErrBusy},
		{"opendir", syscall.EMFILE, blob.ErrBusy},
	}
	for _, tt := range tests {
		t.Run(tt.op+" "+tt.err.Error(), func(t *testing.T) {
			f := &fault{op: tt.op, at: 1, err: tt.err}
			s := openTest(t, t.TempDir(), f.hook)
			f.arm(true)
			key := blob.NewKey()
			_, err := put(t, s, key, "content")
			if !errors.Is(err, tt.want) || !errors.Is(err, tt.err) {
				t.Errorf("got %v, want an error that wraps %v and %v", err, tt.want, tt.err)
			}
			f.arm(false)
			if err := s.Delete(t.Context(), key); err != nil {
				t.Error(err)
			}
			mustPut(t, s, "content")
		})
	}
	f := &fault{op: "open", at: 1, err: syscall.EMFILE}
	s := openTest(t, t.TempDir(), f.hook)
	key := mustPut(t, s, "x")
	f.arm(true)
	if _, err := s.Open(t.Context(), key); !errors.Is(err, blob.ErrBusy) {
		t.Errorf("Open: got %v, want blob.ErrBusy", err)
	}
}

// TestBusyCommit holds that running out of descriptors loses nothing.
func TestBusyCommit(t *testing.T) {
	f := &fault{op: "opendir", at: 2, err: syscall.EMFILE}
	s := openTest(t, t.TempDir(), f.hook)
	w, err := s.Create(t.Context(), blob.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	io.WriteString(w, "x")
	f.arm(true)
	if _, err := w.Commit(t.Context(), digestOf("x")); !errors.Is(err, blob.ErrBusy) {
		t.Errorf("got %v, want blob.ErrBusy", err)
	}
	f.arm(false)
	final, err := w.Commit(t.Context(), digestOf("x"))
	if err != nil {
		t.Fatal(err)
	}
	has(t, s, final, "x")
}

// TestNoHardLinks holds that the store goes over to renaming by itself, whether
// it finds out at the start or later.
func TestNoHardLinks(t *testing.T) {
	for _, from := range []int{1, 2} {
		n := 0
		dir := filepath.Join(t.TempDir(), "data")
		s := openTest(t, dir, func(op, name string, do func() error) error {
			if op == "link" {
				if n++; n >= from {
					return syscall.EPERM
				}
			}
			return do()
		})
		key := mustPut(t, s, "x")
		if !s.renames.Load() {
			t.Error("the store still links")
		}
		has(t, s, key, "x")
		onlyFinished(t, dir, key)
	}
}

// TestTwoFileSystems holds that a tree whose parts can't be connected is refused
// at the start.
func TestTwoFileSystems(t *testing.T) {
	_, err := open(Options{Dir: t.TempDir()}, func(op, name string, do func() error) error {
		if op == "link" || op == "rename" {
			return syscall.EXDEV
		}
		return do()
	})
	if err == nil {
		t.Error("no error")
	}
}

// TestCreateAfterRename holds that an upload without bytes, which a registry
// begins anew rather than resumes, leaves nothing of an interrupted Commit.
func TestCreateAfterRename(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, nil)
	s.renames.Store(true)
	key, _ := interrupted(t, s, "")
	if w, err := s.Create(t.Context(), key); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Create: got %v, %v, want an error that wraps fs.ErrExist", w, err)
	}
	w, err := s.Resume(t.Context(), key, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	final, err := finish(t, w, "")
	if err != nil {
		t.Fatal(err)
	}
	onlyFinished(t, dir, final)
}

// TestDeleteBesideCommit lets a Commit happen in the middle of a Delete of the
// same upload: whoever comes last, nothing is left of it.
func TestDeleteBesideCommit(t *testing.T) {
	for _, renames := range []bool{false, true} {
		for _, before := range []string{"open", "remove"} {
			t.Run(fmt.Sprintf("renames=%v,before=%s", renames, before), func(t *testing.T) {
				var w blob.Writer
				var deleting bool
				dir := t.TempDir()
				s := openTest(t, dir, func(op, _ string, do func() error) error {
					if deleting && op == before {
						deleting = false
						if _, err := w.Commit(t.Context(), digestOf("x")); err != nil {
							t.Error(err)
						}
					}
					return do()
				})
				s.renames.Store(renames)
				key := blob.NewKey()
				var err error
				if w, err = s.Create(t.Context(), key); err != nil {
					t.Fatal(err)
				}
				defer w.Close()
				io.WriteString(w, "x")
				deleting = true
				if err := s.Delete(t.Context(), key); err != nil {
					t.Error(err)
				}
				onlyFinished(t, dir)
			})
		}
	}
}
