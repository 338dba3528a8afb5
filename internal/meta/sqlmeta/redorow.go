package sqlmeta

import (
	"bytes"
	"context"
	"encoding/binary"
	"strings"
)

// A table is what has to be known of one to write down and to repeat what happens
// to its rows.
type table struct {
	name    string
	columns []string
	key     []int // the columns of its primary key
}

// readTables returns the tables whose changes are recorded: all but the one that
// says which are, and those of migrations.
func readTables(ctx context.Context, q querier) (map[string]*table, error) {
	tables := make(map[string]*table)
	err := q.each(ctx, `SELECT m.name, i.cid, i.name, i.pk FROM sqlite_schema m JOIN pragma_table_xinfo(m.name) i
		WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND m.name NOT IN ('redo', 'goose_db_version') ORDER BY m.name, i.cid`, nil,
		func(scan func(...any) error) error {
			var of, column string
			var place, key int64
			err := scan(&of, &place, &column, &key)
			t := tables[of]
			if t == nil {
				t = &table{name: of}
				tables[of] = t
			}
			t.columns = append(t.columns, column)
			if key > 0 {
				t.key = append(t.key, int(place))
			}
			return err
		})
	return tables, err
}

// A recorder makes a record of what happens to rows. Only the writer uses it.
type recorder struct {
	tables map[string]*table // nil: nothing is recorded
	buf    []byte            // with room for its head
	bad    bool              // it does not say all
}

// reset begins a record.
func (r *recorder) reset() {
	if cap(r.buf) > 4*maxRecord { // what a large manifest took
		r.buf = nil
	}
	r.buf, r.bad = appendHead(r.buf[:0]), false
}

// any reports whether anything happened.
func (r *recorder) any() bool { return r.bad || len(r.buf) > redoHead }

// fits reports whether the record says all, and is not too long.
func (r *recorder) fits() bool { return !r.bad && len(r.buf) <= maxRecord }

// row notes that a row changes from was to is, see watcher.
func (r *recorder) row(name string, was, is []any) {
	if r.tables == nil || r.bad || name == "redo" {
		return
	}
	t := r.tables[name]
	if t == nil || len(t.key) == 0 || was != nil && len(was) != len(t.columns) || is != nil && len(is) != len(t.columns) || len(r.buf) > maxRecord {
		r.bad = true
		return
	}
	switch {
	case was == nil:
		r.begin(rowInsert, name)
		r.values(is)
	case is == nil:
		r.begin(rowDelete, name)
		r.keyOf(t, was)
	default:
		r.begin(rowUpdate, name)
		r.keyOf(t, was)
		r.update(was, is)
	}
}

func (r *recorder) begin(op rowOp, name string) { r.buf = appendText(append(r.buf, byte(op)), name) }

func (r *recorder) value(v any) {
	b, ok := appendValue(r.buf, v)
	r.buf, r.bad = b, r.bad || !ok
}

func (r *recorder) values(list []any) {
	r.buf = binary.AppendUvarint(r.buf, uint64(len(list)))
	for _, v := range list {
		r.value(v)
	}
}

func (r *recorder) keyOf(t *table, row []any) {
	r.buf = binary.AppendUvarint(r.buf, uint64(len(t.key)))
	for _, i := range t.key {
		r.value(row[i])
	}
}

func (r *recorder) update(was, is []any) {
	n := 0
	for i := range is {
		if !sameValue(was[i], is[i]) {
			n++
		}
	}
	r.buf = binary.AppendUvarint(r.buf, uint64(n))
	for i, v := range is {
		if !sameValue(was[i], v) {
			r.buf = append(r.buf, byte(i))
			r.value(v)
		}
	}
}

// sameValue compares what the hook reads.
func sameValue(a, b any) bool {
	x, ok := a.([]byte)
	y, too := b.([]byte)
	if ok || too {
		return ok && too && bytes.Equal(x, y)
	}
	return a == b
}

// statement returns what repeats a change, and its arguments.
func (t *table) statement(c rowChange) (text string, a args, err error) {
	if c.op != rowInsert && len(c.key) != len(t.key) || c.op == rowInsert && len(c.vals) != len(t.columns) {
		return "", nil, errRecord
	}
	var b strings.Builder
	where := func() {
		for i, k := range t.key {
			b.WriteString([]string{" WHERE ", " AND "}[min(i, 1)])
			b.WriteString(t.columns[k] + " = ?")
		}
	}
	switch c.op {
	case rowInsert:
		b.WriteString("INSERT INTO " + t.name + " (" + strings.Join(t.columns, ", ") + ") VALUES (?" + strings.Repeat(", ?", len(t.columns)-1) + ")")
		return b.String(), c.vals, nil
	case rowDelete:
		b.WriteString("DELETE FROM " + t.name)
	case rowUpdate:
		b.WriteString("UPDATE " + t.name + " SET ")
		for i, col := range c.cols {
			if col >= len(t.columns) {
				return "", nil, errRecord
			}
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(t.columns[col] + " = ?")
		}
	}
	where()
	return b.String(), append(append(args{}, c.vals...), c.key...), nil
}
