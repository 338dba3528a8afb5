package sqlmeta

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"berth/internal/meta"
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
	pool     *sql.DB
	sessions *sessions // what is asked goes by them, if there are any
	dialect  dialect
	patient  bool // queries take long, so that contexts must be watched
	mu       sync.RWMutex
	stmts    map[string]*sql.Stmt // by text
	queries  atomic.Int64
	settled  func(context.Context) error // called before each query, which then finds all that was answered; nil: nobody writes

	uncommitted *uncommitted // what a query that is not settled does not find; nil: every query is
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
	r.queries.Add(1)
	if r.patient {
		return ctx, ctx.Err()
	}
	return context.WithoutCancel(ctx), ctx.Err()
}

func (r *reader) settle(ctx context.Context) error {
	if r.settled == nil {
		return nil
	}
	return r.settled(ctx)
}

func (r *reader) get(ctx context.Context, text string, a args, dest ...any) error {
	if err := r.settle(ctx); err != nil {
		return err
	}
	return asItIs{r}.get(ctx, text, a, dest...)
}

func (r *reader) each(ctx context.Context, text string, a args, row func(scan func(dest ...any) error) error) error {
	if err := r.settle(ctx); err != nil {
		return err
	}
	return asItIs{r}.each(ctx, text, a, row)
}

// An asItIs asks the database as it is, which may lack what was answered: see
// reader.only.
type asItIs struct{ r *reader }

func (q asItIs) get(ctx context.Context, text string, a args, dest ...any) error {
	r := q.r
	waits := ctx // for a session; the query itself is not cut short
	ctx, err := r.enter(ctx)
	if err != nil {
		return err
	}
	if r.sessions != nil {
		return r.meaning(r.sessions.use(waits, func(s *session) error { return s.get(ctx, text, a, dest...) }))
	}
	s, err := r.prepared(ctx, text)
	if err != nil {
		return err
	}
	return r.meaning(s.QueryRowContext(ctx, a...).Scan(dest...))
}

func (q asItIs) each(ctx context.Context, text string, a args, row func(scan func(dest ...any) error) error) error {
	r := q.r
	waits := ctx // for a session; the query itself is not cut short
	ctx, err := r.enter(ctx)
	if err != nil {
		return err
	}
	if r.sessions != nil {
		return r.meaning(r.sessions.use(waits, func(s *session) error { return s.each(ctx, text, a, row) }))
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
	var err error
	if r.sessions != nil {
		err = r.sessions.close()
	}
	return errors.Join(err, r.pool.Close())
}

// notFound words meta.ErrNotFound as what was missing, and leaves other errors
// as they are.
func notFound(err error, what string, in fmt.Stringer) error {
	if errors.Is(err, meta.ErrNotFound) {
		return fmt.Errorf("%s of %s: %w", what, in, err)
	}
	return err
}
