package registry

import (
	"context"
	"encoding"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"
	"time"

	"berth/internal/blob"
	"berth/internal/oci"
)

// pipeFrom is how many bytes must have come before it is worth three goroutines
// to read, store and hash the next ones at the same time.
const pipeFrom = 256 << 10

// An appender adds to the bytes of one upload. They are written while the turn is
// held, and recorded where the hash is of just those that were.
type appender struct {
	u    *upload
	t    *turn
	w    blob.Writer
	h    hash.Hash
	size int64 // bytes written so far; the hash may be of fewer or more while a ring is drained
}

// Append implements Upload.
func (u *upload) Append(ctx context.Context, offset int64, r io.Reader) error {
	a, err := u.receive(ctx, offset, r)
	if err != nil {
		return err
	}
	defer a.close()
	return u.giveUpIfFull(ctx, a.t, a.checkpoint(ctx))
}

// Finish implements Upload. What came is not recorded in between, but only if
// something goes wrong with it: the record ends with the upload.
func (u *upload) Finish(ctx context.Context, offset int64, r io.Reader, d oci.Digest) error {
	a, err := u.receive(ctx, offset, r)
	if err != nil {
		return err
	}
	defer a.close()
	ctx = context.WithoutCancel(ctx)
	if err := a.t.hold(); err != nil {
		return err
	}
	done, err := u.commitKnown(ctx, d, a.h, a.size)
	if !done && err == nil {
		err = a.commit(ctx, d)
	}
	if err != nil && !u.ended {
		err = errors.Join(err, a.checkpoint(ctx))
	}
	return err
}

// receive takes the turn and stores what r gives. The appender, which the caller
// is to close, has it all, and did not record the last of it; on an error there
// is none, and what came is recorded.
func (u *upload) receive(ctx context.Context, offset int64, r io.Reader) (*appender, error) {
	interrupt := func() {}
	if i, ok := r.(Interrupter); ok {
		interrupt = i.Interrupt
	}
	t, err := u.take(ctx, offset, interrupt)
	if err != nil {
		return nil, err
	}
	a, err := u.open(ctx, t)
	if err != nil {
		t.release()
		return nil, err
	}
	whole := false // also when r panics
	defer func() {
		if !whole {
			a.close()
		}
	}()
	if err := a.run(ctx, r); err != nil {
		return nil, err
	}
	whole = true
	return a, nil
}

// close gives up the object and the turn.
func (a *appender) close() {
	a.w.Close()
	a.t.release()
}

// run stores what r gives until it ends, with a checkpoint now and then, and one
// at the end if that is an error of r.
func (a *appender) run(ctx context.Context, r io.Reader) error {
	buf := a.u.c.memory.buffer()
	defer func() { a.u.c.memory.returnBuffer(buf) }()
	stop := func() {}
	defer func() { stop() }()
	for begun, came := false, 0; ; begun = true {
		n, err := r.Read(*buf)
		if n > 0 {
			if werr := a.write(ctx, (*buf)[:n]); werr != nil {
				return a.u.giveUpIfFull(ctx, a.t, werr)
			}
		}
		if err != nil {
			return a.recordCut(ctx, err)
		}
		if !begun { // and not ended: it may stall
			stop = every(a.u.c.CheckpointEvery, func() { _ = a.checkpoint(ctx) })
		}
		if came += n; came < pipeFrom {
			continue
		}
		if q := a.u.c.memory.tryRing(); q != nil {
			stop()
			stop = func() {}
			return a.pipe(ctx, q, r)
		}
		came = 0 // perhaps later
	}
}

// pipe does what run does, but reads, stores and hashes at the same time.
func (a *appender) pipe(ctx context.Context, q *ring, r io.Reader) error {
	stored := make(chan error, 1)
	go func() { stored <- a.drain(ctx, q) }()
	var rerr, werr error
	func() {
		stop := every(a.u.c.CheckpointEvery, q.flush)
		defer func() { // also when r panics
			stop()
			q.end()
			werr = <-stored
		}()
		rerr = q.fill(r)
	}()
	a.u.c.memory.returnRing(q)
	if werr != nil {
		return errors.Join(a.u.giveUpIfFull(ctx, a.t, werr), rerr)
	}
	if rerr != nil {
		return a.recordCut(ctx, rerr)
	}
	return nil
}

// drain stores and hashes what comes through q until it ends. On an error the
// hash may be of other bytes than those stored, and nothing may be saved any more.
func (a *appender) drain(ctx context.Context, q *ring) error {
	var hashed sync.WaitGroup
	hashed.Go(func() {
		for p, _ := q.next(hashing); len(p) > 0; p, _ = q.next(hashing) {
			a.h.Write(p) // never fails
			q.done(hashing, len(p))
		}
	})
	defer hashed.Wait()
	for {
		p, flushed := q.next(storing)
		if len(p) == 0 && !flushed {
			return nil
		}
		due := false
		err := a.t.do(func() (err error) {
			err = a.store(ctx, p)
			due = a.isDue()
			return err
		})
		if err != nil {
			q.fail()
			return err
		}
		q.done(storing, len(p))
		switch {
		case flushed && q.level():
			_ = a.checkpoint(ctx) // as in run: what is wrong with it will be wrong with the next
			q.resume()
		case due:
			q.flush()
		}
	}
}

// recordCut records what came before err, which ended r: nothing if that was
// its end.
func (a *appender) recordCut(ctx context.Context, err error) error {
	if err == io.EOF {
		return nil
	}
	return errors.Join(fmt.Errorf("read upload: %w", err), a.checkpoint(ctx))
}

// every calls f every so often, until stop is called: a client that stalls may
// never come back, and the process may end meanwhile. What goes wrong with f
// will go wrong with the next checkpoint, which run makes itself. When stop
// returns f is not running, and it never will again.
//
// It is a timer and no goroutine: nearly all transfers end before the first time.
func every(interval time.Duration, f func()) (stop func()) {
	var mu sync.Mutex // held while f runs
	var timer *time.Timer
	stopped := false
	mu.Lock()
	defer mu.Unlock()
	timer = time.AfterFunc(interval, func() {
		mu.Lock()
		defer mu.Unlock()
		if !stopped {
			f()
			timer.Reset(interval)
		}
	})
	return func() {
		timer.Stop()
		mu.Lock()
		defer mu.Unlock()
		stopped = true
		timer.Stop() // what began before may have set it again
	}
}

// write stores and hashes p, and records that if enough has come since the last time.
func (a *appender) write(ctx context.Context, p []byte) error {
	return a.t.do(func() error {
		if err := a.store(ctx, p); err != nil {
			return err
		}
		a.h.Write(p) // never fails
		if !a.isDue() {
			return nil
		}
		return a.save(ctx)
	})
}

// store writes p to the object. The caller holds the turn.
func (a *appender) store(ctx context.Context, p []byte) error {
	if limit := a.u.c.MaxUpload; limit > 0 && a.size+int64(len(p)) > limit {
		return a.u.drop(ctx, &oci.Error{Code: oci.SizeInvalid, Message: fmt.Sprintf("blobs are limited to %d bytes in this registry", limit)})
	}
	if _, err := a.w.Write(p); err != nil {
		return err
	}
	a.size += int64(len(p))
	return nil
}

// isDue reports whether enough was stored since the last checkpoint for another
// one. The caller holds the turn.
func (a *appender) isDue() bool { return a.size-a.u.rec.Size >= a.u.c.CheckpointBytes }

// checkpoint saves what was written since the last one.
func (a *appender) checkpoint(ctx context.Context) error {
	return a.t.do(func() error { return a.save(ctx) })
}

// save records size, hash and state in one step, all three of the same bytes. The
// caller holds the turn.
//
// It does so for a client that has gone, too: that one will ask where to go on.
func (a *appender) save(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	var err error
	next := a.u.rec
	if a.size == next.Size {
		return nil
	}
	if next.State, err = a.w.Checkpoint(ctx); err != nil {
		return err
	}
	if next.Hash, err = a.h.(encoding.BinaryMarshaler).MarshalBinary(); err != nil {
		return fmt.Errorf("save hash of upload %s: %w", next.ID, err)
	}
	next.Size = a.size
	if err := a.u.c.Records.SaveUpload(ctx, next); err != nil {
		a.u.s.over()                    // it may have been saved all the same
		return uploadGone(err, next.ID) // it may have expired while the client was slow
	}
	next.Version++
	a.u.rec = next
	a.t.saved(next)
	return nil
}
