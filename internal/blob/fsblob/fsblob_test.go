package fsblob

import (
	"testing"

	"berth/internal/blob"
	"berth/internal/blob/blobtest"
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

// TestStore runs the suite for each way in which files are opened and placed.
func TestStore(t *testing.T) {
	modes := []struct {
		name string
		set  func(*Store)
	}{
		{"as it is", func(*Store) {}},
		{"renaming", func(s *Store) { s.renames.Store(true) }},
		{"plain open", func(s *Store) { s.d.plain = true }},
	}
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			blobtest.Run(t, func(t *testing.T) blobtest.Place {
				dir := t.TempDir()
				return func() blob.Store {
					s := openTest(t, dir, nil)
					m.set(s)
					return s
				}
			})
		})
	}
}
