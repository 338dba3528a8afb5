package retention

import "time"

// A Clock tells the time by which things grow old. While the process runs that is
// never ahead of how long it has run: a clock that is set forward makes nothing
// look old before the next start. Obtain one from NewClock.
type Clock struct {
	now     func() time.Time     // the wall clock
	running func() time.Duration // the monotonic one
	began   time.Time
	since   time.Duration
}

// NewClock returns a clock that begins at what now says. running tells how long
// something has been running, and never goes back; nil means the process.
func NewClock(now func() time.Time, running func() time.Duration) *Clock {
	if running == nil {
		start := time.Now() // carries the monotonic clock
		running = func() time.Duration { return time.Since(start) }
	}
	return &Clock{now: now, running: running, began: now(), since: running()}
}

// Time is the time by which things are old.
func (c *Clock) Time() time.Time {
	steady := c.began.Add(c.Running())
	if now := c.now(); now.Before(steady) {
		return now
	}
	return steady
}

// Running is how long there has been this clock.
func (c *Clock) Running() time.Duration { return c.running() - c.since }
