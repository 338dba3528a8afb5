package sqlmeta

import (
	"context"
	"database/sql/driver"
	"fmt"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// watched returns, by table, how many of its first columns have to be known of a
// row that changes, to know what that changes of what is kept in memory.
func watched() map[string]int {
	return map[string]int{
		"repos": 3, "tags": 3, "manifests": shortManifest, "repo_blobs": 4, "blobs": 4, "losses": 2, "damaged_manifests": 1,
	}
}

// The first columns of a manifest, and all of them. The size is among the first.
const (
	shortManifest = 6
	wholeManifest = 11
)

// A watcher is a connector whose connections call row with every row that is
// about to be inserted, changed or deleted, whatever
// statement does it: one that a foreign key implies, too. What is given of a row
// is nil if there is none, and empty if it cannot be read.
type watcher struct {
	driver.Connector
	row    func(table string, was, is []any) // the first columns, of tables
	record func(table string, was, is []any) // all columns, of all tables
	tables map[string]int
}

// Connect implements driver.Connector.
func (w watcher) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := w.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	hooks, ok := conn.(sqlite.HookRegisterer)
	if !ok {
		conn.Close()
		return nil, fmt.Errorf("a connection of the driver, a %T, cannot be watched", conn)
	}
	hooks.RegisterPreUpdateHook(w.change)
	return conn, nil
}

func (w watcher) change(d sqlite.SQLitePreUpdateData) {
	n, all := w.tables[d.TableName], d.Count()
	var was, is []any
	if d.Op != sqlite3.SQLITE_INSERT {
		was = read(d.Old, all)
	}
	if d.Op != sqlite3.SQLITE_DELETE {
		is = read(d.New, all)
	}
	w.record(d.TableName, was, is)
	if n == 0 {
		return
	}
	if d.Op != sqlite3.SQLITE_INSERT || d.TableName != "manifests" || !isSmall(is) {
		is = first(is, n)
	}
	w.row(d.TableName, first(was, n), is)
}

// first returns the first n columns of a row.
func first(row []any, n int) []any { return row[:min(n, len(row))] }

// read reads the first n columns of a row.
func read(row func(...any) error, n int) []any {
	list := make([]any, n)
	if row(list...) != nil {
		return []any{}
	}
	return list
}

// isSmall reports whether the first columns of a manifest say that it is so short
// that it is kept in memory when it is pushed.
func isSmall(row []any) bool {
	if len(row) < shortManifest {
		return false
	}
	size, ok := row[4].(int64)
	return ok && size <= maxBody
}
