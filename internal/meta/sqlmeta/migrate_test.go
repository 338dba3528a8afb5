package sqlmeta

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"berth/internal/meta"
	"berth/internal/oci"
)

var update = flag.Bool("update", false, "write testdata/schema.golden")

// TestSchema holds that whoever adds a migration sees the schema that it makes.
func TestSchema(t *testing.T) {
	db := openTemp(t)
	var b strings.Builder
	err := db.reader.each(t.Context(), `SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'goose%' ORDER BY tbl_name, type DESC, name`, nil,
		func(scan func(...any) error) error {
			var s string
			err := scan(&s)
			b.WriteString(s + ";\n")
			return err
		})
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "schema.golden")
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got := b.String(); got != string(want) {
		t.Errorf("the schema is not that of %s; look at it, then run go test -run TestSchema -update\n%s", golden, got)
	}
}

// TestMigrationFiles holds what the migrations promise: numbers without gaps, one
// transaction each, and no way back.
func TestMigrationFiles(t *testing.T) {
	entries, err := migrations.ReadDir("migrations/sqlite")
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range entries {
		if want := fmt.Sprintf("%04d_", i+1); !strings.HasPrefix(e.Name(), want) {
			t.Errorf("%s: the name must begin with %s", e.Name(), want)
		}
		text, err := migrations.ReadFile("migrations/sqlite/" + e.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, bad := range []string{"NO TRANSACTION", "+goose Down", "ENVSUB"} {
			if strings.Contains(string(text), bad) {
				t.Errorf("%s has %q", e.Name(), bad)
			}
		}
	}
}

func rawPool(t *testing.T, path string) *sql.DB {
	t.Helper()
	if _, err := createFile(path); err != nil {
		t.Fatal(err)
	}
	pool, err := openSQLite(path, live, writerPragmas(0), nil)
	if err != nil {
		t.Fatal(err)
	}
	pool.SetMaxOpenConns(1)
	t.Cleanup(func() { pool.Close() })
	return pool
}

func exec(t *testing.T, pool *sql.DB, text string) {
	t.Helper()
	if _, err := pool.ExecContext(t.Context(), text); err != nil {
		t.Fatal(err)
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "berth.db")
	mustOpen(t, Options{Path: path}).Close()
	pool := rawPool(t, path)
	exec(t, pool, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, 1)`)
	pool.Close()
	_, err := Open(t.Context(), Options{Path: path})
	if !errors.Is(err, errNewer) || !strings.Contains(err.Error(), "99") {
		t.Errorf("got %v, want %v with the version", err, errNewer)
	}
}

func TestForeignDatabaseIsRefused(t *testing.T) {
	for name, text := range map[string]string{
		"another program's":     `PRAGMA application_id = 7`,
		"somebody's own tables": `CREATE TABLE photos (id INTEGER)`,
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "berth.db")
			pool := rawPool(t, path)
			exec(t, pool, text)
			pool.Close()
			if _, err := Open(t.Context(), Options{Path: path}); !errors.Is(err, errForeign) {
				t.Errorf("got %v, want %v", err, errForeign)
			}
			var n int
			if err := rawPool(t, path).QueryRow(`SELECT count(*) FROM sqlite_master WHERE name LIKE 'goose%' OR name = 'repos'`).Scan(&n); err != nil || n != 0 {
				t.Errorf("%d tables of ours were made in it, %v", n, err)
			}
		})
	}
}

// TestInterruptedMigration holds that a migration that does not finish leaves the
// schema as it was, and that the next start takes it up.
func TestInterruptedMigration(t *testing.T) {
	path := filepath.Join(t.TempDir(), "berth.db")
	db := mustOpen(t, Options{Path: path})
	mustPut(t, db, imageOf(t, mustRepo(t, "a"), "v1"))
	db.Close()

	files := fstest.MapFS{
		"9999_next.sql": {Data: []byte("-- +goose Up\nALTER TABLE tags ADD COLUMN pinned SMALLINT;\nDELETE FROM tags;\nSELECT no_such_function();\n")},
	}
	released, err := migrations.ReadDir("migrations/sqlite")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range released {
		text, err := migrations.ReadFile("migrations/sqlite/" + entry.Name())
		if err != nil {
			t.Fatal(err)
		}
		files[entry.Name()] = &fstest.MapFile{Data: text}
	}
	pool := rawPool(t, path)
	if err := migrateFrom(t.Context(), pool, files); err == nil {
		t.Fatal("no error from a migration that cannot work")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := migrateFrom(ctx, pool, files); err == nil {
		t.Fatal("no error from a migration that was cancelled")
	}
	pool.Close()
	db = mustOpen(t, Options{Path: path}) // it is still at the version before
	if _, err := db.FindManifest(t.Context(), mustRepo(t, "a"), oci.Ref{Tag: mustTag(t, "v1")}); err != nil {
		t.Error(err)
	}
	db.Close()

	files["9999_next.sql"].Data = []byte("-- +goose Up\nALTER TABLE tags ADD COLUMN pinned SMALLINT;\n")
	pool = rawPool(t, path)
	if err := migrateFrom(t.Context(), pool, files); err != nil {
		t.Fatal(err)
	}
	pool.Close()
	if _, err := Open(t.Context(), Options{Path: path}); !errors.Is(err, errNewer) {
		t.Errorf("got %v, want %v", err, errNewer)
	}
}

// TestStrangePaths holds that no character in the path of a database means
// anything.
func TestStrangePaths(t *testing.T) {
	for _, name := range []string{"a b", "a?mode=memory", "a#b", "100%", "a%20b", "ü", "a&_pragma=x", "a;b'c"} {
		dir := filepath.Join(t.TempDir(), name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Logf("this system has no such names: %v", err)
			continue
		}
		path := filepath.Join(dir, "berth.db")
		db := mustOpen(t, Options{Path: path})
		pushBlob(t, db, mustRepo(t, "a"), "x")
		if err := db.Snapshot(t.Context(), filepath.Join(dir, "copy.db")); err != nil {
			t.Error(err)
		}
		db.Close()
		if info, err := os.Stat(path); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}

func TestOpenNeedsItsFolder(t *testing.T) {
	if _, err := Open(t.Context(), Options{Path: filepath.Join(t.TempDir(), "no", "berth.db")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want %v", err, os.ErrNotExist)
	}
	dir := t.TempDir()
	if _, err := Open(t.Context(), Options{Path: dir}); err == nil || errors.Is(err, meta.ErrNotFound) {
		t.Errorf("a folder as database: got %v", err)
	}
}
