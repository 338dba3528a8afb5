package sqlmeta

import (
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// How long a record may be, after what time or how much the transaction that they
// are in is committed, after what time that is tried again at the latest, and how
// many transactions pass until making the file is.
const (
	maxRecord   = 64 << 10
	settleAfter = 50 * time.Millisecond
	settleBytes = 128 << 10
	settleCount = 64
	settleAgain = 5 * time.Second
	redoRetry   = 1024
)

// A redo makes changes durable before they are committed. What a batch changes of
// rows is written down as a record, in one write and one wait for the disk, where
// the log of the database takes every page that was touched. Then the batch is
// answered; its transaction stays open, and others go on in it. It is committed, which
// waits for nothing then, as soon as anybody wants to read, and after a moment.
//
// A record holds rows and not what was asked for, and repeats exactly what
// happened. It counts as long as the database says that it has not got it: run and
// number stand in a table, and are part of each transaction.
//
// What cannot be recorded, such as a change of too many rows, is committed as a
// whole, as if there were no records: the commit waits for the disk, and another run
// begins.
type redo struct {
	path string
	fill func(*os.File) error // gives it its whole length

	held   *os.File // locked; nil: it could not be made
	file   redoFile // nil: it has not its whole length yet
	spared bool     // there is room behind the records
	wait   int      // transactions until what is missing of that is tried again

	run, seq int64 // 0: none; the next transaction is committed as a whole
	base     int64 // where the first record of the run is
	off      int64 // where the next record begins

	rec     recorder
	pending []byte // the records that are not committed
	count   int    // how many they are
	open    bool   // the session's transaction is theirs
	owed    bool   // a record has not waited for the disk
	stray   bool   // the file may hold a record of this run that does not count

	timer *time.Timer   // commits
	delay time.Duration // until it does, if that has failed

	dirty       atomic.Bool // there are records that are not committed
	uncommitted uncommitted // what they change
	settling    sync.Mutex  // held by who waits until they are
}

// usable reports whether the next batch can be recorded.
func (r *redo) usable() bool { return r.run != 0 && r.off+maxRecord <= r.base+runSize }

// newRun returns a number for a run.
func newRun() int64 { return rand.Int64N(1<<62) + 1 }

// start begins a run, where the one before the last was.
func (r *redo) start(run int64) {
	if run != 0 {
		r.base = runSize - r.base
	}
	r.run, r.seq, r.off, r.owed, r.stray = run, 0, r.base, false, false
}

// stop sees to it that nothing is recorded until a transaction is committed as a whole.
func (r *redo) stop() { r.run = 0 }

// write writes the record of a batch, and waits for the disk if k says so. If it
// returns an error, the record may be there all the same: it is stray.
func (r *redo) write(k kind) (err error) {
	defer func() { r.stray = r.stray || err != nil }()
	if r.rec.any() {
		sealRecord(r.rec.buf, r.run, r.seq+1)
		if _, err := r.file.WriteAt(r.rec.buf, r.off); err != nil {
			return fmt.Errorf("record a change: %w", err)
		}
		r.owed = true
	}
	if k != durable || !r.owed {
		return nil
	}
	if err := r.file.Sync(); err != nil {
		return fmt.Errorf("record a change: %w", err)
	}
	r.owed = false
	return nil
}

// wrote takes the record to those that are to be committed.
func (r *redo) wrote() {
	if !r.rec.any() {
		return
	}
	r.pending = append(r.pending, r.rec.buf...)
	r.off += int64(len(r.rec.buf))
	r.seq++
	r.count++
	r.dirty.Store(true)
}

// committed says that all records are in the database.
func (r *redo) committed() {
	if cap(r.pending) > 2*settleBytes {
		r.pending = nil
	}
	r.pending, r.count, r.open = r.pending[:0], 0, false
	r.dirty.Store(false)
	r.uncommitted.empty()
}

func (r *redo) close() error {
	if r.timer != nil {
		r.timer.Stop()
	}
	if r.held == nil {
		return nil
	}
	return r.held.Close()
}
