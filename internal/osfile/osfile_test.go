package osfile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func openFile(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func mustLock(t *testing.T, f *os.File, want bool) {
	t.Helper()
	if got, err := TryLock(f); err != nil || got != want {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
}

// TestLock holds that a lock is one file's of one that opened it, in the same process
// too, and that it ends with the closing.
func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	one, other := openFile(t, path), openFile(t, path)
	mustLock(t, one, true)
	mustLock(t, one, true) // it has it
	mustLock(t, other, false)
	if _, err := other.WriteAt([]byte("text"), 0); err != nil { // a lock is nothing but that
		t.Error(err)
	}
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	mustLock(t, other, true)
	if ok, err := TryLock(one); ok || err == nil {
		t.Errorf("a closed file: got %v, %v, want an error", ok, err)
	}
}

// lockVar names the file that TestLockWorker locks.
const lockVar = "BERTH_TEST_LOCK"

// TestLockEndsWithItsProcess holds that another process cannot have the lock, and that
// a process which is killed leaves none.
func TestLockEndsWithItsProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	cmd := exec.Command(os.Args[0], "-test.run=TestLockWorker$")
	cmd.Env = append(os.Environ(), lockVar+"="+path)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	f := openFile(t, path)
	if err != nil || line != "true\n" {
		t.Errorf("the other process: got %q, %v, want it to have the lock", line, err)
	}
	mustLock(t, f, false)
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the other process ended by itself")
	}
	mustLock(t, f, true)
}

// TestLockWorker is the other process. It keeps the lock until it is killed.
func TestLockWorker(t *testing.T) {
	path := os.Getenv(lockVar)
	if path == "" {
		t.Skip("TestLockEndsWithItsProcess runs it")
	}
	ok, err := TryLock(openFile(t, path))
	fmt.Println(ok)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func TestSync(t *testing.T) {
	dir := t.TempDir()
	f := openFile(t, filepath.Join(dir, "file"))
	if _, err := f.WriteString("text"); err != nil {
		t.Fatal(err)
	}
	if err := SyncData(f); err != nil {
		t.Error(err)
	}
	if err := SyncDir(dir); err != nil {
		t.Error(err)
	}
	if err := SyncDir(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder that is not there: got %v", err)
	}
	f.Close()
	if err := SyncData(f); err == nil {
		t.Error("a closed file: got no error")
	}
}

func TestNoSpaceOfOthers(t *testing.T) {
	for _, err := range []error{nil, os.ErrNotExist, os.ErrPermission, io.ErrShortWrite} {
		if NoSpace(err) {
			t.Errorf("%v says that there is no space", err)
		}
	}
}
