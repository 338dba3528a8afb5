package sqlmeta

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
)

//go:embed migrations
var migrations embed.FS

// applicationID marks a SQLite file as ours; the first migration writes it.
const applicationID = 1112691784 // "BRTH"

// errNewer says that a database was written by a program that knows more than
// this one.
var errNewer = errors.New("the database was written by a newer version")

// errForeign says that a database is another program's.
var errForeign = errors.New("the file is the database of another program")

// migrate brings the schema up to date: each step in one transaction, so that
// whatever interrupts it, the next start goes on there.
func migrate(ctx context.Context, pool *sql.DB) error {
	files, err := fs.Sub(migrations, "migrations/sqlite")
	if err != nil {
		return err
	}
	return migrateFrom(ctx, pool, files)
}

func migrateFrom(ctx context.Context, pool *sql.DB, files fs.FS) error {
	p, err := goose.NewProvider(goose.DialectSQLite3, pool, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	sources := p.ListSources()
	target := sources[len(sources)-1].Version // they are sorted
	has, err := schemaVersion(ctx, pool)
	switch {
	case err != nil:
		return err
	case has == target:
		return nil // without goose's questions: a start is quick
	case has > target:
		return newerError(has, target)
	}
	_, err = p.Up(ctx)
	return err
}

// schemaVersion returns the number of the last migration that a database has
// seen, 0 if it is new, and errForeign if it is not one of ours.
func schemaVersion(ctx context.Context, pool *sql.DB) (int64, error) {
	var id, tables, versioned int64
	err := pool.QueryRowContext(ctx, `SELECT i.application_id, count(m.name), count(CASE m.name WHEN 'goose_db_version' THEN 1 END)
		FROM pragma_application_id i LEFT JOIN sqlite_master m ON m.type = 'table' AND m.name <> 'sqlite_sequence'`).Scan(&id, &tables, &versioned)
	if err != nil {
		return 0, err
	}
	if id != 0 && id != applicationID || id == 0 && tables > versioned {
		return 0, errForeign
	}
	if versioned == 0 {
		return 0, nil
	}
	var version sql.NullInt64
	err = pool.QueryRowContext(ctx, `SELECT max(version_id) FROM goose_db_version WHERE is_applied`).Scan(&version)
	return version.Int64, err
}

func newerError(has, known int64) error {
	return fmt.Errorf("%w: its schema has version %d and this program knows %d; "+
		"run the newer version, or move the database away to start from an older snapshot", errNewer, has, known)
}

// newestSchema returns the number of the last migration there is.
func newestSchema() (int64, error) {
	entries, err := migrations.ReadDir("migrations/sqlite")
	if err != nil {
		return 0, err
	}
	return goose.NumericComponent(entries[len(entries)-1].Name())
}
