package sqlmeta

import (
	"database/sql/driver"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/internal/blob"
	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/meta/metatest"
	"berth/internal/oci"
)

// TestContracts runs what every implementation must do, and then looks at how
// SQLite carries out the queries that were asked meanwhile.
func TestContracts(t *testing.T) {
	seen := newSpy()
	metatest.Run(t, func(t *testing.T, e metatest.Env) metatest.DB {
		var db *DB
		m := &moments{before: func(string) { reportWrong(t, db, "before a COMMIT") }, after: func(string) { reportWrong(t, db, "after a COMMIT") }}
		db = mustOpen(t, Options{
			Path: filepath.Join(e.Dir, "berth.db"), Grace: e.Grace, Delay: e.Delay, Trash: e.Trash, Immutable: e.Immutable, Now: e.Now, Running: e.Running,
			Memory: 1 << 20, Doubt: func(err error) { t.Error(err) },
			wrap: func(c driver.Connector) driver.Connector { return m.wrap(spiedConnector{c, seen}) },
		})
		return db
	})
	t.Run("Plans", func(t *testing.T) { testPlans(t, seen.queries()) })
}

// testPlans holds that no query reads a table from one end to the other or sorts
// what it found: what a query costs must not grow with the registry.
func testPlans(t *testing.T, queries []string) {
	db := openTemp(t)
	if len(queries) < 40 {
		t.Errorf("only %d queries seen", len(queries))
	}
	for _, q := range queries {
		for _, fault := range planFaults(t, db, q) {
			t.Errorf("%s\n%s", fault, q)
		}
	}
	for _, q := range []string{`SELECT digest FROM manifests WHERE pushed_us > 1`, `SELECT m.name FROM tags m`,
		`SELECT name FROM tags WHERE repo_id = 1 ORDER BY digest`, `SELECT string_agg(name, ' ') FROM (SELECT name FROM tags ORDER BY name LIMIT 5) AS page`} {
		if planFaults(t, db, q) == nil {
			t.Errorf("no fault found in %s", q)
		}
	}
}

// planFaults returns the steps of a query's plan that grow with the registry.
func planFaults(t *testing.T, db *DB, query string) []string {
	t.Helper()
	rows, err := db.reader.pool.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+query, make([]any, strings.Count(query, "?"))...)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	var faults []string
	within := map[string]bool{} // queries within the query: their own steps count
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			t.Fatal(err)
		}
		if name, ok := strings.CutPrefix(detail, "CO-ROUTINE "); ok {
			within[name] = true
		}
		what, scans := strings.CutPrefix(detail, "SCAN ")
		if scans && what != "CONSTANT ROW" && !within[what] || strings.Contains(detail, "TEMP B-TREE") {
			faults = append(faults, detail)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return faults
}

// queries returns the SQL that a spy has seen, without what steers transactions
// and connections and what goose asks.
func (s *spy) queries() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []string
	for q := range maps.Keys(s.texts) {
		verb, _, _ := strings.Cut(strings.TrimSpace(q), " ")
		if slices.Contains([]string{"SELECT", "INSERT", "UPDATE", "DELETE"}, verb) && !strings.Contains(q, "goose") && !strings.Contains(q, "sqlite_master") {
			list = append(list, q)
		}
	}
	slices.Sort(list)
	return list
}

func mustOpen(t testing.TB, o Options) *DB {
	t.Helper()
	db, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// openTemp opens a new database, which is checked and closed at the end.
func openTemp(t testing.TB) *DB {
	t.Helper()
	db := mustOpen(t, Options{Path: filepath.Join(t.TempDir(), "berth.db")})
	t.Cleanup(func() {
		if err := db.Check(t.Context()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// pushBlob makes content a blob of repo.
func pushBlob(t testing.TB, db *DB, repo oci.Repo, content string) meta.Blob {
	t.Helper()
	u := meta.Upload{ID: meta.UploadID(blob.NewKey()), Repo: repo, Key: blob.NewKey(), Algorithm: oci.SHA256, Started: time.Unix(0, 0)}
	if err := db.CreateUpload(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	b, err := db.CommitUpload(t.Context(), u, meta.Blob{Digest: oci.SHA256.FromBytes([]byte(content)), Key: u.Key, Size: int64(len(content))}, event.Actor{})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// imageOf returns a put of a manifest that names the contents as its layers.
func imageOf(t testing.TB, repo oci.Repo, tag string, contents ...string) meta.ManifestPut {
	t.Helper()
	m := oci.Manifest{MediaType: oci.MediaTypeImage, Body: []byte("image of " + strings.Join(contents, ","))}
	for _, c := range contents {
		m.Blobs = append(m.Blobs, oci.Descriptor{Digest: oci.SHA256.FromBytes([]byte(c)), Size: int64(len(c))})
	}
	return meta.ManifestPut{Repo: repo, Digest: oci.SHA256.FromBytes(m.Body), Manifest: m, Tags: []oci.Tag{mustTag(t, tag)}}
}

func mustPut(t testing.TB, db *DB, p meta.ManifestPut) {
	t.Helper()
	if _, err := db.PutManifest(t.Context(), p); err != nil {
		t.Fatal(err)
	}
}
