package gc

import (
	"fmt"
	"testing"
	"time"
)

// moment reads a time of 2026 in a zone.
func moment(t *testing.T, zone, text string) time.Time {
	t.Helper()
	l, err := time.LoadLocation(zone)
	if err != nil {
		t.Skipf("this machine knows no time zones: %v", err)
	}
	at, err := time.ParseInLocation("2006-01-02 15:04", "2026-"+text, l)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func TestWindow(t *testing.T) {
	night, late, always := Window{120, 300}, Window{23 * 60, 60}, Window{}
	for _, tt := range []struct {
		window Window
		at     string
		open   bool
	}{
		{night, "01-05 01:59", false},
		{night, "01-05 02:00", true},
		{night, "01-05 04:59", true},
		{night, "01-05 05:00", false},
		{late, "01-05 22:59", false},
		{late, "01-05 23:00", true},
		{late, "01-06 00:59", true},
		{late, "01-06 01:00", false},
		{always, "01-05 12:00", true},
	} {
		if got := tt.window.Contains(moment(t, "UTC", tt.at)); got != tt.open {
			t.Errorf("%v contains %s: %v, want %v", tt.window, tt.at, got, tt.open)
		}
	}
}

// TestSchedule follows collections through days and nights, and through the days
// on which Berlin's clocks are put forward (from 02:00 to 03:00 on March 29) and
// back (from 03:00 to 02:00 on October 25).
func TestSchedule(t *testing.T) {
	const hour = time.Hour
	night, late, lost, twice := Window{120, 300}, Window{23 * 60, 60}, Window{120, 180}, Window{120, 150}
	for _, tt := range []struct {
		name   string
		every  time.Duration
		window Window
		began  string // the last one
		now    string
		want   string
	}{
		{"always", 6 * hour, Window{}, "01-05 12:00", "01-05 13:00", "01-05 18:00"},
		{"always, overdue", 6 * hour, Window{}, "01-05 12:00", "01-06 13:00", "01-06 13:00"},
		{"again in the window", hour, night, "01-05 02:30", "01-05 02:31", "01-05 03:30"},
		{"the window is over by then", hour, night, "01-05 04:30", "01-05 04:31", "01-06 02:00"},
		{"a minute before its end", time.Minute, night, "01-05 04:58", "01-05 04:58", "01-05 04:59"},
		{"daily", 24 * hour, night, "01-05 02:00", "01-05 02:10", "01-06 02:00"},
		{"daily, late yesterday", 24 * hour, night, "01-05 04:40", "01-05 04:45", "01-06 02:00"},
		{"every other day", 48 * hour, night, "01-05 02:00", "01-05 02:10", "01-07 02:00"},
		{"every month", 30 * 24 * hour, night, "01-05 02:00", "01-05 02:10", "02-04 02:00"},
		{"more often than the window", 12 * hour, night, "01-05 02:00", "01-05 02:10", "01-06 02:00"},
		{"across midnight", hour, late, "01-05 23:30", "01-05 23:31", "01-06 00:30"},
		{"across midnight, over by then", hour, late, "01-06 00:30", "01-06 00:31", "01-06 23:00"},
		{"during the day, overdue", hour, night, "01-01 02:00", "01-05 12:00", "01-06 02:00"},
		{"in the window, overdue", hour, night, "01-01 02:00", "01-05 03:07", "01-05 03:07"},
		{"forward: the hour that there isn't", 24 * hour, lost, "03-28 02:00", "03-28 02:10", "03-30 02:00"},
		{"forward: what is left of the window", 24 * hour, night, "03-28 02:00", "03-28 02:10", "03-29 03:00"},
		{"forward: the day after", 24 * hour, night, "03-29 03:00", "03-29 03:10", "03-30 02:00"},
		{"forward: only the end of the window is left", 24 * hour, Window{90, 185}, "03-28 01:30", "03-28 01:31", "03-29 01:30"},
		{"back", 24 * hour, night, "10-24 02:00", "10-24 02:10", "10-25 02:00"},
		{"back: the day after", 24 * hour, twice, "10-25 02:00", "10-25 02:31", "10-26 02:00"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const zone = "Europe/Berlin"
			now, s := moment(t, zone, tt.now), schedule{every: tt.every, window: tt.window}
			got := now.Add(s.next(now, now.Sub(moment(t, zone, tt.began))))
			if got := got.Format("01-02 15:04"); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// TestScheduleFirst holds that the first collection, and one that goes on, waits
// for the window and for nothing else.
func TestScheduleFirst(t *testing.T) {
	night := Window{120, 300}
	for _, tt := range []struct {
		window Window
		now    string
		want   string
	}{
		{Window{}, "01-05 12:00", "01-05 12:01"},
		{night, "01-05 03:00", "01-05 03:01"},
		{night, "01-05 04:59", "01-06 02:00"},
		{night, "01-05 01:59", "01-05 02:00"},
		{night, "01-05 12:00", "01-06 02:00"},
	} {
		now, s := moment(t, "UTC", tt.now), schedule{every: time.Hour, window: tt.window}
		if got, want := now.Add(s.first(now, time.Minute)), moment(t, "UTC", tt.want); !got.Equal(want) {
			t.Errorf("%v at %s: got %v, want %v", tt.window, tt.now, got, want)
		}
	}
}

// TestScheduleJumps holds that a clock that has jumped puts nothing off, and that
// for any time and window there is a next one, which is inside it.
func TestScheduleJumps(t *testing.T) {
	now := moment(t, "Europe/Berlin", "03-29 01:59")
	for _, window := range []Window{{}, {0, 1}, {1439, 0}, {119, 120}, {120, 121}, {180, 181}, {1438, 1437}} {
		for _, ago := range []time.Duration{-10 * 365 * 24 * time.Hour, -1, 0, time.Second, 10 * 365 * 24 * time.Hour} {
			for _, every := range []time.Duration{time.Second, time.Hour, 25 * time.Hour, 100 * 24 * time.Hour} {
				s := schedule{every: every, window: window}
				what := fmt.Sprintf("window %v, every %v, %v ago", window, every, ago)
				wait := s.next(now, ago)
				if wait < 0 || !window.Contains(now.Add(wait)) {
					t.Errorf("%s: waits %v, until the window is not open", what, wait)
				}
				if late := wait - max(every-ago, 0); ago < 0 && wait > 49*time.Hour || ago >= 0 && late > 49*time.Hour {
					t.Errorf("%s: waits %v", what, wait)
				}
			}
		}
	}
}

// TestPace holds that a batch gets smaller when it takes long, larger when it
// does not, and stays within bounds.
func TestPace(t *testing.T) {
	p := newPace()
	for _, step := range []struct {
		took  time.Duration
		limit int
	}{
		{time.Second, firstBatch / 2}, {time.Hour, leastBatch}, {time.Hour, leastBatch}, {target, leastBatch},
		{0, 2 * leastBatch}, {0, 4 * leastBatch}, {target / 2, 4 * leastBatch},
	} {
		p.took(step.took)
		if p.limit != step.limit {
			t.Errorf("after %v: limit %d, want %d", step.took, p.limit, step.limit)
		}
	}
	for range 20 {
		p.took(0)
	}
	if p.limit != mostBatch {
		t.Errorf("at last: limit %d, want %d", p.limit, mostBatch)
	}
}
