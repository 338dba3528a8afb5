package sqlmeta

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"berth/internal/meta"
)

// A dialect is what differs from one database to another in the use of queries
// whose text is the same.
type dialect struct {
	rebind func(text string) string // from $1 to what the database wants
	begin  string                   // begins a transaction that is going to write
	share  string                   // behind a SELECT: nobody may delete these rows before the commit
	sync   func(full bool) string   // before a transaction: whether its commit waits for the disk
	spill  func(kib int) string     // before a transaction: how much of it may be in memory alone
	triage func(error) (verdict, error)
	clash  func(error) bool // a row is there already, or one that it needs is not
}

// A verdict says what an error means for the transaction that it came from.
type verdict int

const (
	survivable verdict = iota // the statement failed, and no more than that
	fatal                     // the storage failed: the transaction and its connection are no good
)

func sqliteDialect() dialect {
	return dialect{
		rebind: func(text string) string { return strings.ReplaceAll(text, "$", "?") },
		begin:  "BEGIN IMMEDIATE",
		sync: func(full bool) string {
			if full {
				return "PRAGMA synchronous = FULL"
			}
			return "PRAGMA synchronous = NORMAL"
		},
		spill:  func(kib int) string { return "PRAGMA cache_spill = -" + strconv.Itoa(kib) },
		triage: sqliteTriage,
		clash:  sqliteClash,
	}
}

// sqliteTriage gives an error of the driver a meaning. SQLite reports a full
// disk as FULL, or as SHMSIZE when it is its index that cannot grow.
func sqliteTriage(err error) (verdict, error) {
	if errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) {
		return fatal, err
	}
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return survivable, err
	}
	if e.Code() == sqlite3.SQLITE_IOERR_SHMSIZE {
		return fatal, fmt.Errorf("%w: %w", meta.ErrNoSpace, err)
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_FULL:
		return fatal, fmt.Errorf("%w: %w", meta.ErrNoSpace, err)
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_NOMEM,
		sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_MISUSE:
		return fatal, err
	}
	return survivable, err
}

func sqliteClash(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && e.Code()&0xff == sqlite3.SQLITE_CONSTRAINT
}

// isCorrupt reports whether err says that a file is not a (whole) database.
func isCorrupt(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && (e.Code()&0xff == sqlite3.SQLITE_CORRUPT || e.Code()&0xff == sqlite3.SQLITE_NOTADB)
}

// How much memory a connection may use for pages, in KiB, until Relax. They take
// what they need, not all of it at once. What is not among them is in the page
// cache of the system, a microsecond away. SQLite looks at all pages that the
// writer has at the end of most transactions (of those that balance a tree); a
// larger transaction may have more while it lasts, before it writes pages twice.
const (
	writerCache = 4 << 10
	writerMost  = 16 << 10
	readerCache = 1 << 10

	longestLog = 16_000 // pages; see folder for what keeps it shorter
)

// readers is how many connections read at the same time, at most.
func readers() int { return min(max(2*runtime.GOMAXPROCS(0), 4), 32) }

// commonPragmas hold for every connection. A reader waits a moment for the
// writer only while the log is being cut.
func commonPragmas() []string {
	return []string{"busy_timeout(10000)", "temp_store(memory)", "mmap_size(0)", "trusted_schema(off)"}
}

// writerPragmas begins with synchronous(full) so that setting up is durable, and
// cuts the log to at most 64 MiB after a burst.
func writerPragmas(maxPages int) []string {
	p := append(commonPragmas(), "journal_mode(wal)", "synchronous(full)", "foreign_keys(on)",
		"wal_autocheckpoint("+strconv.Itoa(longestLog)+")", "journal_size_limit(67108864)", "cache_size(-"+strconv.Itoa(writerCache)+")", "cache_spill(-"+strconv.Itoa(writerMost)+")")
	if maxPages > 0 {
		p = append(p, "max_page_count("+strconv.Itoa(maxPages)+")")
	}
	return p
}

func readerPragmas() []string {
	return append(commonPragmas(), "query_only(on)", "cache_size(-"+strconv.Itoa(readerCache)+")")
}

// A liveness says whether somebody may be writing to a file.
type liveness int

const (
	live     liveness = iota
	finished          // nobody writes to it, and it has no log: nothing is made beside it
)

// openSQLite returns a pool of connections to the existing file path. Nothing is
// opened yet.
func openSQLite(path string, l liveness, pragmas []string, wrap func(driver.Connector) driver.Connector) (*sql.DB, error) {
	c, err := connectSQLite(path, l, pragmas, wrap)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(c), nil
}

// connectSQLite returns what opens connections to the existing file path.
func connectSQLite(path string, l liveness, pragmas []string, wrap func(driver.Connector) driver.Connector) (driver.Connector, error) {
	// It need not write back when a file was changed, which fsync does: on a
	// journaling file system that is most of what a commit would wait for. Where
	// there is no such call everything stays as it was.
	if _, err := sqlite.Fdatasync(true); err != nil && !errors.Is(err, sqlite.ErrFdatasyncUnavailable) {
		return nil, err
	}
	c, err := sqlite.NewConnector(dsn(path, l, pragmas))
	if err != nil {
		return nil, err
	}
	if wrap != nil {
		c = wrap(c)
	}
	return c, nil
}

// dsn spells the path as a URI, so that no character of it means something else.
func dsn(path string, l liveness, pragmas []string) string {
	path = filepath.ToSlash(path)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path // C:/…
	}
	values := url.Values{"mode": {"rw"}, "_pragma": pragmas}
	if l == finished {
		values["mode"], values["immutable"] = []string{"ro"}, []string{"1"}
	}
	u := url.URL{Scheme: "file", Path: path, RawQuery: values.Encode()}
	return u.String()
}

// checkLog makes sure that SQLite can use its log here, which takes memory that
// processes share: network file systems often have none.
func checkLog(ctx context.Context, pool *sql.DB) error {
	var mode string
	if err := pool.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&mode); err != nil {
		return err
	}
	if mode != "wal" {
		return fmt.Errorf("the file system cannot hold a database that is written and read at once (journal mode %s): "+
			"put it on a local disk", mode)
	}
	return nil
}

// createFile makes the database's file, readable by its owner only, if it does
// not exist. SQLite gives the files beside it the same mode.
func createFile(path string) (made bool, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, f.Close()
}

// checkpoint writes the log back without waiting for readers: the answer of a
// pragma that could not do everything is not an error.
func checkpoint(ctx context.Context, s *session) error {
	if err := s.once(ctx, "PRAGMA busy_timeout = 0"); err != nil {
		return err
	}
	var busy, inLog, moved int64
	err := s.get(ctx, "PRAGMA wal_checkpoint(TRUNCATE)", nil, &busy, &inLog, &moved)
	if restore := s.once(ctx, "PRAGMA busy_timeout = 10000"); err == nil {
		err = restore
	}
	return err
}

// shrinkMemory frees the pages that a connection holds in memory.
const shrinkMemory = "PRAGMA shrink_memory"

// checkStructure checks the file's structure.
func checkStructure(ctx context.Context, q querier) error {
	var found []string
	err := q.each(ctx, "PRAGMA integrity_check(3)", nil, func(scan func(...any) error) error {
		var s string
		err := scan(&s)
		if s != "ok" {
			found = append(found, s)
		}
		return err
	})
	if err != nil {
		return err
	}
	if len(found) > 0 {
		return fmt.Errorf("%w: %s", errBroken, strings.Join(found, "; "))
	}
	return nil
}

// checkPages checks the file's structure and the foreign keys.
func checkPages(ctx context.Context, q querier) error {
	if err := checkStructure(ctx, q); err != nil {
		return err
	}
	var table, parent string
	var row sql.NullInt64
	var key int
	err := q.get(ctx, "PRAGMA foreign_key_check", nil, &table, &row, &parent, &key)
	if err == nil {
		return fmt.Errorf("%w: a row of %s names one of %s that is not there", errBroken, table, parent)
	}
	if isNotFound(err) {
		return nil
	}
	return err
}

// vacuumInto copies the database from, as it is at one moment, into the empty
// file to, without the pages that are free.
func vacuumInto(ctx context.Context, from, to string, wrap func(driver.Connector) driver.Connector) error {
	pool, err := openSQLite(from, live, commonPragmas(), wrap)
	if err != nil {
		return err
	}
	_, err = pool.ExecContext(ctx, "VACUUM INTO ?1", to)
	_, err = sqliteTriage(err)
	return errors.Join(err, pool.Close())
}
