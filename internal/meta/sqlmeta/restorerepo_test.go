package sqlmeta

import (
	"context"
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

// TestRestoreWhatIsThere holds that a manifest comes back, without a complaint,
// to a repository that has taken it without its parts itself.
func TestRestoreWhatIsThere(t *testing.T) {
	a, b := mustRepo(t, "a"), mustRepo(t, "b")
	db := withBlobs(t, a, "x")
	mustPut(t, db, imageOf(t, a, "v1", "x"))
	there := imageOf(t, b, "v1", "x")
	mustPut(t, db, there)
	if err := db.DeleteManifest(t.Context(), a, there.Digest, event.Actor{}); err != nil {
		t.Fatal(err)
	}
	loseBlob(t, db, "x")
	entries, err := db.TrashEntries(t.Context(), a, 0, 10)
	if err != nil || len(entries) != 1 {
		t.Fatalf("got %d entries, %v", len(entries), err)
	}
	if _, err := db.Restore(t.Context(), meta.Restore{ID: entries[0].ID, As: mustRepo(t, "c")}); err == nil {
		t.Error("it came, without a part, to where it had not been")
	}
	mustRestore(t, db, meta.Restore{ID: entries[0].ID, As: b})
}

// TestPushAgainWithoutLostPart holds that a manifest which was taken before its
// part came is not simply confirmed after that part has gone with a repository of
// its name: who pushes may have seen the part there.
func TestPushAgainWithoutLostPart(t *testing.T) {
	a := mustRepo(t, "a")
	db := withBlobs(t, a, "y")
	image := imageOf(t, a, "v1", "x")
	mustPut(t, db, image)
	if err := db.DeleteManifest(t.Context(), a, image.Digest, event.Actor{}); err != nil {
		t.Fatal(err)
	}
	pushBlob(t, db, a, "x")
	loseBlob(t, db, "x")
	deleted(t, db, a)
	entries, err := db.TrashEntries(t.Context(), a, 0, 10)
	if err != nil || len(entries) == 0 {
		t.Fatalf("got %d entries, %v", len(entries), err)
	}
	mustRestore(t, db, meta.Restore{ID: entries[len(entries)-1].ID})
	_, err = db.PutManifest(t.Context(), image)
	if _, ok := errors.AsType[*meta.MissingError](err); !ok {
		t.Errorf("got %v, want that the part is missing", err)
	}
}

// loseBlob takes a blob away from all repositories, in which a tombstone stays.
func loseBlob(t *testing.T, db *DB, content string) {
	t.Helper()
	err := db.write(t.Context(), durable, func(ctx context.Context, t *tx) error {
		d := oci.SHA256.FromBytes([]byte(content)).String()
		_, err := t.exec(ctx, `INSERT INTO losses (repo_id, digest, lost) SELECT repo_id, digest, touched FROM repo_blobs WHERE digest = $1`, d)
		if err == nil {
			_, err = t.exec(ctx, `DELETE FROM repo_blobs WHERE digest = $1`, d)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestRestoreLeavesOtherTags holds that a tag which comes along with a part, out of
// another entry of the trash, does not move one that is there, not by force either.
func TestRestoreLeavesOtherTags(t *testing.T) {
	a := mustRepo(t, "a")
	db := withBlobs(t, a, "x", "y")
	part := imageOf(t, a, "v1", "x")
	mustPut(t, db, part)
	index := meta.ManifestPut{Repo: a, Manifest: oci.Manifest{
		MediaType: oci.MediaTypeIndex, Body: []byte("index"), Children: []oci.Descriptor{{Digest: part.Digest, Size: int64(len(part.Manifest.Body))}},
	}}
	index.Digest = oci.SHA256.FromBytes(index.Manifest.Body)
	mustPut(t, db, index)
	if err := db.DeleteManifest(t.Context(), a, index.Digest, event.Actor{}); err != nil {
		t.Fatal(err)
	}
	entries, err := db.TrashEntries(t.Context(), a, 0, 10)
	if err != nil || len(entries) != 1 {
		t.Fatalf("got %d entries, %v", len(entries), err)
	}
	deleted(t, db, a)
	pushBlob(t, db, a, "y")
	now := imageOf(t, a, "v1", "y")
	mustPut(t, db, now)
	mustRestore(t, db, meta.Restore{ID: entries[0].ID, Force: true})
	m, err := db.FindManifest(t.Context(), a, oci.Ref{Tag: mustTag(t, "v1")})
	if err != nil || m.Digest != now.Digest {
		t.Errorf("v1 points to %s, %v; want what was pushed since", m.Digest, err)
	}
	if _, err := db.FindManifest(t.Context(), a, oci.Ref{Digest: part.Digest}); err != nil {
		t.Errorf("the part: %v", err)
	}
}
