package fsblob

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLockDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	first, err := LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = LockDir(dir)
	locked, ok := errors.AsType[*LockedError](err)
	if !ok {
		t.Fatalf("got %v, want a *LockedError", err)
	}
	host, _ := os.Hostname()
	if locked.PID != os.Getpid() || locked.Host != host || locked.Dir != dir {
		t.Errorf("got %+v, want process %d on %s", locked, os.Getpid(), host)
	}
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	first.Close()
	again, err := LockDir(dir)
	if err != nil {
		t.Fatalf("after Close: %v", err)
	}
	defer again.Close()
	if _, err := LockDir(dir); err == nil {
		t.Error("the first one's second Close gave the lock of the other away")
	}
}

// TestLockedError holds that the message is of use whatever the file holds.
func TestLockedError(t *testing.T) {
	for content, want := range map[string]string{
		"":                     "another process",
		"12 host-a\n":          "process 12 on host host-a",
		"x y":                  "another process",
		"123":                  "another process",
		"7 " + "\x00\xff junk": "process 7",
	} {
		dir := t.TempDir()
		l, err := LockDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, lockName), content)
		_, err = LockDir(dir)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%q: got %v, want %q and the directory in it", content, err, want)
		}
		l.Close()
	}
}

func TestProbe(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	l, err := LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	facts, err := Probe(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", facts)
	if !facts.Locks || !facts.Syncs || facts.Type == "" || facts.Total <= 0 || facts.Free > facts.Total {
		t.Errorf("got %+v", facts)
	}
	if got := files(t, dir); len(got) != 1 {
		t.Errorf("Probe left %v", got)
	}
	entries, err := os.ReadDir(filepath.Join(dir, berthDir))
	if err != nil || len(entries) != 1 {
		t.Errorf("Probe left %v, %v", entries, err)
	}
}

// TestRefusals holds that each reason why a data directory can't be used comes
// with its name.
func TestRefusals(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	writeFile(t, file, "x")
	for _, dir := range []string{file, filepath.Join(file, "data")} {
		_, oerr := Open(Options{Dir: dir})
		_, lerr := LockDir(dir)
		_, perr := Probe(dir)
		for _, err := range []error{oerr, lerr, perr} {
			if err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "--data") {
				t.Errorf("%s: got %v, want the directory's name and what to do", dir, err)
			}
		}
	}
}
