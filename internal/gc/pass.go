package gc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"berth/internal/blob"
)

// A pass is one collection, from the uploads to the objects. Whatever fails, the
// rest is done all the same: a full disk shall not stay full because something
// else is wrong.
type pass struct {
	c     *Collector
	grace time.Duration
	tell  func(doing string, done int) error // nil: nobody waits for it

	// yield, if not nil, is asked between two batches whether to end here.
	yield func() error

	report Report
	steps  map[string]int // what each step did, if it did anything
}

// errMakeWay ends a pass that is to go on later.
var errMakeWay = errors.New("collection goes on later")

// list returns what a pass consists of. What one step lets go of, a later one
// takes away.
func (p *pass) list() []Step {
	c := p.c
	steps := make([]Step, 0, len(c.Steps)+5)
	if c.UploadIdle > 0 {
		steps = append(steps, Step{"give up idle uploads", func(ctx context.Context, limit int) (int, error) {
			n, err := c.Records.ExpireUploads(ctx, c.UploadIdle, limit)
			p.report.Uploads += n
			return n, err
		}})
	}
	for _, s := range c.Steps {
		steps = append(steps, Step{s.Name, func(ctx context.Context, limit int) (int, error) {
			n, err := s.Do(ctx, limit)
			p.report.Others += n
			return n, err
		}})
	}
	return append(steps,
		Step{"look at blobs that may be needless", func(ctx context.Context, limit int) (int, error) {
			looked, ended, err := c.Records.CollectBlobs(ctx, p.grace, limit)
			p.report.Blobs += ended
			return looked, err
		}},
		Step{"forget what was lost long ago", func(ctx context.Context, limit int) (int, error) {
			return c.Records.ForgetLosses(ctx, tombstones, limit)
		}},
		Step{"delete objects", p.deleteObjects},
		Step{"look for what crashes left behind", c.recover},
	)
}

// all does every step.
func (p *pass) all(ctx context.Context) error {
	p.steps = map[string]int{}
	var failed error
	for _, s := range p.list() {
		err := p.do(ctx, s)
		switch {
		case err == nil:
		case ctx.Err() != nil, errors.Is(err, errMakeWay):
			return err
		default:
			failed = errors.Join(failed, fmt.Errorf("%s: %w", s.Name, err))
		}
	}
	return failed
}

// do does a step until nothing is left of it.
func (p *pass) do(ctx context.Context, s Step) error {
	pace := newPace()
	p.c.board.doing(s.Name)
	for {
		begin := time.Now()
		n, err := s.Do(ctx, pace.limit)
		if n > 0 {
			p.steps[s.Name] += n
		}
		if err != nil || n == 0 {
			return err
		}
		took := time.Since(begin)
		pace.took(took)
		if err := p.between(ctx, s.Name, took); err != nil {
			return err
		}
	}
}

// between is what a pass does between two batches, the last of which took some
// time. One that nobody waits for rests as long as it worked, so that it never
// takes more than half of what the disk can do.
func (p *pass) between(ctx context.Context, doing string, took time.Duration) error {
	if p.tell != nil {
		if err := p.tell(doing, p.steps[doing]); err != nil {
			return err
		}
	}
	if p.yield == nil {
		return ctx.Err()
	}
	rest := time.NewTimer(min(took, time.Second))
	defer rest.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-rest.C:
		return p.yield()
	}
}

// A pace finds out how much may be done in one batch. While a batch is being
// done nobody else writes records, so it has to be short; and every one waits for
// the disk, so it should not be too short.
type pace struct{ limit int }

// The bounds of a batch. The least is what even a slow disk does in no time,
// compared with the wait for it to sync; longer than the target nobody's push is
// to wait.
const (
	leastBatch = 32
	firstBatch = 128
	mostBatch  = 1024
	target     = 25 * time.Millisecond
)

func newPace() *pace { return &pace{firstBatch} }

// took notes how long the last batch took.
func (p *pace) took(d time.Duration) {
	switch {
	case d > target:
		p.limit = max(p.limit/2, leastBatch)
	case d < target/4:
		p.limit = min(p.limit*2, mostBatch)
	}
}

// deleteObjects deletes some of the objects whose keys are condemned and due: the
// object first, its record after, so that a crash in between only repeats the
// deletion. During a Hold it deletes none: what is condemned after a Hold has
// begun is not seen before it has ended.
func (p *pass) deleteObjects(ctx context.Context, limit int) (int, error) {
	c := p.c
	c.deleting.Lock()
	defer c.deleting.Unlock()
	if c.holds > 0 {
		return 0, nil
	}
	ahead := max(c.Delay-p.grace, 0)
	if p.grace <= 0 {
		ahead = forEver // a kill may have set the clock back
	}
	keys, err := c.Records.Condemned(ctx, ahead, limit)
	if err != nil || len(keys) == 0 {
		return 0, err
	}
	gone := make([]blob.Key, 0, len(keys))
	var failed error
	var freed int64
	for _, key := range keys {
		size := c.size(ctx, key)
		if err := c.Blobs.Delete(ctx, key); err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		freed += size
		gone = append(gone, key)
	}
	if err := c.Records.Forget(ctx, gone); err != nil {
		return 0, errors.Join(failed, err)
	}
	p.report.Objects += len(gone)
	p.report.Bytes += freed
	return len(gone), failed
}

// size returns how many bytes an object takes up, 0 if that is not known.
func (c *Collector) size(ctx context.Context, key blob.Key) int64 {
	s, ok := c.Blobs.(blob.Sizer)
	if !ok {
		return 0
	}
	n, err := s.Size(ctx, key)
	if err != nil {
		return 0
	}
	return n
}

// recoverEvery is how often it is looked for what crashes, and calls that failed,
// have left behind. It costs a look at each unfinished upload.
const recoverEvery = 6 * time.Hour

// recover is a step that looks for leftovers, the first time and every now and
// then.
func (c *Collector) recover(ctx context.Context, _ int) (int, error) {
	r, ok := c.Blobs.(blob.Recoverer)
	if !ok || !c.recovered.IsZero() && time.Since(c.recovered) < recoverEvery {
		return 0, nil
	}
	c.deleting.Lock()
	defer c.deleting.Unlock()
	if c.holds > 0 {
		return 0, nil
	}
	if err := r.Recover(ctx, c.Records.KnownKey); err != nil {
		return 0, err
	}
	c.recovered = time.Now()
	return 0, nil
}
