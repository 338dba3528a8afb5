package fsblob

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// grow makes a small tree with everything in it that a name can lead through.
func grow(t *testing.T, outside string) *disk {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	writeFile(t, filepath.Join(dir, "a/b/file"), "content")
	writeFile(t, filepath.Join(dir, "top"), "top")
	for name, target := range map[string]string{"a/in": "b", "a/out": outside, "a/up": "../..", "a/link": "b/file", "a/nowhere": "gone"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "a/empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	d, err := openDisk(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.close() })
	return d
}

// tree lists everything below d with its kind.
func tree(t *testing.T, d *disk) string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(d.root.Name(), func(p string, e fs.DirEntry, err error) error {
		list = append(list, e.Type().String()+" "+strings.TrimPrefix(p, d.root.Name()))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(list, "\n")
}

// kind is what is made of an error.
func kind(err error) string {
	switch {
	case err == nil:
		return "none"
	case errors.Is(err, fs.ErrNotExist):
		return "missing"
	case errors.Is(err, fs.ErrExist):
		return "exists"
	}
	return "another"
}

// TestBeneathIsRoot compares, for names of all kinds, what a beneath does with
// what an os.Root does.
func TestBeneathIsRoot(t *testing.T) {
	outside := t.TempDir()
	writeFile(t, filepath.Join(outside, "file"), outsideContent)
	if d := grow(t, outside); d.plain {
		t.Skip("this kernel has no openat2")
	}
	ops := map[string]func(n namer, name string) error{
		"mkdir":       func(n namer, name string) error { return n.Mkdir(name, 0o750) },
		"remove":      func(n namer, name string) error { return n.Remove(name) },
		"link":        func(n namer, name string) error { return n.Link("top", name) },
		"link from":   func(n namer, name string) error { return n.Link(name, "a/new") },
		"rename":      func(n namer, name string) error { return n.Rename("top", name) },
		"rename from": func(n namer, name string) error { return n.Rename(name, "a/new") },
		"create": func(n namer, name string) error {
			f, err := n.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
			if err == nil {
				f.Close()
			}
			return err
		},
	}
	names := []string{"new", "a/new", "a/b/file", "a/b/new", "a/empty", "a/empty/new", "a/b", "top", "top/new", "a/none/new",
		"a/in", "a/in/new", "a/in/file", "a/out", "a/out/new", "a/out/file", "a/up/new", "a/link", "a/nowhere", "a/nowhere/new", "../new", ".."}
	for op, do := range ops {
		for _, name := range names {
			root, fast := grow(t, outside), grow(t, outside)
			want, got := do(root.root, name), do(fast.names(), name)
			if kind(got) != kind(want) {
				t.Errorf("%s %s: got %v, want %v", op, name, got, want)
			}
			if w, g := tree(t, root), tree(t, fast); g != w {
				t.Errorf("%s %s leaves\n%s\nwant\n%s", op, name, g, w)
			}
			if b, err := os.ReadFile(filepath.Join(outside, "file")); err != nil || string(b) != outsideContent {
				t.Fatalf("%s %s: outside is %q, %v", op, name, b, err)
			}
			if left, _ := os.ReadDir(outside); len(left) != 1 {
				t.Fatalf("%s %s: outside are %v", op, name, left)
			}
		}
	}
	d := grow(t, outside)
	for _, name := range names {
		want, werr := d.root.Lstat(name)
		got, gerr := d.names().Lstat(name)
		if kind(gerr) != kind(werr) || werr == nil && (!os.SameFile(got, want) || got.Mode() != want.Mode() || got.Size() != want.Size()) {
			t.Errorf("lstat %s: got %v, %v, want %v, %v", name, got, gerr, want, werr)
		}
		if got, want := d.throughLink(name), d.anyLink(name); got != want && !slices.Contains([]string{"../new", ".."}, name) {
			t.Errorf("through a link to %s: %v, want %v", name, got, want)
		}
	}
}
