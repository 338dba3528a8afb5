package fsblob

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"berth/internal/blob"
)

const outsideContent = "what nobody may see or change"

// An attack is a data directory in which somebody has put symbolic links, and a
// directory outside.
type attack struct {
	t       *testing.T
	dir     string
	outside string
	s       *Store
}

// forEachOpen runs f with each way of opening files.
func forEachOpen(t *testing.T, f func(t *testing.T, a *attack)) {
	if runtime.GOOS == "windows" {
		t.Skip("symbolic links need a privilege on Windows")
	}
	for _, plain := range []bool{false, true} {
		name := map[bool]string{false: "as it is", true: "plain open"}[plain]
		t.Run(name, func(t *testing.T) {
			base := t.TempDir()
			a := &attack{t: t, dir: filepath.Join(base, "data"), outside: filepath.Join(base, "outside")}
			writeFile(t, filepath.Join(a.outside, "file"), outsideContent)
			a.s = openTest(t, a.dir, nil)
			a.s.d.plain = a.s.d.plain || plain
			f(t, a)
			a.unharmed()
		})
	}
}

// replace puts a symbolic link in place of what is at name.
func (a *attack) replace(name, target string) {
	a.t.Helper()
	at := filepath.Join(a.dir, name)
	if err := os.RemoveAll(at); err != nil {
		a.t.Fatal(err)
	}
	if err := os.Symlink(target, at); err != nil {
		a.t.Fatal(err)
	}
}

// unharmed checks that nothing outside was changed, added or removed.
func (a *attack) unharmed() {
	a.t.Helper()
	for _, name := range files(a.t, a.outside) {
		if b, err := os.ReadFile(filepath.Join(a.outside, name)); err != nil || string(b) != outsideContent {
			a.t.Errorf("outside, %s now holds %q, %v", name, b, err)
		}
	}
	if _, err := os.Stat(filepath.Join(a.outside, "file")); err != nil {
		a.t.Error(err)
	}
}

func (a *attack) missing(key blob.Key) {
	a.t.Helper()
	r, err := a.s.Open(a.t.Context(), key)
	if err == nil {
		r.Close()
	}
	if !errors.Is(err, fs.ErrNotExist) {
		a.t.Errorf("Open: got %v, want an error that wraps fs.ErrNotExist", err)
	}
}

// TestLinkForBlob puts a link in the place of a blob.
func TestLinkForBlob(t *testing.T) {
	forEachOpen(t, func(t *testing.T, a *attack) {
		key, other := mustPut(t, a.s, "content"), mustPut(t, a.s, "CONTENT")
		o, _ := parseFinished(key)
		p, _ := parseFinished(other)
		for _, target := range []string{filepath.Join(a.outside, "file"), filepath.Join(a.dir, p.path()), "../../00", "/dev/zero", "nowhere"} {
			a.replace(o.path(), target)
			a.missing(key)
			for got := range a.s.List(t.Context()) {
				if got.Key == key {
					t.Error("the link is listed")
				}
			}
		}
		if err := a.s.Delete(t.Context(), key); err != nil {
			t.Error(err)
		}
		has(t, a.s, other, "CONTENT")
	})
}

// TestSpecialForBlob puts in the place of a blob what is no file at all.
func TestSpecialForBlob(t *testing.T) {
	forEachOpen(t, func(t *testing.T, a *attack) {
		key := mustPut(t, a.s, "content")
		o, _ := parseFinished(key)
		at := filepath.Join(a.dir, o.path())
		for _, make := range []func() error{func() error { return os.Mkdir(at, 0o755) }, func() error { return mkfifo(at) }} {
			if err := os.RemoveAll(at); err != nil {
				t.Fatal(err)
			}
			if err := make(); err != nil {
				t.Fatal(err)
			}
			a.missing(key)
		}
	})
}

// TestLinkForDirectory puts a link in the place of a directory of the tree.
func TestLinkForDirectory(t *testing.T) {
	forEachOpen(t, func(t *testing.T, a *attack) {
		key := mustPut(t, a.s, "content")
		o, _ := parseFinished(key)
		writeFile(t, filepath.Join(a.outside, string(o.id)), outsideContent)
		writeFile(t, filepath.Join(a.outside, o.digest.Hex(), string(o.id)), outsideContent)
		writeFile(t, filepath.Join(a.outside, o.digest.Hex()[:2], o.digest.Hex(), string(o.id)), outsideContent)
		before := len(files(t, a.outside))
		for _, name := range []string{o.hexDir(), filepath.Dir(o.hexDir()), blobsDir + "/sha256", blobsDir} {
			a.replace(name, a.outside)
			a.missing(key)
			if err := a.s.Delete(t.Context(), key); err != nil {
				t.Errorf("Delete: %v", err)
			}
			if got, err := put(t, a.s, blob.NewKey(), "content"); err == nil {
				t.Errorf("a blob was stored as %s through the link at %s", got, name)
			}
			for got, err := range a.s.List(t.Context()) {
				if err == nil && got.Finished {
					t.Errorf("List goes through the link at %s: %+v", name, got)
				}
			}
		}
		if got := len(files(t, a.outside)); got != before {
			t.Errorf("got %d files outside, want %d", got, before)
		}
	})
}

// TestLinkForUpload puts a link in the place of an unfinished object, of its
// intent and of all of them.
func TestLinkForUpload(t *testing.T) {
	forEachOpen(t, func(t *testing.T, a *attack) {
		key := blob.NewKey()
		a.replace(uploadPath(key), filepath.Join(a.outside, "file"))
		a.replace(uploadPath(key)+intentExt, filepath.Join(a.outside, "file"))
		if w, err := a.s.Create(t.Context(), key); !errors.Is(err, fs.ErrExist) {
			if err == nil {
				w.Close()
			}
			t.Errorf("Create: got %v, want an error that wraps fs.ErrExist", err)
		}
		if w, err := a.s.Resume(t.Context(), key, 0, nil); !errors.Is(err, fs.ErrNotExist) {
			if err == nil {
				w.Close()
			}
			t.Errorf("Resume: got %v, want an error that wraps fs.ErrNotExist", err)
		}
		if err := a.s.Delete(t.Context(), key); err != nil {
			t.Error(err)
		}
		onlyFinished(t, a.dir)
		a.unharmed()

		a.replace(uploadsDir, a.outside)
		if w, err := a.s.Create(t.Context(), key); err == nil {
			w.Close()
			t.Error("Create through the link: no error")
		}
		writeFile(t, filepath.Join(a.outside, string(key)), outsideContent)
		if w, err := a.s.Resume(t.Context(), key, 0, nil); err == nil {
			w.Close()
			t.Error("Resume through the link: no error")
		}
		a.s.Delete(t.Context(), key)
		a.s.Recover(t.Context(), nothingKnown)
		if got := len(files(t, a.outside)); got != 2 {
			t.Errorf("got %d files outside, want 2", got)
		}
	})
}

// TestLinkForFinal puts a link where a Commit is about to put its object.
func TestLinkForFinal(t *testing.T) {
	forEachOpen(t, func(t *testing.T, a *attack) {
		mustPut(t, a.s, "content")
		o := object{digestOf("content"), blob.NewKey()}
		a.replace(o.path(), filepath.Join(a.outside, "file"))
		if _, err := put(t, a.s, o.id, "content"); err == nil {
			t.Error("no error")
		}
		a.missing(o.key())
	})
}

// TestLinksAtStart holds that a tree with links in its fixed part, the lock
// included, is refused.
func TestLinksAtStart(t *testing.T) {
	for _, name := range []string{"docker", blobsDir, berthDir, uploadsDir, lockName} {
		forEachOpen(t, func(t *testing.T, a *attack) {
			if name == lockName {
				a.replace(name, filepath.Join(a.outside, "file"))
				if l, err := LockDir(a.dir); err == nil {
					l.Close()
					t.Error("LockDir: no error")
				}
				return
			}
			a.replace(name, a.outside)
			if s, err := Open(Options{Dir: a.dir}); err == nil {
				s.Close()
				t.Errorf("%s: no error", name)
			}
			if got := len(files(t, a.outside)); got != 1 {
				t.Errorf("got %d files outside, want 1", got)
			}
		})
	}
}

// TestLinkToData holds that the data directory itself may be a link: that is the
// operator's.
func TestLinkToData(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("symbolic links need a privilege on Windows")
	}
	base := t.TempDir()
	if err := os.MkdirAll(filepath.Join(base, "disk"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("disk", filepath.Join(base, "data")); err != nil {
		t.Fatal(err)
	}
	s := openTest(t, filepath.Join(base, "data"), nil)
	has(t, s, mustPut(t, s, "x"), "x")
}

// TestLinkInside puts a link in the place of a blob's directory that leads to
// another part of the same tree, which no os.Root would mind.
func TestLinkInside(t *testing.T) {
	forEachOpen(t, func(t *testing.T, a *attack) {
		key := mustPut(t, a.s, "content")
		o, _ := parseFinished(key)
		w, err := a.s.Create(t.Context(), o.id)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		a.replace(o.hexDir(), "../../../../../../"+uploadsDir)
		if _, err := os.Stat(filepath.Join(a.dir, o.path())); err != nil {
			t.Fatalf("the link leads nowhere: %v", err)
		}
		if err := a.s.Delete(t.Context(), key); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(filepath.Join(a.dir, uploadPath(o.id))); err != nil {
			t.Errorf("Delete went through the link: %v", err)
		}
		if !a.s.d.plain {
			a.missing(key)
		}
		if _, err := put(t, a.s, blob.NewKey(), "content"); err == nil {
			t.Error("Commit went through the link")
		}
	})
}
