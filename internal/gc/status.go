package gc

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

// A Run is a collection that has ended.
type Run struct {
	Report
	Began    time.Time      `json:"began"`
	Took     time.Duration  `json:"took"`            // nanoseconds
	Steps    map[string]int `json:"steps,omitempty"` // what each step did, if it did anything
	Complete bool           `json:"complete"`        // false: the next one goes on where it ended
	Error    string         `json:"error,omitempty"` // what went wrong
}

// A Status says what a Collector does.
type Status struct {
	Running bool      `json:"running"`
	Doing   string    `json:"doing,omitempty"` // if it is running: the step
	Since   time.Time `json:"since,omitzero"`  // if it is running: when it began
	Last    *Run      `json:"last,omitempty"`  // since the process began
	Next    time.Time `json:"next,omitzero"`   // when the next one is to begin; zero if none is
	Totals  Totals    `json:"totals"`
}

// Totals sum up all collections since the process began.
type Totals struct {
	Runs   int64 `json:"runs"`
	Failed int64 `json:"failed"`
	Report
}

// Status says what the collector does. It never waits for a collection.
func (c *Collector) Status() Status {
	s := c.board.show()
	s.Totals = c.totals.show()
	return s
}

// Collected is how many objects were deleted since the process began.
func (c *Collector) Collected() int64 { return c.totals.objects.Load() }

// totals count.
type totals struct {
	runs, failed, uploads, blobs, objects, bytes, others atomic.Int64
}

func (t *totals) add(r Run) {
	t.runs.Add(1)
	t.uploads.Add(int64(r.Uploads))
	t.blobs.Add(int64(r.Blobs))
	t.objects.Add(int64(r.Objects))
	t.bytes.Add(r.Bytes)
	t.others.Add(int64(r.Others))
}

func (t *totals) show() Totals {
	return Totals{Runs: t.runs.Load(), Failed: t.failed.Load(), Report: Report{
		Uploads: int(t.uploads.Load()), Blobs: int(t.blobs.Load()), Objects: int(t.objects.Load()),
		Bytes: t.bytes.Load(), Others: int(t.others.Load()),
	}}
}

// A board is where a collection writes what it does.
type board struct {
	mu     sync.Mutex
	status Status
}

func (b *board) change(f func(*Status)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f(&b.status)
}

func (b *board) begin(at time.Time) {
	b.change(func(s *Status) { s.Running, s.Since, s.Doing = true, at, "" })
}

func (b *board) doing(step string) { b.change(func(s *Status) { s.Doing = step }) }

func (b *board) expect(next time.Time) { b.change(func(s *Status) { s.Next = next }) }

func (b *board) end(r Run) {
	b.change(func(s *Status) { s.Running, s.Since, s.Doing, s.Last = false, time.Time{}, "", &r })
}

func (b *board) show() Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.status
	if s.Last != nil {
		last := *s.Last
		last.Steps = maps.Clone(last.Steps)
		s.Last = &last
	}
	return s
}
