package sqlmeta

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"sync"

	"berth/internal/meta/hot"
)

// A mutation changes records. It may be run more than once or not at all, so
// whatever it hands out it must set anew each time. When it returns an error,
// what it changed is undone.
type mutation func(ctx context.Context, t *tx) error

// A kind says what a caller of writer.do waits for.
type kind int

const (
	durable kind = iota // the change survives the loss of power
	relaxed             // the change survives the end of the process
	outside             // not a change: run alone on the writing connection, in no transaction
)

// maxBatch bounds how many mutations share a transaction, so that a failing
// commit concerns no more, and the first of them does not wait too long.
const maxBatch = 64

// A writer is the one place that writes. Whoever comes while nobody is writing
// becomes the leader: it takes everything that waits into one transaction, and
// what comes while that is being run, commits, and answers all. Those that came
// too late wait for the next leader, who is the first of them. So one caller
// alone waits for nothing, many share one wait for the disk, and no timer or
// goroutine is needed.
//
// A mutation that fails undoes its own changes only. Few do, and most of those
// before they have changed anything. So they are run one after the other as they
// are, and if one leaves changes behind, all are undone and run again, each
// within a savepoint.
type writer struct {
	connector driver.Connector
	dialect   dialect
	tx        tx // what every mutation begins with

	mu      sync.Mutex
	busy    bool   // there is a leader
	closed  bool   // nothing is accepted any more
	waiting []*job // the first one is the next leader
	stats   Stats
	err     error // of the last transaction, if the storage failed it
	stuck   error // why what is recorded could not be committed

	session *session // the leader's; nil when it must be opened
	changes changes  // the leader's: what the transaction changes of what is in memory
	hot     *hot.Cache

	folder folder

	redo      redo
	replaying driver.Connector // of connections that repeat what is recorded
}

// A job is a mutation that waits for its transaction.
type job struct {
	gone  func() error // why its caller no longer waits; asked once, when its turn comes
	kind  kind
	run   mutation
	err   error
	leads bool          // set before wake: its caller must lead now
	last  bool          // it closes the writer, whatever else fails
	wake  chan struct{} // receives one value: answered, or leads
}

// errLost is what a caller gets whose leader panicked.
var errLost = errors.New("sqlmeta: the transaction was abandoned")

// do runs the mutation and returns when it is committed as k says. If ctx ends
// before the mutation's turn it is not run; after that ctx is not asked.
func (w *writer) do(ctx context.Context, k kind, run mutation) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return w.submit(ctx, &job{gone: ctx.Err, kind: k, run: run, wake: make(chan struct{}, 1)})
}

// submit is do with a job.
func (w *writer) submit(ctx context.Context, j *job) error {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return errClosed
	}
	first := !w.busy
	w.busy = true
	w.waiting = append(w.waiting, j)
	w.mu.Unlock()
	if first {
		w.lead()
		return j.err
	}
	select {
	case <-j.wake:
	case <-ctx.Done():
		if w.withdraw(j) {
			return ctx.Err()
		}
		<-j.wake
	}
	if j.leads {
		w.lead()
	}
	return j.err
}

// withdraw takes a job back and reports whether it was still time.
func (w *writer) withdraw(j *job) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.Index(w.waiting, j)
	if i < 0 || j.leads {
		return false
	}
	w.waiting = slices.Delete(w.waiting, i, i+1)
	return true
}

// lead is run by the caller of the first waiting job. It answers a batch that
// holds at least that one, and makes the next waiting job's caller the leader.
func (w *writer) lead() {
	b := w.take()
	defer w.handOver(b)
	whole := false // it ends as it should, and not in a panic
	defer func() {
		if !whole {
			w.discard()
			w.hot.End()
		}
	}()
	if b.admit(b.taken); len(b.jobs) > 0 {
		w.commit(context.Background(), b)
	}
	whole = true
}

// take removes the next batch from those waiting.
func (w *writer) take() *batch {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 1
	if w.waiting[0].kind != outside {
		for n < len(w.waiting) && n < maxBatch && w.waiting[n].kind != outside {
			n++
		}
	}
	return &batch{taken: w.remove(n)}
}

// remove takes the first n of those waiting. It is called with the lock held.
func (w *writer) remove(n int) []*job {
	taken := slices.Clone(w.waiting[:n])
	w.waiting = slices.Delete(w.waiting, 0, n)
	return taken
}

// join adds to a batch of kind k those who came since, and reports whether there
// were any. What waits for the disk does not join what does not.
func (w *writer) join(b *batch, k kind) bool {
	w.mu.Lock()
	n := 0
	for n < len(w.waiting) && len(b.taken)+n < maxBatch && w.waiting[n].kind != outside && w.waiting[n].kind >= k {
		n++
	}
	late := w.remove(n)
	b.taken = append(b.taken, late...)
	w.mu.Unlock()
	before := len(b.jobs)
	b.admit(late)
	return len(b.jobs) > before
}

// handOver answers the batch, whose first job is the present leader's own.
func (w *writer) handOver(b *batch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, j := range b.taken[1:] {
		j.wake <- struct{}{}
	}
	if len(w.waiting) == 0 {
		w.busy = false
		return
	}
	w.waiting[0].leads = true
	w.waiting[0].wake <- struct{}{}
}

// fail answers jobs whose transaction did not come about. The connection is
// given up, whatever is wrong with it, and the next transaction opens another.
func (w *writer) fail(jobs []*job, err error) {
	v, err := w.dialect.triage(err)
	for _, j := range jobs {
		j.err = err
	}
	w.discard()
	if v == fatal {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.err = err
	}
}

// connect makes sure that there is a session, and that it has what is recorded.
func (w *writer) connect(ctx context.Context) error {
	if w.session != nil {
		return nil
	}
	if len(w.redo.pending) > 0 {
		if err := w.restore(ctx); err != nil {
			return err
		}
	}
	w.mu.Lock()
	closed := w.closed
	w.mu.Unlock()
	if closed {
		return errClosed
	}
	s, err := openSession(ctx, w.connector, w.dialect)
	w.session = s
	return err
}

// discard closes the session for good, with everything it had not committed.
func (w *writer) discard() {
	w.redo.open = false
	if s := w.session; s != nil {
		w.session = nil
		s.close()
	}
}

func (w *writer) statistics() Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stats
}

func (w *writer) trouble() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stuck != nil { // whoever reads waits for that, also if it is only that the disk is full
		return fmt.Errorf("changes that were answered cannot be committed, which is tried again and again: %v", w.stuck)
	}
	return w.err
}

// close waits for what is being written, and refuses what comes after. What is
// recorded and cannot be committed the next process has from the file.
func (w *writer) close() error {
	var closed error
	ctx := context.Background()
	run := func(context.Context, *tx) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.closed = true
		if w.session != nil {
			closed = w.session.close()
		}
		w.session = nil
		closed = errors.Join(closed, w.redo.close())
		return nil
	}
	err := w.submit(ctx, &job{gone: ctx.Err, kind: outside, run: run, last: true, wake: make(chan struct{}, 1)})
	if errors.Is(err, errClosed) {
		return nil
	}
	w.folder.busy.Lock() // when nothing is being folded any more
	return errors.Join(err, closed)
}
