package event

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// An Outbox is what a Dispatcher reads from; see meta.Outbox.
type Outbox interface {
	Events(ctx context.Context, after int64, limit int) ([]Event, error)
	Advance(ctx context.Context, reader string, seq int64) error
	EventNews() <-chan struct{}
}

// DispatcherOptions configure a Dispatcher. Outbox, Reader, Sink and Log must be
// set.
type DispatcherOptions struct {
	Outbox Outbox
	Reader string // whose cursor it is; it must be subscribed
	Cursor int64  // of the last event that was delivered, as Subscribe returned it
	Sink   Sink

	// Batch is how many events the sink gets at once, at most. Zero means 100.
	Batch int

	// Wants says which events the sink gets; nil means all of them.
	Wants func(Event) bool

	// Backoff says how long to wait after so many failures in a row, from 1 on.
	// Nil means one second more for each, up to a minute.
	Backoff func(failures int) time.Duration

	Log *slog.Logger
}

// A Dispatcher carries events to a Sink: at least once, in order, and going on
// after a restart where the cursor was saved last. It saves it after every
// delivery, so that what comes twice is at most what was being delivered when
// the process was killed.
type Dispatcher struct {
	o DispatcherOptions

	failures atomic.Int64 // in a row

	mu     sync.Mutex
	cursor int64
	turn   int           // counts the calls of Rewind
	wake   chan struct{} // receives a value when Rewind was called
}

// page is how many events are read at once.
const page = 100

// NewDispatcher returns a Dispatcher that does nothing before Run.
func NewDispatcher(o DispatcherOptions) *Dispatcher {
	if o.Batch == 0 {
		o.Batch = page
	}
	if o.Backoff == nil {
		o.Backoff = func(failures int) time.Duration { return min(time.Duration(failures)*time.Second, time.Minute) }
	}
	return &Dispatcher{o: o, cursor: o.Cursor, wake: make(chan struct{}, 1)}
}

// Cursor returns the Seq of the last event that was delivered or passed over.
func (d *Dispatcher) Cursor() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.cursor
}

// Failures is how many deliveries have failed since the last that did not.
func (d *Dispatcher) Failures() int64 { return d.failures.Load() }

// Rewind makes the event behind seq the next one, whatever was delivered
// already. It may be called while Run is running or when it isn't.
func (d *Dispatcher) Rewind(ctx context.Context, seq int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.o.Outbox.Advance(ctx, d.o.Reader, seq); err != nil {
		return err
	}
	d.cursor = seq
	d.turn++
	select {
	case d.wake <- struct{}{}:
	default: // it is woken already
	}
	return nil
}

// Run delivers events until ctx ends, and returns nil then. What is being
// delivered at that moment is broken off.
func (d *Dispatcher) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		news := d.o.Outbox.EventNews() // asked for first, so that nothing comes unseen in between
		more, err := d.pass(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			n := d.failures.Add(1)
			if n&(n-1) == 0 { // the first, the second, the fourth …: it may stay so for days
				d.o.Log.Warn("events could not be delivered, they will be tried again", "reader", d.o.Reader, "failures", n, "error", err)
			}
			d.wait(ctx, nil, d.o.Backoff(int(n)))
		case err == nil && !more:
			d.wait(ctx, news, 0)
		}
	}
	return nil
}

// wait returns when news comes, Rewind is called, pause is over, unless it is
// zero and there are news to wait for, or ctx ends.
func (d *Dispatcher) wait(ctx context.Context, news <-chan struct{}, pause time.Duration) {
	var over <-chan time.Time
	if news == nil {
		t := time.NewTimer(pause)
		defer t.Stop()
		over = t.C
	}
	select {
	case <-ctx.Done():
	case <-news:
	case <-d.wake:
	case <-over:
	}
}

// errRewound ends a pass because it goes on elsewhere.
var errRewound = errors.New("event: rewound")

// pass delivers one page of events, and reports whether there may be more.
func (d *Dispatcher) pass(ctx context.Context) (more bool, err error) {
	d.mu.Lock()
	cursor, turn := d.cursor, d.turn
	d.mu.Unlock()
	events, err := d.o.Outbox.Events(ctx, cursor, page)
	if err != nil || len(events) == 0 {
		return false, err
	}
	var batch []Event
	for i, e := range events {
		if d.o.Wants == nil || d.o.Wants(e) {
			batch = append(batch, e)
		}
		if len(batch) < d.o.Batch && i < len(events)-1 {
			continue
		}
		err := d.deliver(ctx, turn, batch, e.Seq)
		if errors.Is(err, errRewound) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		batch = nil
	}
	return true, nil
}

// deliver gives a batch to the sink and moves the cursor to seq, unless Rewind
// was called since turn.
func (d *Dispatcher) deliver(ctx context.Context, turn int, batch []Event, seq int64) error {
	if len(batch) > 0 {
		if err := d.o.Sink.Deliver(ctx, batch); err != nil {
			return err
		}
		if n := d.failures.Swap(0); n > 0 {
			d.o.Log.Info("events are delivered again", "reader", d.o.Reader, "failures", n)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.turn != turn {
		return errRewound
	}
	// Also when ctx has ended meanwhile: it need not be delivered again.
	if err := d.o.Outbox.Advance(context.WithoutCancel(ctx), d.o.Reader, seq); err != nil {
		return err
	}
	d.cursor = seq
	return nil
}
