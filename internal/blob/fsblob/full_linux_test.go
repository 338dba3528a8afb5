package fsblob

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"berth/internal/blob"
)

// tmpfs mounts a small file system, which can really be filled.
func tmpfs(t *testing.T, options string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("NOT TESTED: a full disk. Mounting a small file system needs root")
	}
	dir := t.TempDir()
	if err := unix.Mount("berth-test", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("NOT TESTED: a full disk. Mounting a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

// fill writes until the store refuses, and returns how much was written.
func fill(t *testing.T, w blob.Writer) int64 {
	t.Helper()
	p := make([]byte, 100_000)
	for n := int64(0); ; n += int64(len(p)) {
		m, err := w.Write(p)
		if err == nil {
			continue
		}
		if m != 0 || !errors.Is(err, blob.ErrNoSpace) {
			t.Errorf("got %d, %v, want 0 and an error that wraps blob.ErrNoSpace", m, err)
		}
		return n
	}
}

// TestDiskFull fills a disk: writes are refused, all else works, and after the
// upload is given up so do writes.
func TestDiskFull(t *testing.T) {
	dir := tmpfs(t, "size=4m")
	s, err := Open(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	old := mustPut(t, s, "old")
	key := blob.NewKey()
	w, err := s.Create(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	n := fill(t, w)
	info, err := os.Stat(filepath.Join(dir, uploadPath(key)))
	if err != nil || info.Size() != n {
		t.Errorf("got %v, %v: a failed Write must leave the %d bytes before it", info, err, n)
	}
	if n := fill(t, w); n != 0 {
		t.Errorf("%d more bytes fit after a refusal", n)
	}
	has(t, s, old, "old")
	// Whoever read less than was written finds those bytes.
	h := digestOf(strings.Repeat("\x00", int(n)))
	sum := strings.Builder{}
	if err := w.Replay(t.Context(), &sum); err != nil || digestOf(sum.String()) != h {
		t.Errorf("Replay: %v", err)
	}
	w.Close()
	if err := s.Delete(t.Context(), key); err != nil {
		t.Errorf("Delete on a full disk: %v", err)
	}
	has(t, s, mustPut(t, s, strings.Repeat("x", 1<<20)), strings.Repeat("x", 1<<20))
	onlyFinishedCount(t, dir, 2)
}

func onlyFinishedCount(t *testing.T, dir string, want int) {
	t.Helper()
	if got := files(t, dir); len(got) != want {
		t.Errorf("got %v, want %d files", got, want)
	}
}

// TestNoInodes runs a disk out of names, so that it is Commit which fails.
func TestNoInodes(t *testing.T) {
	for _, renames := range []bool{false, true} {
		dir := tmpfs(t, "size=4m,nr_inodes=20")
		s, err := Open(Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		s.renames.Store(renames)
		var failed blob.Key
		stored := 0
		for i := 0; failed == "" && i < 20; i++ {
			key := blob.NewKey()
			_, err := put(t, s, key, fmt.Sprint("content ", i))
			switch {
			case errors.Is(err, blob.ErrNoSpace):
				failed = key
			case err != nil:
				t.Fatalf("got %v, want an error that wraps blob.ErrNoSpace", err)
			default:
				stored++
			}
		}
		if failed == "" {
			t.Fatal("the disk never ran out of names")
		}
		if err := s.Delete(t.Context(), failed); err != nil {
			t.Error(err)
		}
		onlyFinishedCount(t, dir, stored)
		s.Close()
	}
}

// TestReserve holds that the store stops before the disk is full.
func TestReserve(t *testing.T) {
	dir := tmpfs(t, "size=32m")
	const reserve = 12 << 20
	s, err := Open(Options{Dir: dir, Reserve: reserve})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	free, total, err := s.Free(t.Context())
	if err != nil || total != 32<<20 || free > 20<<20 || free < 18<<20 {
		t.Errorf("got %d of %d, %v, want about 20 MiB of 32", free, total, err)
	}
	key := blob.NewKey()
	w, err := s.Create(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	n := fill(t, w)
	if n < 16<<20 || n > 20<<20+spaceEvery {
		t.Errorf("got %d bytes written, want about 20 MiB", n)
	}
	if _, err := w.Commit(t.Context(), digestOf(strings.Repeat("\x00", int(n)))); err != nil {
		t.Errorf("what was written can't be finished: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "junk"), make([]byte, 6<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Create(t.Context(), blob.NewKey()); !errors.Is(err, blob.ErrNoSpace) {
		t.Errorf("Create: got %v, want an error that wraps blob.ErrNoSpace", err)
	}
	if free, _, err := s.Free(t.Context()); err != nil || free != 0 {
		t.Errorf("Free: got %d, %v, want 0", free, err)
	}
}

// TestDenied asks as another user, who gets a message to act on.
func TestDenied(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("NOT TESTED: a directory of another user. Becoming one needs root")
	}
	base, err := os.MkdirTemp("", "berth-denied-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(base)
	dir := filepath.Join(base, "data")
	if err := errors.Join(os.Chmod(base, 0o755), os.Mkdir(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if _, err := unix.SetfsuidRetUid(65534); err != nil {
		t.Fatal(err)
	}
	defer unix.Setfsuid(0)
	_, oerr := Open(Options{Dir: dir})
	_, lerr := LockDir(dir)
	_, perr := Probe(filepath.Join(dir, "new"))
	for _, err := range []error{oerr, lerr, perr} {
		for _, want := range []string{dir, "uid 0", "0755", "chown", "--data"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q in it", err, want)
			}
		}
	}
}

// TestReadOnly opens a file system that can't be written.
func TestReadOnly(t *testing.T) {
	dir := tmpfs(t, "size=1m")
	if err := unix.Mount("berth-test", dir, "tmpfs", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "read-only") || !strings.Contains(err.Error(), dir) {
		t.Errorf("got %v, want read-only and the directory in it", err)
	}
}

// TestOtherMount holds that a bind mount or the like of a part of the tree is
// found out at the start, as the real system reports it.
func TestOtherMount(t *testing.T) {
	dir := t.TempDir()
	blobs := filepath.Join(dir, blobsDir)
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		t.Fatal(err)
	}
	other := tmpfs(t, "size=1m")
	if err := unix.Mount(other, blobs, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(blobs, 0)
	if _, err := Open(Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "same file system") {
		t.Errorf("got %v, want that they must be on the same file system", err)
	}
}

// TestKernelSends holds that the file can be given to sendfile.
func TestKernelSends(t *testing.T) {
	s := openTest(t, t.TempDir(), nil)
	content := strings.Repeat("0123456789", 10_000)
	r, err := s.Open(t.Context(), mustPut(t, s, content))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	conn, err := r.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	pr, pw, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pr.Close()
	if err := conn.Read(func(fd uintptr) bool {
		n, err := unix.Sendfile(int(pw.Fd()), int(fd), nil, 4096)
		if n != 4096 || err != nil {
			t.Errorf("sendfile: %d, %v", n, err)
		}
		return true
	}); err != nil {
		t.Error(err)
	}
	pw.Close()
	if got, err := io.ReadAll(pr); err != nil || string(got) != content[:4096] {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
}
