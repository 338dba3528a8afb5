package fsblob

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"berth/internal/blob"
)

// openRawTest opens an object of content and returns the rawFile of it.
func openRawTest(t *testing.T, content string) (*rawFile, blob.Reader) {
	t.Helper()
	s := openTest(t, t.TempDir(), nil)
	r, err := s.Open(t.Context(), mustPut(t, s, content))
	if err != nil {
		t.Fatal(err)
	}
	f, ok := r.(*reader).f.(*rawFile)
	if !ok {
		t.Skip("this kernel has no openat2")
	}
	return f, r
}

// TestRawFile holds that it reads as every file does.
func TestRawFile(t *testing.T) {
	content := strings.Repeat("0123456789", 500)
	f, _ := openRawTest(t, content)
	defer f.Close()
	if err := iotest.TestReader(f, []byte(content)); err != nil {
		t.Error(err)
	}
	if n, err := f.ReadAt(nil, 3); n != 0 || err != nil {
		t.Errorf("ReadAt of nothing: got %d, %v", n, err)
	}
	if n, err := f.Read(nil); n != 0 || err != nil {
		t.Errorf("Read of nothing: got %d, %v", n, err)
	}
}

// TestRawFileClosed holds that nothing is done with a descriptor that is closed:
// by then it is another file.
func TestRawFileClosed(t *testing.T) {
	f, r := openRawTest(t, "content")
	conn, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 10)
	used := func(uintptr) { t.Error("a closed descriptor is used") }
	for name, do := range map[string]func() error{
		"Read":          func() error { _, err := r.Read(buf); return err },
		"ReadAt":        func() error { _, err := f.ReadAt(buf, 0); return err },
		"Seek":          func() error { _, err := r.Seek(0, io.SeekStart); return err },
		"Close":         r.Close,
		"Control":       func() error { return conn.Control(used) },
		"RawConn.Read":  func() error { return conn.Read(func(fd uintptr) bool { used(fd); return true }) },
		"forgetting it": func() error { forgetPages(f, 0, 1); return os.ErrClosed },
	} {
		if err := do(); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("%s: got %v, want %v", name, err, fs.ErrClosed)
		}
	}
	if err := conn.Write(func(fd uintptr) bool { used(fd); return true }); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("RawConn.Write: got %v, want %v", err, fs.ErrPermission)
	}
}

// TestDescriptors holds that opening leaves none behind, whatever comes of it.
func TestDescriptors(t *testing.T) {
	dir := t.TempDir()
	m := openTest(t, dir, nil).Remember(1 << 20)
	small, large := mustPut(t, m.Store, "x"), mustPut(t, m.Store, strings.Repeat("x", maxSmall+1))
	special := mustPut(t, m.Store, "y")
	o, _ := parseFinished(special)
	at := dir + "/" + o.path()
	if err := errors.Join(os.Remove(at), mkfifo(at)); err != nil {
		t.Fatal(err)
	}
	count := func() int {
		all, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip(err)
		}
		return len(all)
	}
	use := func() {
		for _, key := range []blob.Key{small, large, special, blob.NewKey()} {
			if b, err := bytesOf(t, m, key); err != nil && !errors.Is(err, fs.ErrNotExist) || len(b) == 0 && err == nil {
				t.Errorf("%s: got %d bytes, %v", key, len(b), err)
			}
			m.forget(key)
			if r, err := m.OpenOnce(t.Context(), key); err == nil {
				io.Copy(&bytes.Buffer{}, r)
				r.Close()
			}
		}
	}
	use()
	before := count()
	for range 100 {
		use()
	}
	if after := count(); after > before+20 { // others open files meanwhile
		t.Errorf("got %d open files, %d before", after, before)
	}
}
