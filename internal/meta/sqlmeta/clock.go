package sqlmeta

import (
	"context"
	"time"
)

// A clock counts ticks: nanoseconds that the registry has been running over its
// whole life. It never goes backwards while it is open. When the process is
// killed the ticks since SaveClock are lost, which makes things look younger
// than they are, never older.
type clock struct {
	base    int64 // ticks when it was opened
	since   time.Duration
	running func() time.Duration
}

func openClock(ctx context.Context, q querier, running func() time.Duration) (*clock, error) {
	if running == nil {
		began := time.Now() // carries the monotonic clock
		running = func() time.Duration { return time.Since(began) }
	}
	c := &clock{running: running, since: running()}
	return c, q.get(ctx, `SELECT ticks FROM clock WHERE id = 1`, nil, &c.base)
}

func (c *clock) ticks() int64 { return c.base + int64(c.running()-c.since) }

// SaveClock makes the time that has passed for grace survive the end of the
// process. Call it every minute or so.
func (db *DB) SaveClock(ctx context.Context) error {
	return db.writer.do(ctx, relaxed, func(ctx context.Context, t *tx) error {
		_, err := t.exec(ctx, `UPDATE clock SET ticks = $1 WHERE id = 1 AND ticks < $1`, t.ticks())
		return err
	})
}
