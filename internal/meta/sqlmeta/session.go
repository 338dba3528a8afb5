package sqlmeta

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"reflect"
)

// A session is a connection, with its prepared statements: the one that writes, or
// one that reads. It talks to the driver itself: nobody shares it, and what database/sql does for
// connections that are shared costs about as much as a short statement.
type session struct {
	conn    driver.Conn
	dialect dialect
	stmts   map[string]statement // by text
	full    bool                 // a commit waits for the disk
	held    int                  // KiB of a transaction that may be in memory alone; 0: not known

	args []driver.NamedValue // of the statement that is being begun
	row  []driver.Value      // of a query for one row
}

// A statement is a prepared one, as what all drivers offer by now.
type statement interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

func openSession(ctx context.Context, c driver.Connector, d dialect) (*session, error) {
	conn, err := c.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &session{conn: conn, dialect: d, stmts: make(map[string]statement), full: true}, nil
}

func (s *session) prepared(ctx context.Context, text string) (statement, error) {
	if st := s.stmts[text]; st != nil {
		return st, nil
	}
	st, err := s.conn.(driver.ConnPrepareContext).PrepareContext(ctx, s.dialect.rebind(text))
	if err != nil {
		return nil, err
	}
	s.stmts[text] = st.(statement)
	return s.stmts[text], nil
}

// values makes the driver's values of a. They are valid until the next call: a
// driver copies what it is given.
func (s *session) values(a args) ([]driver.NamedValue, error) {
	s.args = s.args[:0]
	for i, v := range a {
		switch x := v.(type) {
		case int64, string, []byte, bool, nil:
		case int:
			v = int64(x)
		default:
			var err error
			if v, err = driver.DefaultParameterConverter.ConvertValue(v); err != nil {
				return nil, fmt.Errorf("sqlmeta: value %d: %w", i+1, err)
			}
		}
		s.args = append(s.args, driver.NamedValue{Ordinal: i + 1, Value: v})
	}
	return s.args, nil
}

// ready returns a statement and what it is to be run with.
func (s *session) ready(ctx context.Context, text string, a args) (statement, []driver.NamedValue, error) {
	st, err := s.prepared(ctx, text)
	if err != nil {
		return nil, nil, err
	}
	values, err := s.values(a)
	return st, values, err
}

func (s *session) exec(ctx context.Context, text string, a args) (driver.Result, error) {
	st, values, err := s.ready(ctx, text, a)
	if err != nil {
		return nil, err
	}
	return st.ExecContext(ctx, values)
}

func (s *session) query(ctx context.Context, text string, a args) (driver.Rows, error) {
	st, values, err := s.ready(ctx, text, a)
	if err != nil {
		return nil, err
	}
	return st.QueryContext(ctx, values)
}

// get scans the first row that a query finds, else it returns sql.ErrNoRows.
func (s *session) get(ctx context.Context, text string, a args, dest ...any) error {
	rows, err := s.query(ctx, text, a)
	if err != nil {
		return err
	}
	for len(s.row) < len(dest) {
		s.row = append(s.row, nil)
	}
	row := s.row[:len(dest)]
	err = rows.Next(row)
	if errors.Is(err, io.EOF) {
		err = sql.ErrNoRows
	}
	if err == nil {
		err = assign(dest, row)
	}
	clear(row)
	if closed := rows.Close(); err == nil {
		err = closed
	}
	return err
}

// each calls do for every row that a query finds.
func (s *session) each(ctx context.Context, text string, a args, do func(scan func(dest ...any) error) error) error {
	rows, err := s.query(ctx, text, a)
	if err != nil {
		return err
	}
	row := make([]driver.Value, len(rows.Columns()))
	scan := func(dest ...any) error { return assign(dest, row) }
	for err == nil {
		if err = rows.Next(row); err == nil {
			err = do(scan)
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if closed := rows.Close(); err == nil {
		err = closed
	}
	return err
}

// do runs a statement without arguments.
func (s *session) do(ctx context.Context, text string) error {
	_, err := s.exec(ctx, text, nil)
	return err
}

// once runs a statement that is not kept prepared.
func (s *session) once(ctx context.Context, text string) error {
	_, err := s.conn.(driver.ExecerContext).ExecContext(ctx, text, nil)
	return err
}

// setSync tells the database whether the next commit must wait for the disk.
// This is never prepared: a pragma may work when it is prepared, not when it
// is run.
func (s *session) setSync(ctx context.Context, k kind) error {
	if full := k == durable; s.full != full {
		if err := s.once(ctx, s.dialect.sync(full)); err != nil {
			return err
		}
		s.full = full
	}
	return nil
}

// setSpill tells the database how many KiB of the next transaction may be in memory
// alone until it is committed.
func (s *session) setSpill(ctx context.Context, kib int) error {
	if s.held == kib {
		return nil
	}
	err := s.once(ctx, s.dialect.spill(kib))
	if err == nil {
		s.held = kib
	}
	return err
}

// close closes the connection, with everything that it had not committed. Its
// statements go first: the driver cannot close them once the connection is
// closed.
func (s *session) close() error {
	for _, st := range s.stmts {
		st.Close()
	}
	return s.conn.Close()
}

// assign stores the values of a row.
func assign(dest []any, row []driver.Value) error {
	if len(dest) != len(row) {
		return fmt.Errorf("sqlmeta: %d columns are read as %d", len(row), len(dest))
	}
	for i, v := range row {
		if !store(dest[i], v) {
			return fmt.Errorf("sqlmeta: column %d: a %T cannot be read as %T", i+1, v, dest[i])
		}
	}
	return nil
}

// store stores one value, and reports whether it could: texts, numbers, flags,
// bytes, and what scans by itself.
func store(dest any, v driver.Value) (ok bool) {
	switch d := dest.(type) {
	case *string:
		*d, ok = v.(string)
		return ok
	case *int64:
		*d, ok = v.(int64)
		return ok
	case *bool:
		n, ok := v.(int64)
		*d = n != 0
		return ok
	case *[]byte: // the driver has made it for us
		if text, is := v.(string); is { // somebody else wrote it
			*d = []byte(text)
			return true
		}
		*d, ok = v.([]byte)
		return ok || v == nil
	case *sql.RawBytes: // valid until the next row, and in the same memory
		text, is := v.(string)
		if *d = append((*d)[:0], text...); v == nil {
			*d = nil
		}
		return is || v == nil
	case sql.Scanner:
		return d.Scan(v) == nil
	}
	p := reflect.ValueOf(dest).Elem()
	switch v := v.(type) {
	case string:
		if ok = p.Kind() == reflect.String; ok {
			p.SetString(v)
		}
	case int64:
		switch {
		case p.CanInt() && !p.OverflowInt(v):
			p.SetInt(v)
			return true
		case p.CanUint() && v >= 0 && !p.OverflowUint(uint64(v)):
			p.SetUint(uint64(v))
			return true
		}
	}
	return ok
}
