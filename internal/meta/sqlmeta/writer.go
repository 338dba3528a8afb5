package sqlmeta

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"sync"
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
// becomes the leader: it takes everything that waits into one transaction, each
// mutation within a savepoint of its own, commits, and answers all. Those that
// came meanwhile wait for the next leader, who is the first of them. So one
// caller alone waits for nothing, many share one wait for the disk, and no timer
// or goroutine is needed.
type writer struct {
	pool    *sql.DB
	dialect dialect
	tx      tx // what every mutation begins with

	mu      sync.Mutex
	busy    bool   // there is a leader
	closed  bool   // nothing is accepted any more
	waiting []*job // the first one is the next leader
	stats   Stats
	err     error // what Trouble returns

	session *session // the leader's; nil when it must be opened
}

// A job is a mutation that waits for its transaction.
type job struct {
	gone  func() error // why its caller no longer waits; asked once, when its turn comes
	kind  kind
	run   mutation
	err   error
	leads bool          // set before wake: its caller must lead now
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
	j := &job{gone: ctx.Err, kind: k, run: run, wake: make(chan struct{}, 1)}
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
	batch := w.take()
	defer w.handOver(batch)
	whole := false // it ends as it should, and not in a panic
	defer func() {
		if !whole {
			w.discard()
		}
	}()
	live := make([]*job, 0, len(batch))
	for _, j := range batch {
		if j.err = j.gone(); j.err == nil {
			j.err = errLost
			live = append(live, j)
		}
	}
	if len(live) > 0 {
		w.commit(context.Background(), live)
	}
	whole = true
}

// take removes the next batch from those waiting.
func (w *writer) take() []*job {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 1
	if w.waiting[0].kind != outside {
		for n < len(w.waiting) && n < maxBatch && w.waiting[n].kind != outside {
			n++
		}
	}
	batch := slices.Clone(w.waiting[:n])
	w.waiting = slices.Delete(w.waiting, 0, n)
	return batch
}

// handOver answers the batch, whose first job is the present leader's own.
func (w *writer) handOver(batch []*job) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, j := range batch[1:] {
		j.wake <- struct{}{}
	}
	if len(w.waiting) == 0 {
		w.busy = false
		return
	}
	w.waiting[0].leads = true
	w.waiting[0].wake <- struct{}{}
}

// commit runs the jobs in one transaction and sets their errors.
func (w *writer) commit(ctx context.Context, jobs []*job) {
	err := w.connect(ctx)
	if err == nil && jobs[0].kind == outside {
		t := w.begin()
		jobs[0].err = jobs[0].run(ctx, t)
		return
	}
	synced := slices.ContainsFunc(jobs, func(j *job) bool { return j.kind == durable })
	if err == nil {
		err = w.session.setSync(ctx, synced)
	}
	if err == nil {
		err = w.session.do(ctx, w.dialect.begin)
	}
	if err != nil {
		w.fail(jobs, err)
		return
	}
	t := w.begin()
	done := make([]*job, 0, len(jobs)) // those that are to be committed
	for _, j := range jobs {
		if err = w.runOne(ctx, t, j, len(jobs) > 1); err != nil {
			w.fail(jobs, err)
			return
		}
		if j.err == nil {
			done = append(done, j)
		}
	}
	if len(done) == 0 {
		if err := w.session.do(ctx, "ROLLBACK"); err != nil {
			w.discard()
		}
		return
	}
	if err := w.session.do(ctx, "COMMIT"); err != nil {
		w.fail(done, err)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = nil
	w.stats.Commits++
	w.stats.Mutations += int64(len(done))
	if synced {
		w.stats.Synced++
	}
}

func (w *writer) begin() *tx {
	t := w.tx
	t.s = w.session
	return &t
}

// runOne runs one job and sets its error. With others beside it, it gets a
// savepoint, so that its error undoes its own changes only. The error returned
// is one that ends the whole transaction.
func (w *writer) runOne(ctx context.Context, t *tx, j *job, others bool) error {
	if others {
		if err := w.session.do(ctx, "SAVEPOINT job"); err != nil {
			return err
		}
	}
	j.err = j.run(ctx, t)
	switch {
	case t.worst != nil:
		return t.worst
	case !others:
		return nil // if it failed, nothing is committed
	case j.err != nil:
		if err := w.session.do(ctx, "ROLLBACK TO SAVEPOINT job"); err != nil {
			return err
		}
	}
	return w.session.do(ctx, "RELEASE SAVEPOINT job")
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

// connect makes sure that there is a session.
func (w *writer) connect(ctx context.Context) error {
	if w.session != nil {
		return nil
	}
	w.mu.Lock()
	closed := w.closed
	w.mu.Unlock()
	if closed {
		return errClosed
	}
	conn, err := w.pool.Conn(ctx)
	if err != nil {
		return err
	}
	w.session = &session{conn: conn, dialect: w.dialect, stmts: make(map[string]*sql.Stmt), full: true}
	return nil
}

// discard closes the session for good, with everything it had not committed.
func (w *writer) discard() {
	if s := w.session; s != nil {
		w.session = nil
		s.discard()
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
	return w.err
}

// close waits for what is being written, and refuses what comes after.
func (w *writer) close() error {
	err := w.do(context.Background(), outside, func(context.Context, *tx) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.closed = true
		w.session.close()
		w.session = nil
		return nil
	})
	if errors.Is(err, errClosed) {
		return nil
	}
	return errors.Join(err, w.pool.Close())
}
