package sqlmeta

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
)

// migrationsUntil returns the migrations that a program of schema version n had.
func migrationsUntil(t *testing.T, n int) fstest.MapFS {
	t.Helper()
	entries, err := migrations.ReadDir("migrations/sqlite")
	if err != nil {
		t.Fatal(err)
	}
	files := fstest.MapFS{}
	for _, e := range entries[:n] {
		text, err := migrations.ReadFile("migrations/sqlite/" + e.Name())
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = &fstest.MapFile{Data: text}
	}
	return files
}

// TestTrashOfBefore holds that what was deleted before the tags of an entry were
// kept with it comes back with them, and that the program of before refuses the
// database then.
func TestTrashOfBefore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "berth.db")
	pool := rawPool(t, path)
	if err := migrateFrom(t.Context(), pool, migrationsUntil(t, 7)); err != nil {
		t.Fatal(err)
	}
	body := []byte(`{"an":"image"}`)
	d := oci.SHA256.FromBytes(body)
	for _, text := range []string{
		`INSERT INTO repos (id, name, listed, created_us, trash, removed) VALUES (1, 'a', 0, 0, 0, 0), (2, '~1', 0, 0, 1, 0)`,
		`INSERT INTO trash (id, kind, reason, repo, digest, deleted, deleted_us, by_name, by_addr, by_via, dropped)
			VALUES (1, 'manifest', 'deleted', 'a', '` + d.String() + `', 5, 0, '', '', '', 0)`,
		`INSERT INTO trash_tags (entry, name, digest) VALUES (1, 'v1', '` + d.String() + `'), (1, 'v0', '` + d.String() + `')`,
		`INSERT INTO manifests (repo_id, digest, media_type, size, subject, artifact_type, pushed_us, pushed_by, annotations, body)
			VALUES (2, '` + d.String() + `', 'a/b', 14, '', '', 0, '', '', CAST('` + string(body) + `' AS BLOB))`,
		`INSERT INTO losses (repo_id, digest, lost) VALUES (1, '` + d.String() + `', 5)`,
	} {
		exec(t, pool, text)
	}
	pool.Close()

	db := mustOpen(t, Options{Path: path, Trash: time.Hour})
	defer db.Close()
	repo, v1 := mustRepo(t, "a"), mustTag(t, "v1")
	e, err := db.FindTrash(t.Context(), meta.TrashWhat{Repo: repo, Ref: oci.Ref{Tag: v1}})
	if err != nil || e.TagCount != 2 || e.Tags[0].Name.String() != "v0" || e.Tags[1].Digest != d {
		t.Fatalf("entry %+v, error %v", e, err)
	}
	if _, err := db.Restore(t.Context(), meta.Restore{ID: e.ID}); err != nil {
		t.Fatal(err)
	}
	if m, err := db.FindManifest(t.Context(), repo, oci.Ref{Tag: v1}); err != nil || m.Digest != d {
		t.Errorf("manifest %s, error %v", m.Digest, err)
	}
	if err := db.DeleteManifest(t.Context(), repo, d, event.Actor{}); err != nil {
		t.Fatal(err)
	}
	e, err = db.FindTrash(t.Context(), meta.TrashWhat{Repo: repo, Ref: oci.Ref{Tag: v1}})
	if err != nil || e.TagCount != 2 || e.ID == 1 {
		t.Errorf("deleted again: entry %+v, error %v", e, err)
	}
	for _, like := range []string{"v", "v_", "1"} { // a part of a name is no name
		if _, err := db.FindTrash(t.Context(), meta.TrashWhat{Repo: repo, Ref: oci.Ref{Tag: mustTag(t, like)}}); !errors.Is(err, meta.ErrNotFound) {
			t.Errorf("tag %s: error %v, want %v", like, err, meta.ErrNotFound)
		}
	}
	if err := db.Check(t.Context()); err != nil {
		t.Error(err)
	}
	db.Close()

	err = migrateFrom(t.Context(), rawPool(t, path), migrationsUntil(t, 7))
	if !errors.Is(err, errNewer) || !strings.Contains(err.Error(), "run the newer version") {
		t.Errorf("the program of before says %v, want %v", err, errNewer)
	}
}

// TestEntryGoesWhileItIsListed holds that an entry that is taken apart between
// finding it and finding out what it holds is no error.
func TestEntryGoesWhileItIsListed(t *testing.T) {
	db := mustOpen(t, Options{Path: filepath.Join(t.TempDir(), "berth.db"), Trash: time.Hour})
	defer db.Close()
	p := imageOf(t, mustRepo(t, "a"), "v1")
	mustPut(t, db, p)
	if err := db.DeleteManifest(t.Context(), p.Repo, p.Digest, event.Actor{}); err != nil {
		t.Fatal(err)
	}
	found, err := entries(t.Context(), db.reader, sqlEntry, args{0})
	if err != nil || len(found) != 1 {
		t.Fatalf("%d entries, error %v", len(found), err)
	}
	if err := db.DropTrash(t.Context(), found[0].ID); err != nil {
		t.Fatal(err)
	}
	for n := 1; n > 0 && err == nil; {
		n, err = db.ExpireTrash(t.Context(), 100)
	}
	if e, err := db.fillEntry(t.Context(), found[0]); err != nil || e.TagCount != 1 {
		t.Errorf("entry %+v, error %v", e, err)
	}
}
