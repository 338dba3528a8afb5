package fsblob

import (
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"
)

// TestTake holds that an object is made under its key only of what the key's
// digest says.
func TestTake(t *testing.T) {
	from, to := openTest(t, t.TempDir(), nil), openTest(t, t.TempDir(), nil)
	key := mustPut(t, from, "content")
	if err := to.Take(t.Context(), key, strings.NewReader("c0ntent")); !errors.Is(err, ErrWrong) {
		t.Errorf("other bytes: got %v, want %v", err, ErrWrong)
	}
	if _, err := to.Open(t.Context(), key); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after other bytes: got %v, want no object", err)
	}
	if err := to.Take(t.Context(), key, strings.NewReader("content")); err != nil {
		t.Fatal(err)
	}
	r, err := to.Open(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if b, err := io.ReadAll(r); err != nil || string(b) != "content" {
		t.Errorf("got %q, %v", b, err)
	}
}
