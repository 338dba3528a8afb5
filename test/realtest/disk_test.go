package realtest

import (
	"os"
	"path/filepath"
	"testing"
)

// TestDisk shows that a cut of the power loses what was not synced, without
// which a test that survives one would show nothing, and keeps what was.
func TestDisk(t *testing.T) {
	disk := NewDisk(t, 32<<20)
	write := func(name string, sync bool) {
		f, err := os.Create(filepath.Join(disk.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString("content"); err != nil {
			t.Fatal(err)
		}
		if sync {
			if err := f.Sync(); err != nil {
				t.Fatal(err)
			}
		}
	}
	write("synced", true)
	write("lost", false)
	disk.Cut()
	if err := os.WriteFile(filepath.Join(disk.Dir, "late"), nil, 0o600); err == nil {
		t.Error("the disk can be written to without power")
	}
	disk.Mount()
	if b, err := os.ReadFile(filepath.Join(disk.Dir, "synced")); err != nil || string(b) != "content" {
		t.Errorf("what was synced is %q, %v", b, err)
	}
	if b, err := os.ReadFile(filepath.Join(disk.Dir, "lost")); err == nil && len(b) > 0 {
		t.Errorf("what was not synced is there: %q", b)
	}
}
