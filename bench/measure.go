package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A workload is something that is measured.
type workload struct {
	name    string
	unit    string // what is counted: requests, images, MiB
	store   string // in which it takes place; empty is one that is small
	clients int
	mode    mode
	long    bool  // only measured when asked for
	weight  int64 // how many units one call of do is; 0 means one
	longer  int   // for how many times as long it is measured as others; 0 means one
	large   bool  // what a pass has written is no longer in memory when the next begins
	rounds  int   // in which it is measured, at most; 0 means as many as there are

	// lacks are the contestants that have no such thing.
	lacks []string

	// needs is what lies in the store before.
	needs supply

	// again makes ready what do uses up, before each pass. most is how many
	// calls of do there are in a pass, 0 without a bound, and passes is how
	// many there are at most in a measurement, 0 being one.
	again        func(t *target, c *conn) error
	most, passes int

	// do is one operation, the n-th of the pass.
	do func(t *target, c *conn, n int) error

	// timed says whether the n-th operation counts for the time that one
	// takes; nil is all of them.
	timed func(n int) bool

	// after checks what must be so when all has been measured.
	after func(ctx context.Context, t *target, c *conn) error

	// special measures in another way than by calling do.
	special func(ctx context.Context, t *target) (result, error)
}

// A supply is what a store is made to have, once.
type supply struct {
	name string // empty is nothing
	make func(t *target, c *conn) (supplied, error)
}

// A result is one measurement.
type result struct {
	Rate    float64 `json:"rate"`   // units a second
	CPU     float64 `json:"cpu_us"` // of the server, microseconds per unit; 0 when it is not known
	P50     float64 `json:"p50_ms"` // of one operation
	P99     float64 `json:"p99_ms"`
	Samples int     `json:"samples"`           // that the two are of
	Memory  int64   `json:"peak_memory_bytes"` // of the server
}

// measure runs w on t for a time, after a tenth of it that does not count, in
// which every client does one operation at least.
func measure(ctx context.Context, w workload, t *target, d time.Duration) (result, error) {
	if w.special != nil {
		return w.special(ctx, t)
	}
	d *= time.Duration(max(1, w.longer))
	conns := make([]*conn, w.clients)
	for i := range conns {
		c, err := dial(t)
		if err != nil {
			return result{}, err
		}
		defer c.close()
		if err := c.net.SetDeadline(time.Now().Add(d*time.Duration(max(1, w.passes)) + patience)); err != nil {
			return result{}, err
		}
		conns[i] = c
	}
	var sum spell
	var cpu time.Duration
	for pass := 0; pass < max(1, w.passes) && sum.elapsed < d; pass++ {
		if w.again != nil {
			if err := w.again(t, conns[0]); err != nil {
				return result{}, fmt.Errorf("prepare %s: %w", w.name, err)
			}
		}
		if pass == 0 {
			warm, err := run(ctx, w, t, conns, spell{until: d / 10, most: w.most, verify: true})
			if err != nil {
				return result{}, err
			}
			sum.next = warm.next
			t.process.resetPeak()
		}
		before := t.process.cpu()
		s, err := run(ctx, w, t, conns, spell{until: d - sum.elapsed, most: w.most, next: sum.next})
		if err != nil {
			return result{}, err
		}
		cpu += t.process.cpu() - before
		if w.large && t.dir != "" {
			if err := forget(t.dir); err != nil {
				return result{}, err
			}
		}
		sum = spell{next: 0, done: sum.done + s.done, took: append(sum.took, s.took...), elapsed: sum.elapsed + s.elapsed}
	}
	if sum.done == 0 || len(sum.took) == 0 {
		return result{}, errors.New("nothing was done in the time")
	}
	return sum.result(w, t, cpu), nil
}

// result sums up what was done.
func (s spell) result(w workload, t *target, cpu time.Duration) result {
	units := float64(s.done) * float64(max(1, w.weight))
	return result{
		Rate: units / s.elapsed.Seconds(), CPU: float64(cpu.Nanoseconds()) / 1000 / units,
		P50: quantile(s.took, 0.5), P99: quantile(s.took, 0.99), Samples: len(s.took), Memory: t.process.memory("VmHWM"),
	}
}

// A spell is some time in which all clients work.
type spell struct {
	until  time.Duration
	most   int  // calls, with those before; 0 is without a bound
	verify bool // the first operation of each client, which is the only one if there is a bound

	next    int // number of a call
	done    int
	took    []time.Duration
	elapsed time.Duration
}

// run has all clients do w until the time is over.
func run(ctx context.Context, w workload, t *target, conns []*conn, s spell) (spell, error) {
	var next atomic.Int64
	next.Store(int64(s.next))
	var over atomic.Bool
	defer context.AfterFunc(ctx, func() { over.Store(true) })()
	defer time.AfterFunc(s.until, func() { over.Store(true) }).Stop()
	var mu sync.Mutex
	var failed error
	var group sync.WaitGroup
	began := time.Now()
	for _, c := range conns {
		group.Go(func() {
			done, took, err := work(w, t, c, &next, int64(s.most), s.verify, &over)
			mu.Lock()
			defer mu.Unlock()
			s.done += done
			s.took = append(s.took, took...)
			if err != nil && failed == nil {
				failed = err
				over.Store(true)
			}
		})
	}
	group.Wait()
	s.elapsed = time.Since(began)
	s.next = int(next.Load())
	if failed == nil {
		failed = ctx.Err()
	}
	return s, failed
}

// work is what one client does: one operation at least, if there are any left.
func work(w workload, t *target, c *conn, next *atomic.Int64, most int64, verify bool, over *atomic.Bool) (done int, took []time.Duration, err error) {
	for first := true; first || !over.Load(); first = false {
		if verify && !first && most > 0 {
			break
		}
		n := next.Add(1) - 1
		if most > 0 && n >= most {
			next.Add(-1)
			break
		}
		began := time.Now()
		c.verify = verify && first
		err = w.do(t, c, int(n))
		c.verify = false
		if err != nil {
			return done, took, err
		}
		if done++; w.timed == nil || w.timed(int(n)) {
			took = append(took, time.Since(began))
		}
	}
	return done, took, nil
}

// quantile is in milliseconds.
func quantile(list []time.Duration, q float64) float64 {
	slices.Sort(list)
	return float64(list[min(len(list)-1, int(q*float64(len(list))))].Nanoseconds()) / 1e6
}

// median of numbers, and how far from it they lie, as a part of it.
func median(list []float64) (mid, spread float64) {
	if len(list) == 0 {
		return 0, 0
	}
	sorted := slices.Sorted(slices.Values(list))
	mid = sorted[len(sorted)/2]
	if len(sorted)%2 == 0 {
		mid = (mid + sorted[len(sorted)/2-1]) / 2
	}
	if mid > 0 {
		spread = (sorted[len(sorted)-1] - sorted[0]) / mid
	}
	return mid, spread
}
