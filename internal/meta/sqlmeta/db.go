// Package sqlmeta keeps the records of a registry in a SQL database: in one
// SQLite file, so far.
//
// The text of the queries is meant for SQLite and PostgreSQL alike; what differs
// is in sqlite.go and in the migrations. The package knows nothing of what is
// in an object or of who may see a record.
//
// Writes go through one connection. Callers that come at the same time share a
// transaction, and with it the wait for the disk (see writer).
package sqlmeta

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"berth/internal/meta"
	"berth/internal/meta/hot"
	"berth/internal/oci"
	"berth/internal/osfile"
)

// Options say where the records are and how long things are kept. Path must be
// set.
type Options struct {
	// Path of the database file. It is made if it does not exist; its folder
	// must. Beside it SQLite keeps files with -wal and -shm behind the name,
	// and we keep one with -redo, of changes that were answered and may not be in
	// the others: they belong together. -uploads stands behind the name of the file
	// of uploads that run.
	Path string

	Grace time.Duration // how long a blob that nothing refers to is kept
	Delay time.Duration // how long an object is kept after nothing names it any more

	// Immutable says which tags can neither be moved nor removed once they exist;
	// nil means none.
	Immutable func(oci.Repo, oci.Tag) bool

	// Trash is how long what is deleted can be had back. Zero: not at all.
	Trash time.Duration

	// MaxUploads is how many unfinished uploads there may be. Zero: no limit.
	MaxUploads int

	// Memory is how many bytes of memory what is asked for again and again may
	// take. Zero: none.
	Memory int64

	// Doubt, if it is set, is told of answers from memory that the database does
	// not give, and Open reads what Learn does. It costs what the memory saves: for tests.
	Doubt func(error)

	Now     func() time.Time     // the wall clock, for the record; nil means time.Now
	Running func() time.Duration // time that the process has been running, monotonic; nil means the real one

	wrap     func(driver.Connector) driver.Connector // what tests put between us and the driver
	maxPages int                                     // a limit of pages, for tests; 0 means none
}

// A DB holds the records. Obtain one from Open or OpenOrRestore. All methods may
// be called concurrently.
type DB struct {
	opts    Options
	path    string // absolute
	clock   *clock
	hot     *hot.Cache
	unknown *hot.Filter
	finding chan struct{} // holds a token for each FindManifest and TagNames that reads
	reader  *reader
	writer  *writer
	ledger  *ledger
	outbox  *outbox
	uses    *uses
	changes atomic.Int64 // mutations since Open, the clock's left out
	shadow  atomic.Bool  // links of registry:2's tree are kept in step
	snapped atomic.Int64 // what changes was, plus one, when the last Take began; 0: none yet

	snapshotting sync.Mutex // one at a time
	room         sync.Mutex // held by who makes room for an upload
}

var (
	_ meta.Uploads    = (*DB)(nil)
	_ meta.Blobs      = (*DB)(nil)
	_ meta.Manifests  = (*DB)(nil)
	_ meta.Listings   = (*DB)(nil)
	_ meta.Garbage    = (*DB)(nil)
	_ meta.Pruning    = (*DB)(nil)
	_ meta.History    = (*DB)(nil)
	_ meta.Outbox     = (*DB)(nil)
	_ meta.EventNotes = (*DB)(nil)
	_ meta.Adoption   = (*DB)(nil)
	_ meta.Shadow     = (*DB)(nil)
	_ meta.Finish     = (*DB)(nil)
)

var errClosed = errors.New("sqlmeta: the database is closed")

// Open opens the database at o.Path, makes it if need be, and brings its schema
// up to date. It refuses one that a newer program has written.
func Open(ctx context.Context, o Options) (*DB, error) {
	path, err := filepath.Abs(o.Path)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	db := &DB{opts: o, path: path, uses: newUses(), finding: make(chan struct{}, readers())}
	if err := db.open(ctx); err != nil {
		if db.reader != nil {
			db.reader.close()
		}
		if db.writer != nil {
			db.writer.close()
		}
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	return db, nil
}

func (db *DB) open(ctx context.Context) error {
	made, err := createFile(db.path)
	if err != nil {
		return err
	}
	if err := syncLog(db.path); err != nil {
		return err
	}
	db.hot = hot.New(db.opts.Memory)
	db.unknown = hot.NewFilter(db.hot)
	dialect := sqliteDialect().wherever(func() bool { return isFull(db.path) })
	w := &writer{dialect: dialect, hot: db.hot, changes: changes{unknown: db.unknown}, redo: redo{path: db.path + redoExt, fill: fillRedo}}
	if w.connector, err = connectSQLite(db.path, live, writerPragmas(db.opts.maxPages), db.watch(&w.changes, &w.redo.rec)); err != nil {
		return err
	}
	db.writer = w
	if w.replaying, err = connectSQLite(db.path, live, replayPragmas(), db.opts.wrap); err != nil {
		return err
	}
	first := sql.OpenDB(w.connector)
	defer first.Close() // when there are others, so that the log stays
	first.SetMaxOpenConns(1)
	if err := db.enter(ctx, first); err != nil {
		return err
	}
	if err := migrate(ctx, first); err != nil {
		return err
	}
	if made {
		if err := osfile.SyncDir(filepath.Dir(db.path)); err != nil {
			return err
		}
	}
	reading, err := connectSQLite(db.path, live, readerPragmas(), db.opts.wrap)
	if err != nil {
		return err
	}
	pool := sql.OpenDB(reading)
	pool.SetMaxIdleConns(1) // for what is not asked by sessions: folding
	db.reader = &reader{pool: pool, sessions: newSessions(reading, dialect, readers()), dialect: dialect, settled: w.settled, uncommitted: &w.redo.uncommitted}
	db.writer.folder.pool = db.reader
	if w.redo.rec.tables, err = readTables(ctx, db.reader); err != nil {
		return err
	}
	if db.clock, err = openClock(ctx, db.reader, db.opts.Running); err != nil {
		return err
	}
	if err = db.openLedger(ctx); err != nil {
		return err
	}
	if db.outbox, err = openOutbox(ctx, db.reader); err != nil {
		return err
	}
	db.writer.tx = tx{hot: db.hot, clock: db.clock, now: db.opts.Now, grace: db.opts.Grace, delay: db.opts.Delay, keep: db.opts.Trash,
		isImmutable: db.opts.Immutable, outbox: db.outbox, shadow: &db.shadow}
	if err := db.beginUses(ctx); err != nil || db.opts.Doubt == nil {
		return err
	}
	return db.Learn(ctx)
}

// watch lets the database itself tell which rows the writer changes.
func (db *DB) watch(to *changes, record *recorder) func(driver.Connector) driver.Connector {
	return func(c driver.Connector) driver.Connector {
		c = watcher{Connector: c, row: to.row, record: record.row, tables: watched()}
		if db.opts.wrap != nil {
			c = db.opts.wrap(c)
		}
		return c
	}
}

// syncLog makes the log durable that a killed process may have left. SQLite takes
// what is in it for committed, and so does whoever reads it from us and is told
// that nothing needs to be changed: only the page cache may know of it.
func syncLog(path string) error {
	err := syncFile(path + "-wal")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return osfile.SyncDir(filepath.Dir(path))
}

// Close saves the clock and closes the database, after what is being written.
// Every call after it fails.
func (db *DB) Close() error {
	ctx := context.Background()
	flushed := errors.Join(db.FlushEvents(ctx), db.FlushUses(ctx))
	err := db.SaveClock(ctx)
	if errors.Is(err, errClosed) {
		return nil
	}
	if idle := db.Idle(ctx); err == nil {
		err = idle
	}
	err = errors.Join(flushed, err, db.reader.close(), db.writer.close(), db.ledger.close())
	if err != nil {
		return fmt.Errorf("close database %s: %w", db.path, err)
	}
	return nil
}

// write runs a mutation in a transaction of its own or shared, see writer.do.
// Events that were noted before are recorded before its own.
func (db *DB) write(ctx context.Context, k kind, run mutation) error {
	if db.outbox.waiting() {
		_ = db.FlushEvents(ctx) // if it fails they are kept, and this will fail, too, or need not
	}
	return db.mutate(ctx, k, run)
}

func (db *DB) mutate(ctx context.Context, k kind, run mutation) error {
	var recorded bool
	counted := func(ctx context.Context, t *tx) error {
		before := t.recorded
		err := run(ctx, t)
		recorded = t.recorded > before
		return err
	}
	err := db.writer.do(ctx, k, counted)
	if errors.Is(err, errClash) { // what it took for true is forgotten
		err = db.writer.do(ctx, k, counted)
	}
	if err != nil {
		return err
	}
	db.changes.Add(1)
	if recorded {
		db.outbox.tell()
	}
	return nil
}

// A Stats counts what the database has done since it was opened.
type Stats struct {
	Mutations int64 // that were committed
	Commits   int64 // transactions that held them
	Synced    int64 // of those, how many waited for the disk
	Queries   int64 // outside of transactions
}

// Hot returns what is in memory, and how often that was enough.
func (db *DB) Hot() hot.Stats { return db.hot.Stats() }

// Stats returns what has been done so far.
func (db *DB) Stats() Stats {
	s := db.writer.statistics()
	s.Queries = db.reader.queries.Load()
	return s
}

// Changes counts the changes since Open, the clock's left out.
func (db *DB) Changes() int64 { return db.changes.Load() }

// Trouble returns the error of the last transaction if the storage itself
// failed it (the disk is full, an I/O error), and nil otherwise. It says that a
// registry is not ready to be written to.
func (db *DB) Trouble() error { return cmp.Or(db.writer.trouble(), db.ledger.trouble()) }
