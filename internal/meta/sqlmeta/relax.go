package sqlmeta

import (
	"context"
	"database/sql"
	"errors"
)

// Relax gives back the memory in which connections that nobody uses hold pages of
// the database. They are read again when they are needed, so call it when the
// database is left alone.
func (db *DB) Relax(ctx context.Context) error {
	err := db.writer.do(ctx, outside, func(ctx context.Context, t *tx) error {
		return t.s.once(ctx, shrinkMemory)
	})
	return errors.Join(err, db.reader.relax(ctx))
}

// relax shrinks the connections that are idle. It holds all of them at the same
// time, or the pool would give out one again and again.
func (r *reader) relax(ctx context.Context) (err error) {
	if r.sessions != nil {
		err = r.sessions.relax(ctx)
	}
	conns := make([]*sql.Conn, 0, r.pool.Stats().Idle)
	for range cap(conns) {
		c, cerr := r.pool.Conn(ctx)
		if cerr != nil {
			err = errors.Join(err, cerr)
			break
		}
		conns = append(conns, c)
	}
	for _, c := range conns {
		_, serr := c.ExecContext(ctx, shrinkMemory)
		err = errors.Join(err, serr, c.Close())
	}
	return err
}
