// Package gc removes what nothing needs: uploads that nobody goes on with, blobs
// that no manifest of their repository refers to, and objects that no record
// names. It works in small steps, beside any traffic.
//
// What may go is decided by meta.Garbage, in the transaction that lets it go;
// this package only keeps asking, and deletes objects whose keys nobody can
// reach any more.
package gc

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"berth/internal/blob"
	"berth/internal/meta"
)

// tombstones are kept this long: no push takes longer from its first look at a
// blob to its manifest.
const tombstones = 7 * 24 * time.Hour

// A Collector collects garbage. Its fields must be set before use.
type Collector struct {
	Records    meta.Garbage
	Blobs      blob.Store
	Grace      time.Duration // how long what nothing needs is kept
	Delay      time.Duration // how long the records keep an object after that; see Request
	UploadIdle time.Duration // after which an upload is given up; 0 is never
	Steps      []Step        // what else is done, in this order, before blobs are looked at
	Log        *slog.Logger

	// What Run needs besides.
	Every  time.Duration    // between the beginnings of two collections
	Window Window           // when they may run
	Now    func() time.Time // the wall clock; nil means time.Now

	totals  totals
	board   board        // what Status shows
	turn    turn         // of the collection that runs
	waiting atomic.Int64 // how many wait for their turn

	deleting sync.Mutex // held while a batch of objects is looked up and deleted
	holds    int        // see Hold; guarded by deleting

	recovered time.Time // when leftovers were looked for last; guarded by turn
}

// A Step is a part of a collection.
type Step struct {
	Name string // what it does, for the log: "expire the trash"

	// Do does at most limit things of what there is to do now, and returns how
	// many; 0 when nothing is left. It may be repeated, and ended anywhere.
	Do func(ctx context.Context, limit int) (int, error)
}

// A Report says what a collection did.
type Report struct {
	Uploads int   `json:"uploads"` // given up
	Blobs   int   `json:"blobs"`   // that left their repository
	Objects int   `json:"objects"` // deleted from storage
	Bytes   int64 `json:"bytes"`   // that they took up
	Others  int   `json:"others"`  // things that the Steps did
}

// A Request says how one collection is to differ from others.
type Request struct {
	// Grace takes the place of the collector's. With 0 everything goes that
	// nothing needs right now. One that is shorter than Delay shortens that, too:
	// what waits to be deleted goes as soon.
	Grace time.Duration

	// Tell, if not nil, is called after every batch with what is being done and
	// how much of that has been. Its error ends the collection.
	Tell func(doing string, done int) error
}

// Collect does all that is due now. It may run at any time, beside any traffic;
// ended anywhere, the next one goes on. One runs at a time.
func (c *Collector) Collect(ctx context.Context) (Report, error) {
	return c.Ask(ctx, Request{Grace: c.Grace})
}

// Ask is Collect for somebody who waits for it: a collection that runs by itself
// makes way after its present batch.
func (c *Collector) Ask(ctx context.Context, r Request) (Report, error) {
	return c.collect(ctx, &pass{c: c, grace: r.Grace, tell: r.Tell})
}

// collect lets a pass have its turn, and writes down what it did.
func (c *Collector) collect(ctx context.Context, p *pass) (Report, error) {
	c.waiting.Add(1)
	err := c.turn.take(ctx)
	c.waiting.Add(-1)
	if err != nil {
		return Report{}, err
	}
	defer c.turn.end()
	run := Run{Began: c.now()}
	begin := time.Now()
	c.board.begin(run.Began)
	err = p.all(ctx)
	run.Report, run.Steps, run.Took = p.report, p.steps, time.Since(begin)
	run.Complete = err == nil
	if err != nil && !errors.Is(err, errMakeWay) {
		run.Error = err.Error()
		c.totals.failed.Add(1)
	}
	c.totals.add(run)
	c.board.end(run)
	if run.Report != (Report{}) {
		c.Log.Info("collected garbage", "uploads", run.Uploads, "blobs", run.Blobs, "objects", run.Objects,
			"bytes", run.Bytes, "others", run.Others, "took", run.Took.Round(time.Millisecond), "complete", run.Complete)
	}
	return run.Report, err
}

// A turn is had by one at a time.
type turn struct {
	once sync.Once
	c    chan struct{}
}

// take waits for the turn, or for the end of ctx.
func (t *turn) take(ctx context.Context) error {
	t.once.Do(func() { t.c = make(chan struct{}, 1) })
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case t.c <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t *turn) end() { <-t.c }

func (c *Collector) now() time.Time {
	if c.Now == nil {
		return time.Now()
	}
	return c.Now()
}

// Hold keeps every object that a record names now until release is called, which
// may be done more than once. Records of garbage are made meanwhile, and their
// objects wait. It is for whoever reads records first and objects later.
func (c *Collector) Hold() (release func()) {
	c.deleting.Lock()
	defer c.deleting.Unlock()
	c.holds++
	return sync.OnceFunc(func() {
		c.deleting.Lock()
		defer c.deleting.Unlock()
		c.holds--
	})
}
