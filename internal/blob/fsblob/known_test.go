package fsblob

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"testing"

	"berth/internal/blob"
)

// TestRecordedIsKept holds that what was committed and is recorded stays, whoever
// believes that its upload still runs: it was not settled, and cannot be resumed.
func TestRecordedIsKept(t *testing.T) {
	for _, renames := range []bool{false, true} {
		for _, recorded := range []bool{false, true} {
			dir, want := t.TempDir(), blob.Key("nobody's")
			s, err := Open(Options{Dir: dir, Known: func(_ context.Context, key blob.Key) (bool, error) { return key == want, nil }})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			s.renames.Store(renames)
			for what, try := range map[string]func(key blob.Key) error{
				"resume": func(key blob.Key) error {
					w, err := s.Resume(t.Context(), key, 4, nil)
					if recorded && !errors.Is(err, fs.ErrNotExist) {
						t.Errorf("resumed with %v", err)
					}
					if !recorded && err == nil {
						return w.Close()
					}
					return s.Delete(t.Context(), key)
				},
				"delete": func(key blob.Key) error { return s.Delete(t.Context(), key) },
			} {
				key := blob.NewKey()
				w, err := s.Create(t.Context(), key)
				if err != nil {
					t.Fatal(err)
				}
				_, err = io.WriteString(w, what+" it")
				final, cerr := w.Commit(t.Context(), digestOf(what+" it"))
				if recorded {
					want = final
				}
				if err := errors.Join(err, cerr, w.Close(), try(key)); err != nil {
					t.Errorf("%s: %v", what, err)
				}
				if recorded {
					has(t, s, final, what+" it")
				} else if _, err := s.Open(t.Context(), final); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s: what nobody knows is there: %v", what, err)
				}
				if name := uploadPath(key); recorded && (exists(s, name) || exists(s, name+intentExt)) {
					t.Errorf("%s: %s is left", what, name)
				}
			}
		}
	}
}

func exists(s *Store, name string) bool {
	_, err := s.d.lstat(name)
	return err == nil
}
