package gc_test

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/blob/memblob"
	"berth/internal/gc"
)

// TestRunInWindow holds that nothing is collected outside the window, that a
// collection which runs out of it ends after a batch, and that the next day goes
// on with it.
func TestRunInWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const wanted = 5
		var done atomic.Int64
		work := gc.Step{Name: "work", Do: func(_ context.Context, limit int) (int, error) {
			if done.Load() == wanted {
				return 0, nil
			}
			time.Sleep(20 * time.Minute) // with as long a rest, at most a second
			done.Add(1)
			return 1, nil
		}}
		midnight := time.Now().UTC()
		c := &gc.Collector{
			Blobs: memblob.New(), Records: quiet{}, Steps: []gc.Step{work}, Log: slog.New(slog.DiscardHandler),
			Every: 24 * time.Hour, Window: gc.Window{From: 120, To: 180}, Now: func() time.Time { return time.Now().UTC() },
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- c.Run(ctx) }()
		at := func(d time.Duration, want int64, running bool) {
			t.Helper()
			time.Sleep(time.Until(midnight.Add(d)))
			synctest.Wait()
			if s := c.Status(); done.Load() != want || s.Running != running {
				t.Errorf("after %v: %d done, status %+v; want %d done, running %v", d, done.Load(), s, want, running)
			}
		}
		at(119*time.Minute, 0, false)
		if s := c.Status(); !s.Next.Equal(midnight.Add(2 * time.Hour)) {
			t.Errorf("the next one is at %v", s.Next)
		}
		at(150*time.Minute, 1, true)
		if s := c.Status(); s.Doing != "work" || !s.Since.Equal(midnight.Add(2*time.Hour)) {
			t.Errorf("while it works: %+v", s)
		}
		at(5*time.Hour, 3, false)
		if s := c.Status(); s.Last == nil || s.Last.Complete || s.Last.Error != "" || s.Last.Others != 3 || s.Last.Steps["work"] != 3 ||
			!s.Next.Equal(midnight.Add(26*time.Hour)) {
			t.Errorf("after the first night: %+v, %+v", s, s.Last)
		}
		at(48*time.Hour, 5, false)
		if s := c.Status(); !s.Last.Complete || s.Totals.Runs != 2 || s.Totals.Others != 5 {
			t.Errorf("after the second night: %+v, %+v", s, s.Last)
		}
		cancel()
		if err := <-ended; err != nil || !c.Status().Next.IsZero() {
			t.Errorf("got %v, want nil; %+v", err, c.Status())
		}
	})
}

// TestRunMakesWay holds that somebody who asks for a collection waits for no more
// than a batch of one that runs by itself, which then goes on.
func TestRunMakesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var done atomic.Int64
		work := gc.Step{Name: "work", Do: func(context.Context, int) (int, error) {
			if done.Load() == 1000 {
				return 0, nil
			}
			time.Sleep(time.Second)
			done.Add(1)
			return 1, nil
		}}
		c := &gc.Collector{Blobs: memblob.New(), Records: quiet{}, Steps: []gc.Step{work}, Log: slog.New(slog.DiscardHandler), Every: time.Hour}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go c.Run(ctx)
		time.Sleep(time.Minute)
		enough, before := errors.New("enough"), done.Load()
		asked := time.Now()
		var told []int
		_, err := c.Ask(ctx, gc.Request{Tell: func(doing string, n int) error {
			if doing != "work" {
				t.Errorf("told of %q", doing)
			}
			if told = append(told, n); n == 3 {
				return enough
			}
			return nil
		}})
		if !errors.Is(err, enough) || len(told) != 3 {
			t.Errorf("got %v, told %v", err, told)
		}
		if waited := done.Load() - before; time.Since(asked) > 6*time.Second || waited > 5 {
			t.Errorf("waited for %v and %d batches", time.Since(asked), waited)
		}
		time.Sleep(time.Hour)
		if done.Load() != 1000 || !c.Status().Last.Complete {
			t.Errorf("%d done, %+v", done.Load(), c.Status())
		}
	})
}

// TestStepsFail holds that a step that fails keeps none of the others from being
// done, and is told of.
func TestStepsFail(t *testing.T) {
	e := newEnv(t)
	broken := errors.New("broken")
	e.gc.Steps = []gc.Step{{Name: "the broken one", Do: func(context.Context, int) (int, error) { return 0, broken }}}
	e.push("loose")
	e.running += grace
	r, err := e.gc.Collect(t.Context())
	if !errors.Is(err, broken) || r.Blobs != 1 {
		t.Errorf("collected %+v, error %v", r, err)
	}
	if s := e.gc.Status(); s.Last.Error != "the broken one: broken" || s.Totals.Failed != 1 {
		t.Errorf("got %+v", s.Last)
	}
}
