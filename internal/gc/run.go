package gc

import (
	"context"
	"time"
)

// settle is how long after its beginning a Run collects for the first time, if
// not sooner: a server that is restarted often collects all the same, and one
// that starts has other things to do first.
const settle = 15 * time.Second

// glance is how often a Run that waits looks at the wall clock, which may jump.
const glance = time.Minute

// Run looks at once for what a crash left behind, then collects every so often,
// inside the window, until ctx ends. It returns nil then. What one collection
// could not finish, because its window was over or somebody asked for another
// one, the next goes on with.
func (c *Collector) Run(ctx context.Context) error {
	s := schedule{every: c.Every, window: c.Window}
	defer c.board.expect(time.Time{})
	if err := c.turn.take(ctx); err != nil {
		return nil
	}
	if _, err := c.recover(ctx, 0); err != nil && ctx.Err() == nil {
		c.Log.Error("look for what a crash left behind", "error", err)
	}
	c.turn.end()
	begin := time.Now()
	next := func() time.Duration { return s.first(c.now(), min(c.Every, settle)-time.Since(begin)) }
	for {
		if !c.await(ctx, next) {
			return nil
		}
		began := c.now()
		_, err := c.collect(ctx, &pass{c: c, grace: c.Grace, yield: c.yield})
		if ctx.Err() != nil {
			return nil
		}
		next = func() time.Duration {
			now := c.now()
			return s.next(now, now.Sub(began))
		}
		if err == errMakeWay {
			next = func() time.Duration { return s.first(c.now(), 0) }
		} else if err != nil {
			c.Log.Error("collect garbage", "error", err)
		}
	}
}

// yield ends a collection that runs by itself when somebody waits for another, or
// when its window is over.
func (c *Collector) yield() error {
	if c.waiting.Load() > 0 || !c.Window.Contains(c.now()) {
		return errMakeWay
	}
	return nil
}

// await waits until next says that there is nothing left to wait for, and reports
// whether that came before the end of ctx.
func (c *Collector) await(ctx context.Context, next func() time.Duration) bool {
	for {
		left := next()
		c.board.expect(c.now().Add(left))
		if left <= 0 {
			return ctx.Err() == nil
		}
		t := time.NewTimer(min(left, glance))
		select {
		case <-ctx.Done():
			t.Stop()
			return false
		case <-t.C:
		}
	}
}
