package sqlmeta

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"sync"
)

// A spy stands between database/sql and the driver. It records every text, and
// makes the call fail that it is told to.
type spy struct {
	mu    sync.Mutex
	texts map[string]bool

	calls  int // so far
	failAt int // the call that fails; 0 means none
	mode   failure
	failed string // the text whose call failed
}

// A failure is how a call fails.
type failure int

const (
	before failure = iota // nothing was done
	after                 // it was done, but the caller is told that it was not
	dead                  // nothing was done, and the connection never works again
)

var errInjected = errors.New("injected failure")

func newSpy() *spy { return &spy{texts: make(map[string]bool)} }

// arm makes the n-th call from now fail.
func (s *spy) arm(n int, mode failure) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls, s.failAt, s.mode, s.failed = 0, n, mode, ""
}

// disarm reports whether a call has failed, and which.
func (s *spy) disarm() (text string, failed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	failed = s.failAt > 0 && s.calls >= s.failAt
	s.failAt = 0
	return s.failed, failed
}

// call does one call to the driver, or fails it.
func call[T any](s *spy, text string, do func() (T, error)) (T, error) {
	s.mu.Lock()
	s.texts[text] = true
	s.calls++
	fail := s.failAt > 0 && (s.calls == s.failAt || s.mode == dead && s.calls > s.failAt)
	if fail && s.failed == "" {
		s.failed = text
	}
	mode := s.mode
	s.mu.Unlock()
	if !fail {
		return do()
	}
	var zero T
	if mode == after {
		v, err := do()
		if err != nil {
			return zero, err
		}
		if open, ok := any(v).(io.Closer); ok {
			open.Close() // nobody else will
		}
	}
	return zero, errInjected
}

type spiedConnector struct {
	driver.Connector
	spy *spy
}

func (c spiedConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &spiedConn{Conn: conn, spy: c.spy}, nil
}

type spiedConn struct {
	driver.Conn
	spy *spy
}

func (c *spiedConn) PrepareContext(ctx context.Context, text string) (driver.Stmt, error) {
	s, err := call(c.spy, text, func() (driver.Stmt, error) { return c.Conn.(driver.ConnPrepareContext).PrepareContext(ctx, text) })
	if err != nil {
		return nil, err
	}
	return &spiedStmt{Stmt: s, spy: c.spy, text: text}, nil
}

func (c *spiedConn) BeginTx(ctx context.Context, o driver.TxOptions) (driver.Tx, error) {
	tx, err := call(c.spy, "BEGIN", func() (driver.Tx, error) { return c.Conn.(driver.ConnBeginTx).BeginTx(ctx, o) })
	if err != nil {
		return nil, err
	}
	return spiedTx{tx, c.spy}, nil
}

func (c *spiedConn) ExecContext(ctx context.Context, text string, a []driver.NamedValue) (driver.Result, error) {
	return call(c.spy, text, func() (driver.Result, error) { return c.Conn.(driver.ExecerContext).ExecContext(ctx, text, a) })
}

func (c *spiedConn) QueryContext(ctx context.Context, text string, a []driver.NamedValue) (driver.Rows, error) {
	return call(c.spy, text, func() (driver.Rows, error) { return c.Conn.(driver.QueryerContext).QueryContext(ctx, text, a) })
}

func (c *spiedConn) ResetSession(ctx context.Context) error {
	return c.Conn.(driver.SessionResetter).ResetSession(ctx)
}

func (c *spiedConn) IsValid() bool { return c.Conn.(driver.Validator).IsValid() }

type spiedTx struct {
	driver.Tx
	spy *spy
}

func (t spiedTx) Commit() error {
	_, err := call(t.spy, "COMMIT", func() (bool, error) { return true, t.Tx.Commit() })
	return err
}

type spiedStmt struct {
	driver.Stmt
	spy  *spy
	text string
}

func (s *spiedStmt) ExecContext(ctx context.Context, a []driver.NamedValue) (driver.Result, error) {
	return call(s.spy, s.text, func() (driver.Result, error) { return s.Stmt.(driver.StmtExecContext).ExecContext(ctx, a) })
}

func (s *spiedStmt) QueryContext(ctx context.Context, a []driver.NamedValue) (driver.Rows, error) {
	return call(s.spy, s.text, func() (driver.Rows, error) { return s.Stmt.(driver.StmtQueryContext).QueryContext(ctx, a) })
}
