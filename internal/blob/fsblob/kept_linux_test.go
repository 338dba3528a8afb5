package fsblob

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"berth/internal/blob"
)

// descriptors returns how many descriptors of what is in dir this process has.
func descriptors(t *testing.T, dir string) (n int) {
	t.Helper()
	const all = "/proc/self/fd"
	entries, err := os.ReadDir(all)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if at, err := os.Readlink(filepath.Join(all, e.Name())); err == nil {
			if rel, err := filepath.Rel(dir, at); err == nil && filepath.IsLocal(rel) && rel != "." {
				n++
			}
		}
	}
	return n
}

// TestKeptDirsAreLeft holds that a Commit closes the directories that it kept open,
// whether it ends well or not.
func TestKeptDirsAreLeft(t *testing.T) {
	dir := t.TempDir()
	fails, most := "", 0
	s := openTest(t, dir, func(op, _ string, do func() error) error {
		if op == "link" { // syncs come side by side
			most = max(most, descriptors(t, dir))
		}
		if op == fails {
			return unix.EIO
		}
		return do()
	})
	mustPut(t, s, "content") // which also makes the upper directories
	most = 0
	for _, fails = range []string{"", "mkdir", "link"} {
		if _, err := put(t, s, blob.NewKey(), "content"); (err != nil) != (fails != "") {
			t.Errorf("%q fails: got %v", fails, err)
		}
		if n := descriptors(t, dir); n != 0 {
			t.Errorf("%q fails: %d descriptors are left", fails, n)
		}
	}
	if most != 2 && !s.d.plain {
		t.Errorf("a Commit had %d descriptors before it linked, want 2: its file, and the directory above", most)
	}
}

// TestKeptDirVanishes removes, and replaces, the directories of an object while it
// is committed: it is put into those that are there, or not at all.
func TestKeptDirVanishes(t *testing.T) {
	const content = "content"
	o := object{digestOf(content), blob.NewKey()}
	above := filepath.Dir(o.hexDir())
	for name, do := range map[string]func(dir string) error{
		"its directory removed": func(dir string) error { return os.Remove(filepath.Join(dir, o.hexDir())) },
		"the one above removed": func(dir string) error { return os.RemoveAll(filepath.Join(dir, above)) },
		"the one above replaced": func(dir string) error {
			at := filepath.Join(dir, above)
			return errors.Join(os.Rename(at, at+".moved"), os.Mkdir(at, sharedDir))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			done := false
			s := openTest(t, dir, func(op, at string, f func() error) error {
				if op == "link" && at == o.path() && !done {
					done = true
					if err := do(dir); err != nil {
						t.Error(err)
					}
				}
				return f()
			})
			key, err := put(t, s, o.id, content)
			if err != nil {
				t.Fatal(err)
			}
			pulls(t, s, key, content)
		})
	}
}

// TestKeptDirMoved moves the directory above an object's away when the latter has
// just been found to exist in it.
func TestKeptDirMoved(t *testing.T) {
	const content = "content"
	dir := t.TempDir()
	o := object{digestOf(content), blob.NewKey()}
	above := filepath.Join(dir, filepath.Dir(o.hexDir()))
	done := false
	s := openTest(t, dir, func(op, at string, f func() error) error {
		err := f()
		if op == "mkdir" && at == o.hexDir() && errors.Is(err, fs.ErrExist) && !done {
			done = true
			if err := errors.Join(os.Rename(above, above+".moved"), os.Mkdir(above, sharedDir)); err != nil {
				t.Error(err)
			}
		}
		return err
	})
	mustPut(t, s, content)
	key, err := put(t, s, o.id, content)
	if err != nil || !done {
		t.Fatalf("got %v, moved: %v", err, done)
	}
	pulls(t, s, key, content)
}
