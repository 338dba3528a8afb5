package sqlmeta

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"berth/internal/blob"
	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
)

// withBlobs opens a new database in which a repository has some blobs.
func withBlobs(t *testing.T, repo oci.Repo, contents ...string) *DB {
	t.Helper()
	db := mustOpen(t, Options{Path: filepath.Join(t.TempDir(), "berth.db"), Trash: time.Hour, Grace: time.Hour})
	t.Cleanup(func() { db.Close() })
	for _, content := range contents {
		u := meta.Upload{ID: meta.UploadID(content), Repo: repo, Key: blob.Key("key of " + content), Algorithm: oci.SHA256}
		if err := db.CreateUpload(t.Context(), u); err != nil {
			t.Fatal(err)
		}
		if _, err := db.CommitUpload(t.Context(), u, meta.Blob{Digest: oci.SHA256.FromBytes([]byte(content)), Key: u.Key, Size: int64(len(content))}, event.Actor{}); err != nil {
			t.Fatal(err)
		}
	}
	return db
}

// deleted deletes a repository and returns the entry.
func deleted(t *testing.T, db *DB, repo oci.Repo) int64 {
	t.Helper()
	id, err := db.DeleteRepo(t.Context(), repo, event.Actor{})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func mustRestore(t *testing.T, db *DB, p meta.Restore) {
	t.Helper()
	if done, err := db.Restore(t.Context(), p); err != nil || done.More {
		t.Fatalf("got %+v, %v", done, err)
	}
}

// TestRestoreLeavesShared holds that an image which is taken out of a deleted
// repository alone stays there as well for the index that needs it.
func TestRestoreLeavesShared(t *testing.T) {
	a, b := mustRepo(t, "a"), mustRepo(t, "b")
	db := withBlobs(t, a, "x")
	image := imageOf(t, a, "v1", "x")
	mustPut(t, db, image)
	index := meta.ManifestPut{Repo: a, Tags: []oci.Tag{mustTag(t, "all")}, Manifest: oci.Manifest{
		MediaType: oci.MediaTypeIndex, Body: []byte("index"), Children: []oci.Descriptor{{Digest: image.Digest, Size: int64(len(image.Manifest.Body))}},
	}}
	index.Digest = oci.SHA256.FromBytes(index.Manifest.Body)
	mustPut(t, db, index)
	id := deleted(t, db, a)
	mustRestore(t, db, meta.Restore{ID: id, Only: oci.Ref{Digest: image.Digest}, As: b})
	mustRestore(t, db, meta.Restore{ID: id})
	for repo, digests := range map[oci.Repo][]oci.Digest{a: {image.Digest, index.Digest}, b: {image.Digest}} {
		for _, d := range digests {
			if _, err := db.FindManifest(t.Context(), repo, oci.Ref{Digest: d}); err != nil {
				t.Error(err)
			}
		}
	}
	if err := db.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestRestoreElsewhereKeepsTombstones holds that what a repository had lost when
// it was deleted it still has lost when that came back under another name: a push
// that is under way must be told.
func TestRestoreElsewhereKeepsTombstones(t *testing.T) {
	a := mustRepo(t, "a")
	db := withBlobs(t, a, "x", "y")
	if err := db.UnlinkBlob(t.Context(), a, oci.SHA256.FromBytes([]byte("x")), event.Actor{}); err != nil {
		t.Fatal(err)
	}
	mustRestore(t, db, meta.Restore{ID: deleted(t, db, a), As: mustRepo(t, "b")})
	for _, content := range []string{"x", "y"} {
		_, err := db.PutManifest(t.Context(), imageOf(t, a, "v1", content))
		if _, ok := errors.AsType[*meta.MissingError](err); !ok {
			t.Errorf("an image without %s: got %v, want that it is missing", content, err)
		}
	}
}
