package fsblob

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"berth/internal/blob"
)

// finished returns the key of a finished object of s.
func finished(t testing.TB, s *Store, content string) blob.Key {
	t.Helper()
	w, err := s.Create(t.Context(), blob.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := w.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	key, err := w.Commit(t.Context(), digestOf(content))
	if err == nil {
		err = w.Settle(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestExport holds that content is shared or copied to where registry:2 looks
// for it, once, and that what is damaged is not.
func TestExport(t *testing.T) {
	for name, linking := range map[string]Linking{"shared": LinkFiles, "copied": CopyFiles} {
		t.Run(name, func(t *testing.T) {
			dir, out := t.TempDir(), t.TempDir()
			s := openTest(t, dir, nil)
			e, err := s.Export(out, linking)
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			own := finished(t, s, "of our own")
			theirs := findData(t, s, registry2File(t, dir, "of registry:2")).Key
			want := map[Linking]Transfer{LinkFiles: Linked, CopyFiles: Copied}[linking]
			for key, content := range map[blob.Key]string{own: "of our own", theirs: "of registry:2"} {
				path := filepath.Join(out, filepath.FromSlash(dataPath(digestOf(content))))
				for i, want := range []Transfer{want, WasThere} {
					d, got, err := e.Give(t.Context(), key, int64(len(content)))
					if err != nil || got != want || d != digestOf(content) {
						t.Errorf("%s, time %d: got %s, %v, %v; want %v", content, i, d, got, err, want)
					}
				}
				if b, err := os.ReadFile(path); err != nil || string(b) != content {
					t.Errorf("got %q, %v; want %q", b, err, content)
				}
				before, err := os.Stat(path)
				if err != nil {
					t.Fatal(err)
				}
				if linking == CopyFiles && before.Mode().Perm() != exportedMode {
					t.Errorf("a copy has the mode %v, want %v", before.Mode(), exportedMode)
				}
				// What was cut is not left so.
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
				writeFile(t, path, "x")
				if _, got, err := e.Give(t.Context(), key, int64(len(content))); err != nil || got != want {
					t.Errorf("over a cut file: got %v, %v; want %v", got, err, want)
				}
			}
			if err := s.Delete(t.Context(), own); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(filepath.Join(out, filepath.FromSlash(dataPath(digestOf("of our own"))))); err != nil {
				t.Errorf("what was exported went with the original: %v", err)
			}
			if _, _, err := e.Give(t.Context(), own, 10); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("what is gone: got %v, want %v", err, fs.ErrNotExist)
			}
			if _, _, err := e.Give(t.Context(), theirs, 5); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("what has another size: got %v, want %v", err, fs.ErrNotExist)
			}
		})
	}
}

// TestExportDamaged holds that a copy is compared with its digest.
func TestExportDamaged(t *testing.T) {
	dir, out := t.TempDir(), t.TempDir()
	s := openTest(t, dir, nil)
	e, err := s.Export(out, CopyFiles)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	d := registry2File(t, dir, "content")
	key := findData(t, s, d).Key
	writeFile(t, filepath.Join(dir, filepath.FromSlash(dataPath(d))), "CONTENT")
	if _, _, err := e.Give(t.Context(), key, 7); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want %v", err, fs.ErrNotExist)
	}
	list, err := os.ReadDir(filepath.Join(out, filepath.FromSlash(object{digest: d}.hexDir())))
	if err != nil || len(list) != 0 {
		t.Errorf("left behind: %v, %v", list, err)
	}
}

// TestAlive holds that the storage is looked at by using it, and that nothing
// stays of that.
func TestAlive(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, nil)
	path := filepath.Join(dir, aliveFile)
	writeFile(t, path, "left by a kill")
	if err := errors.Join(s.Reachable(t.Context()), s.Writable(t.Context())); err != nil {
		t.Errorf("got %v, want that all is well", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file stays: %v", err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(path, "x"), "")
	if err := s.Writable(t.Context()); err == nil {
		t.Error("got no error where the file can't be made")
	}
	if err := os.RemoveAll(filepath.Join(dir, "docker")); err != nil {
		t.Fatal(err)
	}
	if err := s.Reachable(t.Context()); err == nil {
		t.Error("got no error without the tree")
	}
}
