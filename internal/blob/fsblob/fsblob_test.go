package fsblob

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"berth/internal/blob"
	"berth/internal/blob/blobtest"
)

// TestStore runs the suite for each way in which files are opened and placed.
func TestStore(t *testing.T) {
	modes := []struct {
		name string
		set  func(*Store)
	}{
		{"as it is", func(*Store) {}},
		{"renaming", func(s *Store) { s.renames.Store(true) }},
		{"plain open", func(s *Store) { s.d.plain = true }},
	}
	t.Run("remembering", func(t *testing.T) {
		blobtest.Run(t, func(t *testing.T) blobtest.Place {
			dir := t.TempDir()
			return func() blob.Store { return openTest(t, dir, nil).Remember(1 << 20) }
		})
	})
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			blobtest.Run(t, func(t *testing.T) blobtest.Place {
				dir := t.TempDir()
				return func() blob.Store {
					s := openTest(t, dir, nil)
					m.set(s)
					return s
				}
			})
		})
	}
}

func BenchmarkStore(b *testing.B) {
	blobtest.Benchmark(b, func(b *testing.B) blobtest.Place {
		dir := b.TempDir()
		return func() blob.Store { return openTest(b, dir, nil) }
	})
}

// TestReader holds what the kernel needs to send a file by itself, and that
// nothing stands in its way: io.Copy asks for WriteTo first.
func TestReader(t *testing.T) {
	s := openTest(t, t.TempDir(), nil)
	r, err := s.Open(t.Context(), mustPut(t, s, "x"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, ok := r.(syscall.Conn); !ok {
		t.Error("the Reader has no SyscallConn")
	}
	if _, ok := r.(io.WriterTo); ok {
		t.Error("the Reader has a WriteTo")
	}
	if _, ok := r.(io.Writer); ok {
		t.Error("the Reader can write")
	}
}

// TestForeignFiles holds that what Berth has not made is neither listed nor
// touched: registry:2's files above all.
func TestForeignFiles(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, nil)
	key := mustPut(t, s, "ours")
	o, _ := parseFinished(key)
	hex := o.digest.Hex()
	foreign := []string{
		o.hexDir() + "/data", o.hexDir() + "/x.tmp", o.hexDir() + "/" + strings.ToUpper(string(o.id)),
		blobsDir + "/sha256/zz/" + hex + "/data", blobsDir + "/sha256/00/" + hex + "/" + string(blob.NewKey()),
		blobsDir + "/sha256/file", blobsDir + "/md5/aa/x", blobsDir + "/sha256/" + hex[:2] + "/short/data",
		"docker/registry/v2/repositories/app/_layers/sha256/" + hex + "/link",
		uploadsDir + "/README", uploadsDir + "/" + string(blob.NewKey()) + ".tmp", "berth/berth.db",
	}
	for _, name := range foreign {
		writeFile(t, filepath.Join(dir, name), "not ours")
	}
	n := 0
	for got, err := range s.List(t.Context()) {
		if n++; err != nil || got.Key != key {
			t.Errorf("got %+v, %v", got, err)
		}
	}
	if n != 1 {
		t.Errorf("got %d objects, want 1", n)
	}
	if err := s.Recover(t.Context(), nothingKnown); err != nil {
		t.Error(err)
	}
	if err := s.Delete(t.Context(), key); err != nil {
		t.Error(err)
	}
	if got := files(t, dir); len(got) != len(foreign) {
		t.Errorf("got %d files, want the %d foreign ones: %v", len(got), len(foreign), got)
	}
}

// TestDeleteTidies holds that a deletion leaves no empty directory of its own.
func TestDeleteTidies(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, nil)
	key := mustPut(t, s, "x")
	o, _ := parseFinished(key)
	if err := s.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, o.hexDir())); !isMissing(err) {
		t.Errorf("got %v, want no directory", err)
	}
}

// TestTidiedTree holds that a Commit survives that somebody removes empty
// directories, as housekeeping scripts do.
func TestTidiedTree(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, nil)
	if err := s.Delete(t.Context(), mustPut(t, s, "x")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, blobsDir, "sha256")); err != nil {
		t.Fatal(err)
	}
	has(t, s, mustPut(t, s, "x"), "x")
}

func TestModes(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no modes")
	}
	dir := filepath.Join(t.TempDir(), "a", "data")
	s := openTest(t, dir, nil)
	o, _ := parseFinished(mustPut(t, s, "secret"))
	want := map[string]fs.FileMode{
		".": 0o700, berthDir: 0o700, uploadsDir: 0o700, "docker": 0o755, o.hexDir(): 0o755, o.path(): 0o600,
	}
	for name, mode := range want {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != mode {
			t.Errorf("%s: got mode %04o, want %04o", name, got, mode)
		}
	}
}

// TestFileGotShorter holds that a file which lost bytes behind the writer's back
// is not finished as if it were whole.
func TestFileGotShorter(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, nil)
	key := blob.NewKey()
	w, err := s.Create(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := io.WriteString(w, "12345"); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, uploadPath(key)), 3); err != nil {
		t.Fatal(err)
	}
	if err := w.Replay(t.Context(), io.Discard); !errors.Is(err, blob.ErrLost) {
		t.Errorf("Replay: got %v, want blob.ErrLost", err)
	}
	if _, err := w.Commit(t.Context(), digestOf("12345")); !errors.Is(err, blob.ErrLost) {
		t.Errorf("Commit: got %v, want blob.ErrLost", err)
	}
}

// TestWriteAllocates holds that the bytes of an upload cost no memory.
func TestWriteAllocates(t *testing.T) {
	s := openTest(t, t.TempDir(), nil)
	w, err := s.Create(t.Context(), blob.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	p := make([]byte, 64<<10)
	n := testing.AllocsPerRun(100, func() {
		if _, err := w.Write(p); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("got %v allocations for a Write, want none", n)
	}
}

// FuzzKey holds that no key, whatever it is, becomes a path outside the tree.
func FuzzKey(f *testing.F) {
	id := string(blob.NewKey())
	for _, k := range []string{"", id, "sha256/" + strings.Repeat("a", 64) + "/" + id, "sha512/" + strings.Repeat("0", 128) + "/" + id,
		"sha256/../" + id, "sha256/" + strings.Repeat("a", 64) + "/..", "/" + id, id + "\x00"} {
		f.Add(k)
	}
	f.Fuzz(func(t *testing.T, k string) {
		if blob.Key(k).Check() == nil && (len(k) != 32 || strings.Trim(k, "0123456789abcdef") != "") {
			t.Errorf("%q passes as a key", k)
		}
		o, err := parseFinished(blob.Key(k))
		if err != nil {
			return
		}
		if o.key() != blob.Key(k) {
			t.Errorf("%q is read as %q", k, o.key())
		}
		if p := o.path(); !filepath.IsLocal(p) || !strings.HasPrefix(p, blobsDir+"/sha") || strings.Count(p, "/") != 7 {
			t.Errorf("%q becomes %q", k, p)
		}
	})
}

// TestBegin holds that the disk is told to begin with what was written: now and
// then, and when the client may take its time.
func TestBegin(t *testing.T) {
	s := openTest(t, t.TempDir(), nil)
	key := blob.NewKey()
	made, err := s.Create(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	defer made.Close()
	w := made.(*writer)
	write := func(n int) {
		t.Helper()
		if _, err := w.Write(make([]byte, n)); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		do   func()
		want int64
	}{
		{func() { write(1000) }, 0},
		{func() { write(writebackEvery) }, writebackEvery + 1000},
		{func() { write(1000) }, writebackEvery + 1000},
		{func() { w.Checkpoint(t.Context()) }, writebackEvery + 2000},
	} {
		if step.do(); w.behind != step.want {
			t.Errorf("the disk was told of %d bytes of %d, want %d", w.behind, w.size, step.want)
		}
	}
}
