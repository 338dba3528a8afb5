package registry_test

import (
	"os"
	"path/filepath"
	"testing"

	"berth/internal/blob/fsblob"
	"berth/internal/oci"
)

// TestBlobSize holds that asking for the size of a blob finds what opening it
// finds: what is missing or has another size is damaged from then on. It may be
// the first time that it is looked at, or not.
func TestBlobSize(t *testing.T) {
	content := []byte("the content of a blob")
	d, a := oci.SHA256.FromBytes(content), repo(t, "a")
	for name, damage := range map[string]func(string) error{
		"missing": os.Remove,
		"shorter": func(name string) error { return os.Truncate(name, 3) },
		"longer":  func(name string) error { return os.Truncate(name, 300) },
	} {
		for _, looked := range []int{0, 1, 2} {
			t.Run(name, func(t *testing.T) {
				e := newEnv(t)
				dir := t.TempDir()
				s, err := fsblob.Open(fsblob.Options{Dir: dir})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { s.Close() })
				e.blobs = s.Remember(1 << 20)
				e.restart()
				e.push(a, content)
				for range looked {
					if size, err := e.core.BlobSize(t.Context(), a, d); err != nil || size != int64(len(content)) {
						t.Fatalf("got %d, %v, want %d", size, err, len(content))
					}
				}
				if err := damage(filepath.Join(dir, pathOf(t, e, a, d))); err != nil {
					t.Fatal(err)
				}
				for range 2 {
					_, err = e.core.BlobSize(t.Context(), a, d)
					wantCode(t, err, oci.BlobUnknown)
				}
				if rec, err := e.db.FindBlob(t.Context(), a, d); err != nil || !rec.Damaged {
					t.Errorf("got %+v, %v, want it to be damaged", rec, err)
				}
				e.push(a, content)
				if size, err := e.core.BlobSize(t.Context(), a, d); err != nil || size != int64(len(content)) {
					t.Errorf("pushed again: got %d, %v, want %d", size, err, len(content))
				}
				e.wantBlob(a, d, content)
			})
		}
	}
	e := newEnv(t)
	_, err := e.core.BlobSize(t.Context(), a, d)
	wantCode(t, err, oci.BlobUnknown)
	e.push(a, content)
	if size, err := e.core.BlobSize(t.Context(), a, d); err != nil || size != int64(len(content)) {
		t.Errorf("a store that can only open: got %d, %v, want %d", size, err, len(content))
	}
	_, err = e.core.BlobSize(t.Context(), repo(t, "other"), d)
	wantCode(t, err, oci.BlobUnknown)
}

// pathOf returns where the object of a blob is.
func pathOf(t *testing.T, e *env, repo oci.Repo, d oci.Digest) string {
	t.Helper()
	rec, err := e.db.FindBlob(t.Context(), repo, d)
	if err != nil {
		t.Fatal(err)
	}
	name, _, err := fsblob.PathOf(rec.Key)
	if err != nil {
		t.Fatal(err)
	}
	return name
}
