package sqlmeta

import (
	"context"
	"errors"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"berth/internal/blob"
	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
)

// TestHotUpload holds that an upload is found in memory as it is in the database,
// after everything that changes it, and that it is not asked for there meanwhile.
func TestHotUpload(t *testing.T) {
	db, err := Open(t.Context(), Options{Path: filepath.Join(t.TempDir(), "berth.db"), Memory: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	a, _ := oci.ParseRepo("a")
	b, _ := oci.ParseRepo("b")
	check := func(what string, id meta.UploadID, want *meta.Upload) {
		t.Helper()
		got, ok := db.hotUpload(a, id)
		if want == nil {
			if _, err := db.FindUpload(t.Context(), a, id); ok || !errors.Is(err, meta.ErrNotFound) {
				t.Errorf("%s: in memory %v, found with %v, want it gone", what, ok, err)
			}
			return
		}
		memory := db.hot
		db.hot = nil
		stored, err := db.FindUpload(t.Context(), a, id)
		db.hot = memory
		if err != nil || !ok || !reflect.DeepEqual(got, stored) || !reflect.DeepEqual(got, *want) {
			t.Errorf("%s:\nin memory %v %+v\nstored    %+v, %v\nwant      %+v", what, ok, got, stored, err, *want)
		}
		if _, err := db.FindUpload(t.Context(), b, id); !errors.Is(err, meta.ErrNotFound) {
			t.Errorf("%s: found in another repository: %v", what, err)
		}
	}
	begin := func(id meta.UploadID) meta.Upload {
		t.Helper()
		u := meta.Upload{ID: id, Repo: a, By: "alice", Key: blob.NewKey(), Algorithm: oci.SHA256, Started: time.Now().UTC().Truncate(time.Microsecond)}
		if err := db.CreateUpload(t.Context(), u); err != nil {
			t.Fatal(err)
		}
		check("created", id, &u)
		return u
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.FindUpload(t.Context(), b, "none"); !errors.Is(err, meta.ErrNotFound) {
		t.Errorf("found what is not there: %v", err)
	}

	u := begin("one")
	u.Size, u.Hash, u.State = 7, []byte("hash"), []byte("state")
	must(db.SaveUpload(t.Context(), u))
	u.Version++
	check("saved", "one", &u)
	wrong := u
	wrong.Size, wrong.Version = 8, 0
	if err := db.SaveUpload(t.Context(), wrong); !errors.Is(err, meta.ErrConflict) {
		t.Errorf("saved over a later one: %v", err)
	}
	must(db.write(t.Context(), relaxed, func(context.Context, *tx) error { return nil }))
	if got, err := db.FindUpload(t.Context(), a, "one"); err != nil || !reflect.DeepEqual(got, u) {
		t.Errorf("after a save that failed: %+v, %v", got, err)
	}
	d := oci.SHA256.FromBytes([]byte("content"))
	if _, err := db.CommitUpload(t.Context(), u, meta.Blob{Digest: d, Key: "k", Size: 7}, event.Actor{}); err != nil {
		t.Fatal(err)
	}
	check("committed", "one", nil)

	must(db.DropUpload(t.Context(), begin("two")))
	check("dropped", "two", nil)

	begin("three")
	if n, err := db.ExpireUploads(t.Context(), -time.Hour, 10); n != 1 || err != nil {
		t.Fatalf("expired %d, %v", n, err)
	}
	check("expired", "three", nil)
}
