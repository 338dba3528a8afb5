package sqlmeta

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"berth/internal/meta"
	"berth/internal/oci"
)

// args are the values of $1, $2 and so on.
type args = []any

// A querier runs queries: on any connection that reads, or within a
// transaction. Texts are constants, and kept prepared.
type querier interface {
	// get scans the one row that the query finds, else it returns meta.ErrNotFound.
	get(ctx context.Context, text string, a args, dest ...any) error

	// each calls row for every row; row calls scan.
	each(ctx context.Context, text string, a args, row func(scan func(dest ...any) error) error) error
}

// A reader runs single queries on a pool of connections. Each sees everything
// that was committed before it began.
type reader struct {
	pool    *sql.DB
	dialect dialect
	patient bool // queries take long, so that contexts must be watched
	mu      sync.RWMutex
	stmts   map[string]*sql.Stmt // by text
}

func (r *reader) prepared(ctx context.Context, text string) (*sql.Stmt, error) {
	r.mu.RLock()
	s := r.stmts[text]
	r.mu.RUnlock()
	if s != nil {
		return s, nil
	}
	s, err := r.pool.PrepareContext(ctx, r.dialect.rebind(text))
	if err != nil {
		return nil, r.meaning(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if first := r.stmts[text]; first != nil {
		s.Close()
		return first, nil
	}
	if r.stmts == nil {
		r.stmts = make(map[string]*sql.Stmt)
	}
	r.stmts[text] = s
	return s, nil
}

// enter looks at ctx once. What follows does not, unless it takes long: a query
// takes microseconds, and watching a context costs the driver a goroutine each.
func (r *reader) enter(ctx context.Context) (context.Context, error) {
	if r.patient {
		return ctx, ctx.Err()
	}
	return context.WithoutCancel(ctx), ctx.Err()
}

func (r *reader) get(ctx context.Context, text string, a args, dest ...any) error {
	ctx, err := r.enter(ctx)
	if err != nil {
		return err
	}
	s, err := r.prepared(ctx, text)
	if err != nil {
		return err
	}
	return r.meaning(s.QueryRowContext(ctx, a...).Scan(dest...))
}

func (r *reader) each(ctx context.Context, text string, a args, row func(scan func(dest ...any) error) error) error {
	ctx, err := r.enter(ctx)
	if err != nil {
		return err
	}
	s, err := r.prepared(ctx, text)
	if err != nil {
		return err
	}
	return r.meaning(eachRow(ctx, s, a, row))
}

func eachRow(ctx context.Context, s *sql.Stmt, a args, row func(scan func(dest ...any) error) error) error {
	rows, err := s.QueryContext(ctx, a...)
	if err != nil {
		return err
	}
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			rows.Close()
			return err
		}
	}
	rows.Close()
	return rows.Err()
}

func (r *reader) meaning(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, sql.ErrNoRows):
		return meta.ErrNotFound
	}
	_, err = r.dialect.triage(err)
	return err
}

func (r *reader) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.stmts {
		s.Close()
	}
	clear(r.stmts)
	return r.pool.Close()
}

// A session is the connection that writes, with its prepared statements.
type session struct {
	conn    *sql.Conn
	dialect dialect
	stmts   map[string]*sql.Stmt // by text
	full    bool                 // a commit waits for the disk
}

func (s *session) prepared(ctx context.Context, text string) (*sql.Stmt, error) {
	if st := s.stmts[text]; st != nil {
		return st, nil
	}
	st, err := s.conn.PrepareContext(ctx, s.dialect.rebind(text))
	if err != nil {
		return nil, err
	}
	s.stmts[text] = st
	return st, nil
}

// do runs a statement without arguments.
func (s *session) do(ctx context.Context, text string) error {
	st, err := s.prepared(ctx, text)
	if err != nil {
		return err
	}
	_, err = st.ExecContext(ctx)
	return err
}

// setSync tells the database whether the next commit must wait for the disk.
// This is never prepared: a pragma may work when it is prepared, not when it
// is run.
func (s *session) setSync(ctx context.Context, full bool) error {
	if s.full == full {
		return nil
	}
	if _, err := s.conn.ExecContext(ctx, s.dialect.sync(full)); err != nil {
		return err
	}
	s.full = full
	return nil
}

// close gives the connection back. Its statements go first: the driver cannot
// close them once the connection is closed.
func (s *session) close() {
	for _, st := range s.stmts {
		st.Close()
	}
	s.conn.Close()
}

// discard closes the connection for good.
func (s *session) discard() {
	for _, st := range s.stmts {
		st.Close()
	}
	s.conn.Raw(func(any) error { return driver.ErrBadConn }) // or the pool would keep it for later
	s.conn.Close()
}

// A tx is what a mutation works with: a transaction, and the time.
type tx struct {
	s     *session
	clock *clock
	now   func() time.Time
	grace time.Duration
	delay time.Duration
	keep  time.Duration // how long the trash keeps what is deleted
	worst error         // the first fatal error of the transaction

	isImmutable func(oci.Repo, oci.Tag) bool // Options.Immutable

	shadow   *atomic.Bool // see DB
	outbox   *outbox
	recorded int // events, so far
}

// ticks is the time that counts, see clock.
func (t *tx) ticks() int64 { return t.clock.ticks() }

// wall is the time for people.
func (t *tx) wall() int64 { return t.now().UnixMicro() }

func (t *tx) get(ctx context.Context, text string, a args, dest ...any) error {
	st, err := t.s.prepared(ctx, text)
	if err == nil {
		err = st.QueryRowContext(ctx, a...).Scan(dest...)
	}
	return t.meaning(err)
}

func (t *tx) each(ctx context.Context, text string, a args, row func(scan func(dest ...any) error) error) error {
	st, err := t.s.prepared(ctx, text)
	if err == nil {
		err = eachRow(ctx, st, a, row)
	}
	return t.meaning(err)
}

// exec runs a statement and returns how many rows it changed.
func (t *tx) exec(ctx context.Context, text string, a ...any) (int64, error) {
	st, err := t.s.prepared(ctx, text)
	if err != nil {
		return 0, t.meaning(err)
	}
	res, err := st.ExecContext(ctx, a...)
	if err != nil {
		return 0, t.meaning(err)
	}
	n, err := res.RowsAffected()
	return n, t.meaning(err)
}

func (t *tx) meaning(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, sql.ErrNoRows):
		return meta.ErrNotFound
	}
	v, err := t.s.dialect.triage(err)
	if v == fatal && t.worst == nil {
		t.worst = err
	}
	return err
}

// notFound words meta.ErrNotFound as what was missing, and leaves other errors
// as they are.
func notFound(err error, what string, in fmt.Stringer) error {
	if errors.Is(err, meta.ErrNotFound) {
		return fmt.Errorf("%s of %s: %w", what, in, err)
	}
	return err
}
