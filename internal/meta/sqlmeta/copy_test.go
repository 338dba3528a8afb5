package sqlmeta

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/internal/blob"
	"berth/internal/meta"
	"berth/internal/oci"
)

// copyOf takes a snapshot of db and opens it.
func copyOf(t *testing.T, db *DB) (*Copy, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "copy.db")
	if err := db.Snapshot(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	c, err := OpenCopy(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return c, path
}

// own is a stand-in for what gives adopted objects other keys.
func own(k blob.Key) blob.Key {
	if rest, ok := strings.CutPrefix(string(k), "adopted/"); ok {
		return blob.Key("own/" + rest)
	}
	return k
}

// TestDetach holds that a copy keeps what it says and nothing of where it comes
// from, that it is a database without contradictions, and that the original is as
// it was.
func TestDetach(t *testing.T) {
	ctx := t.Context()
	s := newSite(t)
	db, _ := s.open()
	defer db.Close()
	repo := mustRepo(t, "a")
	d := func(text string) oci.Digest { return oci.SHA256.FromBytes([]byte(text)) }
	body := []byte("needs needed")
	link := func(d oci.Digest) meta.Link {
		return meta.Link{LinkName: meta.LinkName{Kind: meta.LayerLink, Name: d.String()}, Target: d, ModTime: s.now}
	}
	take := meta.RepoTake{Repo: repo}
	for _, text := range []string{"needed", "loose"} { // loose is held by its link alone
		take.Blobs = append(take.Blobs, meta.TakenBlob{
			Blob: meta.Blob{Digest: d(text), Key: blob.Key("adopted/" + text), Size: int64(len(text))}, Link: link(d(text)), Held: true,
		})
	}
	take.Manifests = []meta.TakenManifest{{Digest: d(string(body)), Pushed: s.now, Link: meta.Link{LinkName: meta.LinkName{Kind: meta.RevisionLink, Name: d(string(body)).String()}, Target: d(string(body)), ModTime: s.now},
		Manifest: oci.Manifest{MediaType: "application/x.test", Body: body, Blobs: []oci.Descriptor{{Digest: d("needed"), Size: 6}}}}}
	u := meta.Upload{ID: "u", Repo: repo, Key: blob.NewKey(), Algorithm: oci.SHA256, Started: s.now}
	_, taken := db.TakeRepo(ctx, take)
	for what, err := range map[string]error{
		"take": taken, "tree": db.SetTree(ctx, meta.TreeAdopted), "upload": db.CreateUpload(ctx, u),
	} {
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	c, path := copyOf(t, db)
	if err := c.Detach(ctx, own); err != nil {
		t.Fatal(err)
	}
	var got []string
	if err := c.Objects(ctx, func(b meta.Blob) error { got = append(got, fmt.Sprint(b.Key, b.Size)); return nil }); err != nil {
		t.Fatal(err)
	}
	if want := []string{"own/loose5", "own/needed6"}; !slices.Equal(got, want) {
		t.Errorf("objects: got %v, want %v", got, want)
	}
	if n, err := c.Contents(ctx); err != nil || n != (Contents{Repositories: 1, Manifests: 1, Objects: 2, Bytes: 11}) {
		t.Errorf("contents: got %+v, %v", n, err)
	}
	if err := c.MarkDamaged(ctx, "own/loose"); err != nil {
		t.Fatal(err)
	}
	if ok, err := c.HasKey(ctx, "own/loose"); err != nil || ok {
		t.Errorf("a damaged object is needed: %v, %v", ok, err)
	}
	var run int64
	if err := c.q.get(ctx, `SELECT run + seq FROM redo`, nil, &run); err != nil || run != 0 {
		t.Errorf("the records of a data directory go with the copy: %d, %v", run, err)
	}
	if names, err := c.Holders(ctx, "own/needed", 9); err != nil || !slices.Equal(names, []string{"a"}) {
		t.Errorf("holders: got %v, %v", names, err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if list, err := os.ReadDir(filepath.Dir(path)); err != nil || len(list) != 1 {
		t.Errorf("beside the copy there is %v, %v", list, err)
	}
	if err := CheckCopy(ctx, path); err != nil {
		t.Error(err)
	}
	restored, err := Open(ctx, Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer restored.Close()
	state, err := restored.Tree(ctx)
	if links, lerr := restored.Links(ctx, repo); err != nil || lerr != nil || state != meta.TreeNone || len(links) != 0 {
		t.Errorf("the copy remembers a tree: %q, %v", state, links)
	}
	if _, err := restored.FindUpload(ctx, repo, u.ID); !isNotFound(err) {
		t.Errorf("the copy remembers an upload: %v", err)
	}
	if b, err := db.FindContent(ctx, d("loose")); err != nil || b.Key != "adopted/loose" || b.Damaged {
		t.Errorf("the original has changed: %+v, %v", b, err)
	}
}

// TestCopyRefused holds which files are not opened.
func TestCopyRefused(t *testing.T) {
	s := newSite(t)
	db, _ := s.open()
	defer db.Close()
	c, path := copyOf(t, db)
	if _, err := c.pool.ExecContext(t.Context(), `INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)`); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenCopy(t.Context(), path); err == nil || !strings.Contains(err.Error(), "newer version") {
		t.Errorf("a newer database: got %v", err)
	}
	if _, err := ViewCopy(t.Context(), filepath.Join(t.TempDir(), "nothing")); err == nil {
		t.Error("a missing one was opened")
	}
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenCopy(t.Context(), empty); err == nil {
		t.Error("an empty one was opened")
	}
}

// TestCopyOfMany holds that what is done with a copy does not grow with it: all
// rows go by, few are in memory.
func TestCopyOfMany(t *testing.T) {
	many := 20_000
	if os.Getenv("BERTH_SOAK") != "" {
		many = 1_000_000
	}
	s := newSite(t)
	db, _ := s.open()
	defer db.Close()
	c, path := copyOf(t, db)
	for _, text := range []string{
		`INSERT INTO repos (id, name, listed, created_us) VALUES (1, 'many', 0, 0)`,
		`INSERT INTO blobs (digest, key, size, damaged, created_us) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
			SELECT 'sha256:' || printf('%064x', i), 'adopted/' || printf('%064x', i / 2 * 2), 1, 0, 0 FROM n`,
		`INSERT INTO repo_blobs (repo_id, digest, touched, candidate) SELECT 1, digest, 0, 1 FROM blobs`,
	} {
		if _, err := c.pool.ExecContext(t.Context(), text, many); err != nil {
			t.Fatal(err)
		}
	}
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	if err := c.Detach(t.Context(), own); err != nil {
		t.Fatal(err)
	}
	seen, keys, last, most := 0, 0, blob.Key(""), uint64(0)
	err := c.Objects(t.Context(), func(b meta.Blob) error {
		if b.Key < last || !strings.HasPrefix(string(b.Key), "own/") {
			t.Fatalf("%s behind %s", b.Key, last)
		}
		if seen++; b.Key != last {
			keys++
		}
		if last = b.Key; seen%(many/8) == 0 {
			runtime.GC()
			runtime.ReadMemStats(&now)
			most = max(most, now.HeapAlloc)
		}
		return nil
	})
	if err != nil || seen != many || keys != many/2+1 {
		t.Errorf("saw %d blobs under %d keys of %d, error %v", seen, keys, many, err)
	}
	if grown := int64(most) - int64(before.HeapAlloc); grown > 8<<20 {
		t.Errorf("%d bytes are held for %d blobs", grown, many)
	}
	if n, err := c.Contents(t.Context()); err != nil || n.Objects != int64(many/2+1) || n.Bytes != n.Objects {
		t.Errorf("got %+v, %v", n, err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	if err := CheckCopy(ctx, path); err != nil {
		t.Error(err)
	}
}
