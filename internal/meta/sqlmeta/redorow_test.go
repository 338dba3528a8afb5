package sqlmeta

import (
	"context"
	"database/sql/driver"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"berth/internal/event"
	"berth/internal/oci"
)

// whole returns every row of the tables, and what numbers were given.
func whole(t *testing.T, s *session, tables map[string]*table) string {
	t.Helper()
	var b strings.Builder
	texts := []string{"SELECT name, seq FROM sqlite_sequence ORDER BY 1"}
	for _, name := range []string{"numbered", "keyed", "given", "owner", "owned", "wide"} {
		texts = append(texts, "SELECT * FROM "+name+" ORDER BY 1, 2")
		if tables[name] == nil {
			t.Fatalf("there is no table %s", name)
		}
	}
	for _, text := range texts {
		rows, err := s.query(t.Context(), text, nil)
		if err != nil {
			t.Fatal(err)
		}
		for row := make([]driver.Value, len(rows.Columns())); rows.Next(row) == nil; {
			fmt.Fprintf(&b, "%s: %#v\n", text, row)
		}
		rows.Close()
	}
	return b.String()
}

// TestRecordsOfAnything holds that a record says what a statement of any kind
// does to tables of any kind, or that it does not claim to.
func TestRecordsOfAnything(t *testing.T) {
	const begin = `CREATE TABLE redo (id INTEGER PRIMARY KEY, run BIGINT, seq BIGINT); INSERT INTO redo VALUES (1, 7, 0);
		CREATE TABLE goose_db_version (id INTEGER PRIMARY KEY);
		CREATE TABLE numbered (id INTEGER PRIMARY KEY AUTOINCREMENT, a, b TEXT UNIQUE);
		CREATE TABLE keyed (k TEXT NOT NULL, b BLOB, n BIGINT NOT NULL, PRIMARY KEY (n, k)) WITHOUT ROWID;
		CREATE UNIQUE INDEX keyed_some ON keyed (b) WHERE b <> x'';
		CREATE TABLE given (id INTEGER PRIMARY KEY, a TEXT);
		CREATE TABLE owner (id INTEGER PRIMARY KEY, a);
		CREATE TABLE owned (id INTEGER PRIMARY KEY REFERENCES owner (id) ON DELETE CASCADE ON UPDATE CASCADE, a);
		CREATE TABLE wide (id INTEGER PRIMARY KEY, a TEXT);
		INSERT INTO wide VALUES (1, 'old'), (2, 'old'), (3, 'old');
		ALTER TABLE wide ADD COLUMN later BIGINT NOT NULL DEFAULT 5;
		ALTER TABLE wide ADD COLUMN latest TEXT DEFAULT 'said';
		INSERT INTO numbered (a, b) VALUES (1, 'one'), (x'', 'two'), (NULL, NULL), ('text', 'four');
		INSERT INTO keyed VALUES ('a', x'01', 1), ('b', x'', 1), ('a', NULL, 2), ('c', x'02', -9223372036854775808);
		INSERT INTO given VALUES (-5, 'minus'), (9223372036854775807, 'most');
		INSERT INTO owner VALUES (1, 1), (2, 2), (3, 3); INSERT INTO owned VALUES (1, 1), (2, 2);`
	for _, c := range []struct {
		text   string
		untold bool
	}{
		{text: `INSERT INTO numbered (a, b) VALUES (9223372036854775807, 'five'), (-1, '')`},
		{text: `INSERT INTO numbered (a) VALUES (1); DELETE FROM numbered WHERE id = (SELECT max(id) FROM numbered)`},
		{text: `INSERT OR REPLACE INTO numbered (id, a, b) VALUES (1, 'new', 'two')`},
		{text: `INSERT OR IGNORE INTO numbered (a, b) VALUES (1, 'six'), (2, 'one'), (3, 'seven')`},
		{text: `INSERT INTO numbered (a, b) VALUES (1, 'one'), (2, 'eight') ON CONFLICT (b) DO UPDATE SET a = excluded.a || 'again'`},
		{text: `UPDATE OR REPLACE numbered SET b = 'one' WHERE b = 'two'`},
		{text: `UPDATE numbered SET id = id + 100`},
		{text: `UPDATE numbered SET a = x'' WHERE a IS NULL; UPDATE numbered SET a = NULL WHERE b = 'one'`},
		{text: `DELETE FROM numbered`},
		{text: `INSERT INTO numbered (a, b) VALUES (1, 'untold'); DELETE FROM numbered; INSERT INTO numbered (a, b) VALUES (1, 'untold')`},
		{text: `UPDATE keyed SET n = n + 1 WHERE n > 1`},
		{text: `UPDATE keyed SET k = 'z', b = zeroblob(3) WHERE k = 'c'`},
		{text: `UPDATE OR REPLACE keyed SET n = 1`},
		{text: `REPLACE INTO keyed VALUES ('a', x'02', 1)`},
		{text: `INSERT INTO keyed VALUES ('d', x'05', 5), ('d', x'05', 5) ON CONFLICT DO NOTHING`},
		{text: `DELETE FROM keyed WHERE n = 1; INSERT INTO keyed VALUES ('a', NULL, 1)`},
		{text: `UPDATE given SET id = id - 1; UPDATE given SET a = a || char(10) || 'more'`},
		{text: `INSERT INTO given (a) SELECT a FROM given WHERE id < 0 UNION ALL SELECT 'x' || hex(a) FROM given WHERE id < 0`}, // numbers by chance, as the largest is taken
		{text: `DELETE FROM owner WHERE id < 3`},
		{text: `UPDATE owner SET id = id + 10`},
		{text: `UPDATE wide SET a = 'new' WHERE id = 1; UPDATE wide SET later = 6 WHERE id = 2; UPDATE wide SET latest = NULL WHERE id = 3`},
		{text: `UPDATE wide SET later = 5, latest = 'said'; DELETE FROM wide WHERE id = 2`},
		{text: `UPDATE wide SET later = 'a text'`},
		{text: `INSERT INTO owner VALUES (4, 0.5)`, untold: true},
		{text: `INSERT INTO owner VALUES (4, -0.0)`, untold: true},
		{text: `INSERT INTO owner VALUES (4, 9e999)`, untold: true},
		{text: `INSERT INTO wide VALUES (4, '` + strings.Repeat("long", maxRecord/4) + `', 1, '')`, untold: true},
	} {
		dir := t.TempDir()
		path, was := filepath.Join(dir, "a.db"), filepath.Join(dir, "b.db")
		if _, err := createFile(path); err != nil {
			t.Fatal(err)
		}
		rec := &recorder{}
		var wrote changes
		connector, err := connectSQLite(path, live, writerPragmas(0), func(c driver.Connector) driver.Connector {
			return watcher{Connector: c, row: wrote.row, record: rec.row}
		})
		if err != nil {
			t.Fatal(err)
		}
		s, err := openSession(t.Context(), connector, sqliteDialect())
		if err == nil {
			err = s.once(t.Context(), begin)
		}
		if err == nil {
			err = s.once(t.Context(), "PRAGMA wal_checkpoint(TRUNCATE)")
		}
		if err != nil {
			t.Fatal(err)
		}
		copyFiles(t, path, was, "")
		if rec.tables, err = readTables(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		rec.reset()
		if err := s.once(t.Context(), c.text); err != nil {
			t.Fatalf("%s: %v", c.text, err)
		}
		want := whole(t, s, rec.tables)
		if fits := rec.fits(); fits == c.untold {
			t.Errorf("%.80s: told: %v, want %v", c.text, fits, !c.untold)
		}
		s.close()
		if !rec.fits() {
			continue
		}
		sealRecord(rec.buf, 7, 1)
		again, err := connectSQLite(was, live, replayPragmas(), nil)
		if err == nil {
			err = replay(t.Context(), again, readRecords(rec.buf), nil)
		}
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if s, err = openSession(t.Context(), again, sqliteDialect()); err != nil {
			t.Fatal(err)
		}
		if got := whole(t, s, rec.tables); got != want {
			t.Errorf("%s is repeated as\n%s\nwant\n%s", c.text, got, want)
		}
		s.close()
	}
}

// TestAllTablesCanBeRecorded holds what records rely on: each table has a primary key
// that is never null, and no value comes from anywhere but a statement.
func TestAllTablesCanBeRecorded(t *testing.T) {
	db := openTemp(t)
	tables, err := readTables(t.Context(), db.reader)
	if err != nil || len(tables) < 15 {
		t.Fatal(len(tables), err)
	}
	for name, is := range tables {
		if len(is.key) == 0 || len(is.columns) > 100 {
			t.Errorf("%s has %d columns, of which %d are its key", name, len(is.columns), len(is.key))
		}
	}
	var bad string
	err = db.reader.get(t.Context(), `SELECT coalesce(group_concat(name), '') FROM sqlite_schema
		WHERE type IN ('trigger', 'view') OR type = 'table' AND (sql LIKE '%GENERATED%' OR sql LIKE '% REAL%' OR sql LIKE 'CREATE VIRTUAL%')`, nil, &bad)
	if err != nil || bad != "" {
		t.Errorf("%s cannot be recorded (%v)", bad, err)
	}
	err = db.reader.get(t.Context(), `SELECT coalesce(group_concat(m.name || '.' || i.name), '') FROM sqlite_schema m JOIN pragma_table_xinfo(m.name) i
		WHERE m.type = 'table' AND (i.hidden <> 0 OR i.pk > 0 AND i."notnull" = 0 AND i.type <> 'INTEGER')`, nil, &bad)
	if err != nil || bad != "" {
		t.Errorf("columns that cannot be recorded: %s (%v)", bad, err)
	}
}

// TestTextWithZero holds that a text with a zero in it, which the database does not
// tell of as a whole when a row changes, is not cut by the loss of power.
func TestTextWithZero(t *testing.T) {
	tr := &trial{template: frozenTemplate(t)}
	db := tr.open(t, nil)
	defer db.Close()
	touchClock(t, db)
	p := imageOf(t, mustRepo(t, "a"), "zero", "x", "zero")
	subject := oci.Descriptor{MediaType: oci.MediaTypeImage, Digest: p.Digest, Size: 1}
	p.Manifest.ArtifactType, p.Manifest.Subject = "a\x00b", &subject
	before := filepath.Join(t.TempDir(), "berth.db")
	copyFiles(t, db.path, before, "", "-wal", ledgerExt)
	mustPut(t, db, p)
	late := filepath.Join(t.TempDir(), "berth.db")
	copyFiles(t, db.path, late, "", "-wal", ledgerExt, redoExt)
	next := mustOpen(t, frozen(late, nil))
	defer next.Close()
	for what, db := range map[string]*DB{"the one": db, "whoever opens it anew": next} {
		var got string
		err := db.reader.get(t.Context(), `SELECT artifact_type FROM manifests WHERE digest = $1`, args{p.Digest.String()}, &got)
		if err != nil || got != "a\x00b" {
			t.Errorf("%s has the type %q (%v)", what, got, err)
		}
	}
	if err := db.DeleteManifest(context.Background(), p.Repo, p.Digest, event.Actor{}); err != nil {
		t.Error(err)
	}
}
