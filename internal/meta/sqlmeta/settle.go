package sqlmeta

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// settle commits the records. What could not be committed is tried again by whoever
// comes next, and before long by nobody.
func (w *writer) settle(ctx context.Context) error {
	r := &w.redo
	if len(r.pending) == 0 && !r.open {
		return nil
	}
	if !r.open {
		return w.restore(ctx)
	}
	n, err := w.keepSeq(ctx)
	if err == nil && n != 1 {
		err = fmt.Errorf("%w: another process uses it", errUnlike)
	}
	if err == nil {
		err = w.session.do(ctx, "COMMIT")
	}
	if err != nil {
		w.discard()
		if again := w.restore(ctx); again != nil {
			return errors.Join(err, again)
		}
		return nil
	}
	r.committed()
	w.look(ctx)
	return nil
}

func (w *writer) keepSeq(ctx context.Context) (int64, error) {
	res, err := w.session.exec(ctx, sqlRedoSeq, args{w.redo.run, w.redo.seq})
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// restore commits records whose transaction was lost.
func (w *writer) restore(ctx context.Context) error {
	r := &w.redo
	r.stop()
	list := readRecords(r.pending)
	var err error
	if len(list) == r.count {
		err = w.replay(ctx, list)
	} else {
		err = fmt.Errorf("%w: %d of %d can be read", errRecord, len(list), r.count)
	}
	w.mu.Lock()
	if w.stuck = err; err == nil {
		w.err = nil
	}
	w.mu.Unlock()
	if err != nil {
		r.delay = min(max(2*r.delay, settleAfter), settleAgain)
		w.wake(r.delay)
		return err
	}
	r.committed()
	return nil
}

// replay repeats records, and gives up the room that the file of records has if
// there is no other. Others may wait for room, too: so it is given up at the last
// moment. Where it is free only some time after, that is waited for.
func (w *writer) replay(ctx context.Context, records []redoRecord) error {
	r := &w.redo
	err := replay(ctx, w.replaying, records, nil)
	if !r.spared || !w.isFull(err) {
		return err
	}
	err = replay(ctx, w.replaying, records, r.cut)
	if !w.isFull(err) {
		return err
	}
	_, _ = r.cut(), r.held.Sync() // else it fails again
	return replay(ctx, w.replaying, records, nil)
}

// back undoes what a batch has changed, and keeps what is recorded.
func (w *writer) back(ctx context.Context) error {
	w.redo.open = false
	if err := w.session.do(ctx, "ROLLBACK"); err != nil {
		w.discard()
		return err
	}
	if len(w.redo.pending) == 0 {
		return nil
	}
	return w.restore(ctx)
}

// settled returns when whatever was answered can be read from the database.
func (w *writer) settled(ctx context.Context) error {
	if !w.redo.dirty.Load() {
		return nil
	}
	w.redo.settling.Lock()
	defer w.redo.settling.Unlock()
	if !w.redo.dirty.Load() {
		return nil
	}
	return w.do(context.WithoutCancel(ctx), outside, func(context.Context, *tx) error { return nil })
}

// later sees to it that records are committed before long.
func (w *writer) later() {
	if w.redo.count == 1 {
		w.redo.delay = 0
		w.wake(settleAfter)
	}
}

// wake commits the records in a while.
func (w *writer) wake(in time.Duration) {
	r := &w.redo
	if r.timer == nil {
		r.timer = time.AfterFunc(in, func() { _ = w.settled(context.Background()) }) // which sees to it that it is tried again
		return
	}
	r.timer.Reset(in)
}
