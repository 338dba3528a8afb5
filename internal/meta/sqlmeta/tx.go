package sqlmeta

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"berth/internal/meta"
	"berth/internal/meta/hot"
	"berth/internal/oci"
)

// A tx is what a mutation works with: a transaction, and the time.
type tx struct {
	s     *session
	clock *clock
	now   func() time.Time
	grace time.Duration
	delay time.Duration
	keep  time.Duration // how long the trash keeps what is deleted
	worst error         // the first fatal error of the transaction
	wrote bool          // the mutation may have changed something

	changes *changes   // what the transaction changes of what is in memory
	hot     *hot.Cache // what is in memory: as it was before the transaction

	isImmutable func(oci.Repo, oci.Tag) bool // Options.Immutable

	shadow   *atomic.Bool // see DB
	outbox   *outbox
	recorded int // events, so far
}

// ticks is the time that counts, see clock.
func (t *tx) ticks() int64 { return t.clock.ticks() }

// wall is the time for people.
func (t *tx) wall() int64 { return t.now().UnixMicro() }

// watch notes whether a statement may change something. What the database tells of
// the rows that change ends at the first zero of a text.
func (t *tx) watch(text string, a args) {
	if strings.HasPrefix(text, "SELECT ") {
		return
	}
	t.wrote = true
	for _, v := range a {
		if s, ok := v.(string); ok && strings.IndexByte(s, 0) >= 0 {
			t.changes.unsure = true
		}
	}
}

func (t *tx) get(ctx context.Context, text string, a args, dest ...any) error {
	t.watch(text, a)
	return t.meaning(t.s.get(ctx, text, a, dest...))
}

func (t *tx) each(ctx context.Context, text string, a args, row func(scan func(dest ...any) error) error) error {
	t.watch(text, a)
	return t.meaning(t.s.each(ctx, text, a, row))
}

// exec runs a statement and returns how many rows it changed.
func (t *tx) exec(ctx context.Context, text string, a ...any) (int64, error) {
	t.watch(text, a)
	res, err := t.s.exec(ctx, text, a)
	if err != nil {
		return 0, t.meaning(err)
	}
	n, err := res.RowsAffected()
	return n, t.meaning(err)
}

// insert runs an INSERT and returns the number that the row got. (SQLite tells it
// without being asked, and asking by RETURNING costs as much again.)
func (t *tx) insert(ctx context.Context, text string, a ...any) (int64, error) {
	t.watch(text, a)
	res, err := t.s.exec(ctx, text, a)
	if err != nil {
		return 0, t.meaning(err)
	}
	id, err := res.LastInsertId()
	return id, t.meaning(err)
}

func (t *tx) meaning(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, sql.ErrNoRows):
		return meta.ErrNotFound
	}
	t.changes.unsure = true // what the statement had changed is as it was
	if t.s.dialect.clash(err) {
		return t.forget(err)
	}
	v, err := t.s.dialect.triage(err)
	if v == fatal && t.worst == nil {
		t.worst = err
	}
	return err
}

// errClash says that the database has something else than a transaction took for true.
var errClash = errors.New("the database is not as it was known to be")

// forget forgets what is in memory, since the database contradicts it: somebody else
// has changed it. What failed may be tried again.
func (t *tx) forget(err error) error {
	t.changes.unknown.GiveUp()
	t.hot.Forget()
	return fmt.Errorf("%w: %w", errClash, err)
}
