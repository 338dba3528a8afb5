package gc

import "time"

// A Window is a time of the day, by the clock on the wall: from minute From after
// midnight up to minute To. It spans midnight when To is less than From, and is
// always when both are the same.
//
// On the day on which clocks are put forward or back it is what the clock shows:
// an hour that there isn't is left out, one that there is twice counts twice.
type Window struct{ From, To int }

// Contains reports whether the window is open at t, in the zone that t has.
func (w Window) Contains(t time.Time) bool {
	m := t.Hour()*60 + t.Minute()
	switch {
	case w.From == w.To:
		return true
	case w.From < w.To:
		return w.From <= m && m < w.To
	}
	return m >= w.From || m < w.To
}

// around returns the bounds of the window that is open at t, or else of the next
// one. It must not be one that is always open.
func (w Window) around(t time.Time) (open, end time.Time) {
	open = t
	for !w.Contains(open) {
		open = open.Truncate(time.Minute).Add(time.Minute)
	}
	for prev := open.Truncate(time.Minute); w.Contains(prev); prev = prev.Add(-time.Minute) {
		open = prev
	}
	end = open
	for w.Contains(end) {
		end = end.Add(time.Minute)
	}
	return open, end
}

// A schedule says when collections begin.
type schedule struct {
	every  time.Duration
	window Window
}

// early is by how much a collection may begin too early when the window would
// otherwise be over: with a daily window and `every: 24h`, the day on which clocks
// are put forward is not to be left out.
const early = time.Hour

// first returns how long to wait, at now, for a collection that is to begin in
// left, or is overdue.
func (s schedule) first(now time.Time, left time.Duration) time.Duration {
	due := now.Add(max(left, 0))
	if s.window.From == s.window.To || s.window.Contains(due) {
		return due.Sub(now)
	}
	open, _ := s.window.around(due)
	return open.Sub(now)
}

// next returns how long to wait, at now, for the collection after one that began
// ago before. What is behind in time counts as long ago: the clock has jumped.
func (s schedule) next(now time.Time, ago time.Duration) time.Duration {
	if ago < 0 {
		ago = s.every
	}
	left := s.every - ago
	if s.window.From == s.window.To {
		return max(left, 0)
	}
	began, due := now.Add(-ago), now.Add(max(left, 0))
	from := now
	if skip := due.Add(-25 * time.Hour); skip.After(now) {
		from = skip // no window before that could be the one
	}
	for {
		open, end := s.window.around(from)
		switch ran := !began.Before(open); {
		case ran && due.Before(end):
			return due.Sub(now)
		case !ran && due.Before(end.Add(early)):
			return max(open.Sub(now), 0)
		}
		from = end
	}
}
