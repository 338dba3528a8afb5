package fsck_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"berth/internal/fsck"
	"berth/internal/meta"
	"berth/internal/oci"
)

// TestAdoptedFiles holds that files that registry:2 wrote are checked as all others
// and stay where they are, whatever is wrong with them: a repair only marks them.
func TestAdoptedFiles(t *testing.T) {
	e := newEnv(t)
	to, content := repo(t, "team/old"), []byte("written by registry:2")
	d := oci.SHA256.FromBytes(content)
	file := filepath.Join(e.dir, "docker/registry/v2/blobs/sha256", d.Hex()[:2], d.Hex(), "data")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, content, 0o644); err != nil {
		t.Fatal(err)
	}
	o, err := e.blobs.Data(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	link := meta.Link{LinkName: meta.LinkName{Kind: meta.LayerLink, Name: d.String()}, Target: d, ModTime: time.Now()}
	_, err = e.db.TakeRepo(t.Context(), meta.RepoTake{Repo: to, Blobs: []meta.TakenBlob{{
		Blob: meta.Blob{Digest: d, Key: o.Key, Size: o.Size}, Link: link, Held: true,
	}}})
	if err != nil {
		t.Fatal(err)
	}
	e.clean("as it was taken over")
	if err := flip(file, 3); err != nil {
		t.Fatal(err)
	}
	damaged, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"blob-bytes", "blob-damaged"} {
		if got := kinds(e.check(fsck.Options{ReadData: 100, Repair: fsck.RepairSafely})); got != want {
			t.Errorf("found %q, want %q", got, want)
		}
		if now, err := os.ReadFile(file); err != nil || string(now) != string(damaged) || e.files("berth/quarantine") != 0 {
			t.Errorf("registry:2's file was touched: %v", err)
		}
	}
	e.push(to, string(content))
	e.clean("after it was pushed again")
}
