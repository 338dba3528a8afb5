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
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"berth/internal/blob"
	"berth/internal/meta"
)

// batch is how many records one transaction looks at: small enough that no push
// notices it waiting.
const batch = 100

// tombstones are kept this long: no push takes longer from its first look at a
// blob to its manifest.
const tombstones = 7 * 24 * time.Hour

// A Collector collects garbage. Its fields must be set before use.
type Collector struct {
	Records    meta.Garbage
	Blobs      blob.Store
	Grace      time.Duration // how long what nothing needs is kept
	Delay      time.Duration // how long the records keep an object after that; see CollectAfter
	UploadIdle time.Duration // after which an upload is given up; 0 is never
	Steps      []Step        // what else is done, in this order, before blobs are looked at
	Log        *slog.Logger

	collected atomic.Int64
	running   sync.Mutex // held by the Collect that runs

	deleting sync.Mutex // held while a batch of objects is looked up and deleted
	holds    int        // see Hold; guarded by deleting
}

// A Step is a part of a collection.
type Step struct {
	Name string // what it does, for the log: "expire the trash"

	// Do does at most limit things of what there is to do now, and returns how
	// many; 0 when nothing is left. It may be repeated, and ended anywhere.
	Do func(ctx context.Context, limit int) (int, error)
}

// all does a step until nothing is left of it.
func (s Step) all(ctx context.Context) error {
	for {
		n, err := s.Do(ctx, batch)
		if err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
		if n == 0 {
			return nil
		}
	}
}

// A Report says what one Collect did.
type Report struct {
	Uploads int // uploads given up
	Blobs   int // blobs that left their repository
	Objects int // objects deleted from storage
}

// Collected is how many objects were deleted since the process began.
func (c *Collector) Collected() int64 { return c.collected.Load() }

// Collect does all that is due now. It may run at any time, beside any traffic;
// ended anywhere, the next one goes on. One runs at a time.
func (c *Collector) Collect(ctx context.Context) (Report, error) {
	return c.CollectAfter(ctx, c.Grace)
}

// CollectAfter is Collect with another grace. With 0 it ends everything that
// nothing needs right now. A grace that is shorter than Delay shortens that, too:
// what waits to be deleted goes as soon.
func (c *Collector) CollectAfter(ctx context.Context, grace time.Duration) (r Report, err error) {
	c.running.Lock()
	defer c.running.Unlock()
	for c.UploadIdle > 0 {
		n, err := c.Records.ExpireUploads(ctx, c.UploadIdle, batch)
		if r.Uploads += n; err != nil {
			return r, err
		}
		if n < batch {
			break
		}
	}
	for _, step := range c.Steps {
		if err := step.all(ctx); err != nil {
			return r, err
		}
	}
	for {
		looked, ended, err := c.Records.CollectBlobs(ctx, grace, batch)
		if r.Blobs += ended; err != nil {
			return r, err
		}
		if looked < batch {
			break
		}
	}
	if _, err := c.Records.ForgetLosses(ctx, tombstones, batch); err != nil {
		return r, err
	}
	return r, c.deleteObjects(ctx, max(c.Delay-grace, 0), &r)
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

// deleteObjects deletes the objects whose keys are condemned and due: the object
// first, its record after, so that a crash in between only repeats the deletion.
func (c *Collector) deleteObjects(ctx context.Context, ahead time.Duration, r *Report) error {
	for {
		n, err := c.deleteBatch(ctx, ahead)
		r.Objects += n
		c.collected.Add(int64(n))
		if err != nil || n == 0 {
			return err
		}
	}
}

// deleteBatch deletes some of the objects that are due, and none during a Hold:
// what is condemned after a Hold has begun is not seen before it has ended.
func (c *Collector) deleteBatch(ctx context.Context, ahead time.Duration) (int, error) {
	c.deleting.Lock()
	defer c.deleting.Unlock()
	if c.holds > 0 {
		return 0, nil
	}
	keys, err := c.Records.Condemned(ctx, ahead, batch)
	if err != nil || len(keys) == 0 {
		return 0, err
	}
	gone := make([]blob.Key, 0, len(keys))
	var failed error
	for _, key := range keys {
		if err := c.Blobs.Delete(ctx, key); err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		gone = append(gone, key)
	}
	if err := c.Records.Forget(ctx, gone); err != nil {
		return 0, err
	}
	return len(gone), failed
}

// Run looks once for what a crash left behind, then collects every so often
// until ctx ends. It returns nil then.
func (c *Collector) Run(ctx context.Context, every time.Duration) error {
	if r, ok := c.Blobs.(blob.Recoverer); ok {
		if err := r.Recover(ctx, c.Records.KnownKey); err != nil && ctx.Err() == nil {
			c.Log.Error("look for what a crash left behind", "error", err)
		}
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		r, err := c.Collect(ctx)
		if err != nil && ctx.Err() == nil {
			c.Log.Error("collect garbage", "error", err)
		}
		if r != (Report{}) {
			c.Log.Info("collected garbage", "uploads", r.Uploads, "blobs", r.Blobs, "objects", r.Objects)
		}
	}
}
