package fsblob

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"berth/internal/blob"
	"berth/internal/oci"
)

// openTest opens the data directory dir with a hook, and closes it at the end.
func openTest(t testing.TB, dir string, h hook) *Store {
	t.Helper()
	s, err := open(Options{Dir: dir}, h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func digestOf(content string) oci.Digest { return oci.SHA256.FromBytes([]byte(content)) }

// put stores content under key and returns the finished key.
func put(t testing.TB, s *Store, key blob.Key, content string) (blob.Key, error) {
	w, err := s.Create(t.Context(), key)
	if err != nil {
		return "", err
	}
	defer w.Close()
	return finish(t, w, content)
}

// finish writes the rest of an upload that has nothing yet and ends it. The key
// is not empty once Commit has succeeded.
func finish(t testing.TB, w blob.Writer, content string) (blob.Key, error) {
	half := len(content) / 2
	for _, part := range []string{content[:half], content[half:]} {
		if _, err := io.WriteString(w, part); err != nil {
			return "", err
		}
	}
	final, err := w.Commit(t.Context(), digestOf(content))
	if err != nil {
		return "", err
	}
	return final, w.Settle(t.Context())
}

func mustPut(t testing.TB, s *Store, content string) blob.Key {
	t.Helper()
	key, err := put(t, s, blob.NewKey(), content)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// has checks that key holds content.
func has(t testing.TB, s *Store, key blob.Key, content string) {
	t.Helper()
	r, err := s.Open(t.Context(), key)
	if err != nil {
		t.Error(err)
		return
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || string(got) != content {
		t.Errorf("%s: got %q, %v, want %q", key, got, err, content)
	}
}

// files lists what there is in dir that is no directory, with slashes.
func files(t testing.TB, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		all = append(all, filepath.ToSlash(rel))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// onlyFinished checks that dir holds the finished keys and no other file.
func onlyFinished(t testing.TB, dir string, keys ...blob.Key) {
	t.Helper()
	var want []string
	for _, k := range keys {
		o, err := parseFinished(k)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, o.path())
	}
	slices.Sort(want)
	got := files(t, dir)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("got files\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func writeFile(t testing.TB, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}
