package fsblob

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/internal/blob"
)

// quarantined lists what is in the quarantine.
func quarantined(t *testing.T, s *Store) []blob.Object {
	t.Helper()
	var list []blob.Object
	for o, err := range s.Quarantined(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, o)
	}
	return list
}

// TestQuarantine holds that an object is out of the way and not lost, under no
// name that registry:2 knows either, that the digest can be stored anew, and that
// emptying the quarantine leaves other files alone.
func TestQuarantine(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, nil)
	key := mustPut(t, s, "damaged")
	if _, err := s.Expose(t.Context(), key, 7); err != nil {
		t.Fatal(err)
	}
	if moved, err := s.Quarantine(t.Context(), key); !moved || err != nil {
		t.Fatalf("got %v, %v", moved, err)
	}
	if _, err := s.Open(t.Context(), key); !isMissing(err) {
		t.Errorf("it can still be read: %v", err)
	}
	if _, err := s.Data(t.Context(), digestOf("damaged")); !isMissing(err) {
		t.Errorf("registry:2 still finds it: %v", err)
	}
	list := quarantined(t, s)
	if len(list) != 1 || list[0].Key != key || list[0].Digest != digestOf("damaged") || list[0].Size != 7 {
		t.Errorf("in the quarantine: %+v", list)
	}
	if moved, err := s.Quarantine(t.Context(), key); moved || err != nil {
		t.Errorf("again: got %v, %v", moved, err)
	}
	has(t, s, mustPut(t, s, "damaged"), "damaged")
	note := filepath.Join(dir, "berth/quarantine/note.txt")
	writeFile(t, note, "an operator's")
	if err := s.EmptyQuarantine(t.Context()); err != nil {
		t.Fatal(err)
	}
	if list := quarantined(t, s); len(list) != 0 {
		t.Errorf("after it was emptied: %+v", list)
	}
	if _, err := os.Stat(note); err != nil {
		t.Error(err)
	}
}

// TestQuarantineLeaves holds what is not moved: registry:2's own files, and what
// stands behind a link.
func TestQuarantineLeaves(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, nil)
	adopted := findData(t, s, registry2File(t, dir, "registry:2's"))
	if moved, err := s.Quarantine(t.Context(), adopted.Key); moved || err != nil {
		t.Errorf("registry:2's file: got %v, %v", moved, err)
	}
	has(t, s, adopted.Key, "registry:2's")

	key := mustPut(t, s, "behind a link")
	o, err := parseFinished(key)
	if err != nil {
		t.Fatal(err)
	}
	hexDir, elsewhere := filepath.Join(dir, filepath.FromSlash(o.hexDir())), filepath.Join(t.TempDir(), "elsewhere")
	if err := os.Rename(hexDir, elsewhere); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(elsewhere, hexDir); err != nil {
		t.Skip("no symbolic links here")
	}
	if moved, err := s.Quarantine(t.Context(), key); moved || err != nil {
		t.Errorf("behind a link: got %v, %v", moved, err)
	}
	if c, err := s.Inspect(t.Context(), key); c.Shape != blob.Other || err != nil {
		t.Errorf("behind a link: got %+v, %v", c, err)
	}
	if _, err := os.Stat(filepath.Join(elsewhere, string(o.id))); err != nil {
		t.Error(err)
	}
	for _, bad := range []blob.Key{"", "x", "sha256/../x", "adopted/x", "/etc/passwd"} {
		if moved, err := s.Quarantine(t.Context(), bad); moved || err != nil {
			t.Errorf("key %q: got %v, %v", bad, moved, err)
		}
	}
}

// TestQuarantineFails holds that whatever fails on the way, the object is where it
// was or in the quarantine.
func TestQuarantineFails(t *testing.T) {
	for _, op := range []string{"mkdir", "remove", "rename", "syncdir"} {
		t.Run(op, func(t *testing.T) {
			dir := t.TempDir()
			key := mustPut(t, openTest(t, dir, nil), "damaged")
			failed := false
			s := openTest(t, dir, func(is, name string, do func() error) error {
				if is == op && strings.Contains(name, "quarantine") {
					failed = true
					return os.ErrPermission
				}
				return do()
			})
			_, err := s.Quarantine(t.Context(), key)
			if failed && err == nil {
				t.Error("no error")
			}
			_, oerr := s.Open(t.Context(), key)
			if in := len(quarantined(t, s)); (oerr == nil) == (in == 1) {
				t.Errorf("it is in its place: %v, and %d times in the quarantine", oerr == nil, in)
			}
		})
	}
}

// TestOpenOnce holds that it reads the same as Open, wherever one seeks.
func TestOpenOnce(t *testing.T) {
	s := openTest(t, t.TempDir(), nil)
	content := strings.Repeat("0123456789", 300_000)
	key := mustPut(t, s, content)
	r, err := s.OpenOnce(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, from := range []int64{0, 1_500_000, 0} {
		if _, err := r.Seek(from, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(r); err != nil || string(b) != content[from:] {
			t.Errorf("from %d: %d bytes, %v", from, len(b), err)
		}
	}
	if r.Size() != int64(len(content)) {
		t.Errorf("size %d", r.Size())
	}
}

// FuzzQuarantined holds that names in the quarantine are read as they are given,
// and lead nowhere else.
func FuzzQuarantined(f *testing.F) {
	f.Add("0123456789abcdef0123456789abcdef")
	f.Add("sha256-" + strings.Repeat("0", 64) + "-0123456789abcdef0123456789abcdef")
	f.Add("../x")
	f.Fuzz(func(t *testing.T, name string) {
		o, ok := parseQuarantined(name)
		if !ok {
			return
		}
		_, to, ok := quarantinePath(o.Key)
		if !ok || strings.ReplaceAll(to, "-", "/") != quarantineDir+"/"+strings.ReplaceAll(name, "-", "/") || strings.Contains(to, "..") {
			t.Errorf("%q is of key %q, which goes to %q", name, o.Key, to)
		}
	})
}
