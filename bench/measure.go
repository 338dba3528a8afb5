package main

import (
	"context"
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
	clients int
	mode    mode
	long    bool  // only measured when asked for
	costs   int   // how much it takes to prepare, in records
	weight  int64 // how many units one call of do is; 0 means one

	// most is how many calls there are at most in one measurement, 0 without
	// a bound: what uses up what was prepared has one.
	most int

	// prepare makes ready what do needs, once for each target.
	prepare func(t *target, c *conn) error

	// again makes ready what do uses up, before each measurement.
	again func(t *target, c *conn) error

	// do is one operation, the n-th of all of the measurement.
	do func(t *target, c *conn, n int) error
}

// few is how many records can be prepared in no time.
const few = 100

// A result is one measurement.
type result struct {
	Rate   float64 `json:"rate"`   // units a second
	CPU    float64 `json:"cpu_us"` // of the server, microseconds per unit; 0 when it is not known
	P50    float64 `json:"p50_ms"` // of one operation
	P99    float64 `json:"p99_ms"`
	Memory int64   `json:"peak_memory_bytes"` // of the server
}

// measure runs w on t for a time.
func measure(ctx context.Context, w workload, t *target, d time.Duration) (result, error) {
	conns := make([]*conn, w.clients)
	for i := range conns {
		c, err := dial(t)
		if err != nil {
			return result{}, err
		}
		defer c.close()
		conns[i] = c
	}
	if w.again != nil {
		if err := w.again(t, conns[0]); err != nil {
			return result{}, fmt.Errorf("prepare %s: %w", w.name, err)
		}
	}
	t.process.resetPeak()
	before, _ := t.process.cpu()
	began := time.Now()
	took, err := run(ctx, w, t, conns, d)
	elapsed := time.Since(began)
	if err != nil {
		return result{}, err
	}
	after, _ := t.process.cpu()
	units := float64(len(took)) * float64(max(1, w.weight))
	r := result{
		Rate: units / elapsed.Seconds(), P50: quantile(took, 0.5), P99: quantile(took, 0.99),
		Memory: t.process.memory("VmHWM"),
	}
	if t.process.pid != 0 {
		r.CPU = float64((after - before).Microseconds()) / units
	}
	return r, nil
}

// run has all clients do w until the time is over, and returns how long each
// operation took.
func run(ctx context.Context, w workload, t *target, conns []*conn, d time.Duration) ([]time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	var next atomic.Int64
	var mu sync.Mutex
	var all []time.Duration
	var failed error
	var group sync.WaitGroup
	for _, c := range conns {
		group.Go(func() {
			var mine []time.Duration
			var err error
			for ctx.Err() == nil && err == nil {
				n := int(next.Add(1) - 1)
				if w.most > 0 && n >= w.most {
					break
				}
				began := time.Now()
				if err = w.do(t, c, n); err == nil {
					mine = append(mine, time.Since(began))
				}
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, mine...)
			if err != nil && failed == nil {
				failed = err
				cancel()
			}
		})
	}
	group.Wait()
	if failed == nil && len(all) == 0 {
		failed = fmt.Errorf("%s: nothing was done in %s", w.name, d)
	}
	return all, failed
}

// quantile is in milliseconds.
func quantile(list []time.Duration, q float64) float64 {
	slices.Sort(list)
	return float64(list[min(len(list)-1, int(q*float64(len(list))))].Microseconds()) / 1000
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
