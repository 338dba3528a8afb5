package sqlmeta

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"berth/internal/meta"
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

// checkRules looks for contradictions; see contradictions. The foreign keys of
// the schema are checked besides.
func checkRules(ctx context.Context, q querier) error {
	for _, rule := range contradictions() {
		var c meta.Contradiction
		err := q.get(ctx, rule.text+" LIMIT 1", nil, &c.Repo.ID, &c.Repo.Name, &c.Digest, &c.Name)
		if err == nil {
			return fmt.Errorf("%w: %s: %s", errBroken, rule.wrong, strings.TrimSpace(strings.Join([]string{c.Repo.Name, c.Digest, c.Name}, " ")))
		}
		if !isNotFound(err) {
			return err
		}
	}
	return nil
}
