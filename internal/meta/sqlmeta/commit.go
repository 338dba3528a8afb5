package sqlmeta

import (
	"context"
	"errors"
)

// commit makes what the batch changes durable and sets the errors of its jobs.
func (w *writer) commit(ctx context.Context, b *batch) {
	last := b.jobs[0].last
	if err := w.connect(ctx); err != nil && !last {
		w.fail(b.jobs, err)
		return
	}
	k, how := b.kind(), allTogether
	if k != outside && w.redo.usable() {
		if how = w.record(ctx, b, k); how == answered {
			return
		}
	}
	err := w.settle(ctx)
	if err == nil && !last { // what could not be committed has been, by another session
		err = w.connect(ctx)
	}
	switch {
	case err != nil && !last:
		w.fail(b.jobs, err)
	case k == outside:
		b.jobs[0].err = errors.Join(err, b.jobs[0].run(ctx, w.begin()))
		w.changedOutside()
	default:
		w.whole(ctx, b, k, how)
	}
}

// A way is how a batch is to be run.
type way int

const (
	allTogether way = iota // in one transaction
	oneByOne               // each within a savepoint of its own
	answered               // not any more
)

// record runs the batch in the transaction that is open, writes down what it
// changes, and answers it. If that cannot be recorded, it returns how the batch is
// to be committed as a whole.
func (w *writer) record(ctx context.Context, b *batch, k kind) way {
	r := &w.redo
	err := w.openForRecords(ctx)
	if err == nil {
		err = w.runAll(ctx, b, k)
	}
	if err != nil && !errors.Is(err, errSpoilt) {
		w.fail(b.jobs, err)
		return answered
	}
	done, how := b.done(), answered
	switch {
	case err != nil:
		how = oneByOne
	case len(done) == 0 && !r.rec.any() && len(r.pending) > 0:
		return answered // nothing has happened
	case len(done) == 0:
	case w.changes.unsure || !r.rec.fits(): // what was undone may be in the record
		how = allTogether
	default:
		if w.acknowledge(ctx, done, k) {
			return answered
		}
		how = allTogether
	}
	if err := w.back(ctx); err != nil {
		w.fail(b.jobs, err)
		return answered
	}
	return how
}

// openForRecords opens the transaction that records are of, if there is none.
func (w *writer) openForRecords(ctx context.Context) error {
	if w.redo.open {
		return nil
	}
	err := w.session.setSync(ctx, relaxed)
	if err == nil {
		err = w.session.setSpill(ctx, recordCache)
	}
	if err == nil {
		err = w.session.do(ctx, w.dialect.begin)
	}
	w.redo.open = err == nil
	return err
}

// acknowledge writes the record of a batch and reports whether it could. From then
// on the batch has happened, and whoever reads sees to it that it is committed.
func (w *writer) acknowledge(ctx context.Context, done []*job, k kind) bool {
	r := &w.redo
	w.changes.begin(w.hot)
	if err := r.write(k); err != nil {
		r.stop()
		w.hot.End()
		return false
	}
	r.uncommitted.add(&w.changes) // before anybody can know of it
	r.wrote()
	w.changes.publish(w.hot, w.hot.End())
	w.count(len(done), k)
	if len(r.pending) == 0 {
		return w.nothingRecorded(ctx)
	}
	if len(r.pending) >= settleBytes || r.count >= settleCount {
		_ = w.settle(ctx) // else whoever comes next finds out
		return true
	}
	w.later()
	return true
}

// nothingRecorded ends a transaction that has no records.
func (w *writer) nothingRecorded(ctx context.Context) bool {
	if err := w.back(ctx); err != nil {
		w.discard()
	}
	return true
}

// whole commits the batch in a transaction of its own, which waits for the disk as k
// says, and begins a new run of records.
func (w *writer) whole(ctx context.Context, b *batch, k kind, how way) {
	w.redo.stop()
	run, err := w.redo.prepare()
	waits := k
	if run != 0 {
		waits = durable // or the new run could begin on what is lost with the power
	}
	if err == nil {
		err = w.session.setSync(ctx, waits)
	}
	if err == nil {
		err = w.session.setSpill(ctx, writerMost)
	}
	if err == nil {
		err = w.runWhole(ctx, b, k, how)
	}
	if err != nil {
		w.fail(b.jobs, err)
		return
	}
	done := b.done()
	if len(done) == 0 {
		if err := w.session.do(ctx, "ROLLBACK"); err != nil {
			w.discard()
		}
		return
	}
	claims := w.redo.rec.any() && (run != 0 || w.redo.stray) // what changes nothing writes nothing
	if claims {
		_, err = w.session.exec(ctx, sqlRedoClaim, args{run})
	}
	if err == nil {
		w.changes.begin(w.hot)
		err = w.session.do(ctx, "COMMIT")
	}
	if err != nil {
		w.fail(done, err)
		w.hot.End() // now that it is certain whether it was
		return
	}
	w.changes.publish(w.hot, w.hot.End())
	if claims {
		w.redo.start(run)
	}
	w.count(len(done), k)
	w.look(ctx)
}

// runWhole runs the batch in a transaction that it begins.
func (w *writer) runWhole(ctx context.Context, b *batch, k kind, how way) error {
	if how == allTogether {
		err := w.session.do(ctx, w.dialect.begin)
		if err == nil {
			err = w.runAll(ctx, b, k)
		}
		if !errors.Is(err, errSpoilt) {
			return err
		}
		if err := w.session.do(ctx, "ROLLBACK"); err != nil {
			return err
		}
	}
	return w.runApart(ctx, b)
}

// count counts a commit of n mutations.
func (w *writer) count(n int, k kind) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = nil
	w.stats.Commits++
	w.stats.Mutations += int64(n)
	if k == durable {
		w.stats.Synced++
	}
}

// begin returns what the next mutation works with.
func (w *writer) begin() *tx {
	w.changes.reset()
	w.redo.rec.reset()
	t := w.tx
	t.s = w.session
	t.changes = &w.changes
	return &t
}

// changedOutside sees to it that a change that is said to be none does no harm.
func (w *writer) changedOutside() {
	if w.changes.any() {
		w.hot.Forget()
	}
}

// errSpoilt says that a mutation failed and left changes behind in a transaction
// that others share.
var errSpoilt = errors.New("sqlmeta: the transaction is run again")

// runAll runs the batch, and what comes meanwhile, as it is. The error returned
// is one that concerns the whole transaction.
func (w *writer) runAll(ctx context.Context, b *batch, k kind) error {
	t := w.begin()
	for i := 0; i < len(b.jobs) || w.join(b, k); i++ {
		j := b.jobs[i]
		t.wrote = false
		j.err = j.run(ctx, t)
		switch {
		case t.worst != nil:
			return t.worst
		case j.err == nil || !t.wrote:
		case len(b.jobs) == 1:
			return nil // nothing is committed
		default:
			return errSpoilt
		}
	}
	return nil
}

// runApart runs each of the batch within a savepoint of its own. The error returned
// is one that ends the whole transaction.
func (w *writer) runApart(ctx context.Context, b *batch) error {
	if err := w.session.do(ctx, w.dialect.begin); err != nil {
		return err
	}
	t := w.begin()
	for _, j := range b.jobs {
		if err := w.session.do(ctx, "SAVEPOINT job"); err != nil {
			return err
		}
		before := len(w.changes.list)
		j.err = j.run(ctx, t)
		if t.worst != nil {
			return t.worst
		}
		if j.err != nil {
			w.changes.undo(before)
			if err := w.session.do(ctx, "ROLLBACK TO SAVEPOINT job"); err != nil {
				return err
			}
		}
		if err := w.session.do(ctx, "RELEASE SAVEPOINT job"); err != nil {
			return err
		}
	}
	return nil
}
