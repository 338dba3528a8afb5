package htpasswd

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func contentOf(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// filesIn lists the names in the directory of path: nothing may be left there.
func filesIn(t *testing.T, path string) string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func edited(t *testing.T, path string) *Document {
	t.Helper()
	d, err := ReadDocument(path)
	if err != nil {
		t.Fatal(err)
	}
	d.Set("eve", "y")
	return d
}

func TestSave(t *testing.T) {
	path := writeFile(t, "bob:x\n")
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := edited(t, path).Save(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := contentOf(t, path); got != "bob:x\neve:y\n" {
		t.Errorf("got %q", got)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o640 && runtime.GOOS != "windows" {
		t.Errorf("got mode %v, want 0640 as before", got)
	}
	if got := filesIn(t, path); got != "users" {
		t.Errorf("left behind: %s", got)
	}
}

func TestSaveNew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	d := NewDocument()
	d.Set("eve", "y")
	if err := d.Save(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := contentOf(t, path); got != "eve:y\n" {
		t.Errorf("got %q", got)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 && runtime.GOOS != "windows" {
		t.Errorf("got %v, %v, want mode 0600", info, err)
	}
}

// TestSaveLink replaces what a symbolic link points to, and not the link.
func TestSaveLink(t *testing.T) {
	path := writeFile(t, "bob:x\n")
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(path, link); err != nil {
		t.Skipf("no symbolic links here: %v", err)
	}
	if err := edited(t, link).Save(link, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := contentOf(t, path); got != "bob:x\neve:y\n" {
		t.Errorf("got %q behind the link", got)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link is gone: %v, %v", info, err)
	}
}

// TestSaveLost holds that an edit made in the meantime is not lost.
func TestSaveLost(t *testing.T) {
	path := writeFile(t, "bob:x\n")
	mine := edited(t, path)
	other := edited(t, path)
	other.Set("zoe", "z")
	if err := other.Save(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := mine.Save(path, 0o600); err == nil || !strings.Contains(err.Error(), "try again") {
		t.Errorf("got %v, want an error that says to try again", err)
	}
	if got := contentOf(t, path); got != "bob:x\neve:y\nzoe:z\n" {
		t.Errorf("got %q", got)
	}
}

// TestSaveInPlace stands for a file that is mounted by itself, whose name
// nothing can take: the text goes into the file.
func TestSaveInPlace(t *testing.T) {
	path := writeFile(t, "bob:x\nlonger:than what follows\n")
	if err := overwrite(path, "bob:y\n"); err != nil {
		t.Fatal(err)
	}
	if got := contentOf(t, path); got != "bob:y\n" {
		t.Errorf("got %q", got)
	}
}

// TestSaveKeepsText holds that text that could be written nowhere stays beside
// the file.
func TestSaveKeepsText(t *testing.T) {
	dir := t.TempDir()
	temp, target := filepath.Join(dir, "new"), filepath.Join(dir, "target")
	if err := os.WriteFile(temp, []byte("bob:x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(target, "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(target)
	if err != nil {
		t.Fatal(err)
	}
	if err := replace(temp, target, "bob:x\n", info); err == nil || !strings.Contains(err.Error(), temp) {
		t.Errorf("got %v, want an error that names %s", err, temp)
	}
	if got := contentOf(t, temp); got != "bob:x\n" {
		t.Errorf("got %q", got)
	}
}

func TestSaveNowhere(t *testing.T) {
	err := NewDocument().Save(filepath.Join(t.TempDir(), "no", "users"), 0o600)
	if err == nil || !strings.Contains(err.Error(), "directory must be writable") {
		t.Errorf("got %v", err)
	}
}
