package osfile

import (
	"fmt"
	"os"
	"syscall"
	"testing"
)

// TestNoSpace asks for space where there is never any.
func TestNoSpace(t *testing.T) {
	f, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, err = f.Write([]byte("x"))
	if !NoSpace(err) || !NoSpace(fmt.Errorf("write: %w", err)) {
		t.Errorf("%v does not say that there is no space", err)
	}
	if NoSpace(syscall.EIO) {
		t.Error("a broken disk is taken for a full one")
	}
}

// TestSyncDataFails fails as the system does where nothing can be synced.
func TestSyncDataFails(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if err := SyncData(w); !IsAny(err, syscall.EINVAL) {
		t.Errorf("a pipe: got %v, want EINVAL", err)
	}
}

type brokenDir struct{ err error }

func (d brokenDir) Sync() error { return d.err }

// TestSyncNames holds that what cannot be synced anywhere is no error, and that a disk
// that fails is one.
func TestSyncNames(t *testing.T) {
	for _, err := range []error{nil, syscall.EINVAL, syscall.ENOTSUP, syscall.ENOSYS} {
		if got := SyncNames(brokenDir{err}); got != nil {
			t.Errorf("%v: got %v, want no error", err, got)
		}
	}
	for _, err := range []error{syscall.EIO, syscall.ENOSPC, os.ErrClosed} {
		if got := SyncNames(brokenDir{err}); got != err {
			t.Errorf("%v: got %v, want it", err, got)
		}
	}
}
