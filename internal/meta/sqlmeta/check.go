package sqlmeta

import (
	"context"
	"errors"
	"fmt"
)

// errBroken says that a database can be read but is not right.
var errBroken = errors.New("the database is damaged")

// errEmpty says that a file is a database without tables: it is new, or it is an
// old state of one whose log has gone.
var errEmpty = fmt.Errorf("%w: it has no tables", errBroken)

// Check reads the whole database and returns an error if its pages are damaged
// or its records contradict each other. Readers and writers go on meanwhile.
func (db *DB) Check(ctx context.Context) error {
	return checkFile(ctx, db.path, live)
}

// checkFile checks a database file through a connection of its own.
func checkFile(ctx context.Context, path string, l liveness) error {
	pool, err := openSQLite(path, l, readerPragmas(), nil)
	if err != nil {
		return err
	}
	q := &reader{pool: pool, dialect: sqliteDialect(), patient: true}
	defer q.close()
	version, err := schemaVersion(ctx, pool)
	if err != nil {
		return err
	}
	newest, err := newestSchema()
	switch {
	case err != nil:
		return err
	case version > newest:
		return newerError(version, newest)
	case version == 0:
		return errEmpty
	}
	if err := checkPages(ctx, q); err != nil || version < newest {
		return err // the rules are those of the newest schema
	}
	return checkRules(ctx, q)
}

// rules are queries that find nothing in a database that is right. The foreign
// keys of the schema are checked besides.
func rules() []struct{ wrong, text string } {
	return []struct{ wrong, text string }{
		{"a repository is listed without a manifest, or not with one", `SELECT r.name FROM repos r
			WHERE (r.listed = 1) <> EXISTS (SELECT 1 FROM manifests m WHERE m.repo_id = r.id) LIMIT 1`},
		{"no repository has the blob", `SELECT b.digest FROM blobs b
			WHERE NOT EXISTS (SELECT 1 FROM repo_blobs m WHERE m.digest = b.digest) LIMIT 1`},
		{"a blob that nothing needs is no candidate", `SELECT m.digest FROM repo_blobs m WHERE m.candidate = 0
			AND NOT EXISTS (SELECT 1 FROM manifest_refs f WHERE f.repo_id = m.repo_id AND f.digest = m.digest)
			AND NOT EXISTS (SELECT 1 FROM links l WHERE l.repo_id = m.repo_id AND l.kind = 1 AND l.name = m.digest AND l.held = 1) LIMIT 1`},
		{"a blob's key is garbage", `SELECT b.key FROM garbage g JOIN blobs b ON b.key = g.key LIMIT 1`},
		{"a tag says another digest than its manifest", `SELECT t.name FROM tags t JOIN manifests m ON m.id = t.manifest_id
			WHERE m.digest <> t.digest OR m.repo_id <> t.repo_id LIMIT 1`},
	}
}

func checkRules(ctx context.Context, q querier) error {
	for _, rule := range rules() {
		var culprit string
		err := q.get(ctx, rule.text, nil, &culprit)
		if err == nil {
			return fmt.Errorf("%w: %s: %s", errBroken, rule.wrong, culprit)
		}
		if !isNotFound(err) {
			return err
		}
	}
	return nil
}
