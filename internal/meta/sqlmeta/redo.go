package sqlmeta

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// How long the file of records is, how long one may be, after what time or how much
// the transaction that they are in is committed, and how many transactions pass
// until making the file is tried again.
const (
	redoSize    = 512 << 10
	maxRecord   = 64 << 10
	settleAfter = 50 * time.Millisecond
	settleBytes = 128 << 10
	settleCount = 64
	redoRetry   = 1024
)

// A redoFile is the file of records. It has its whole length from the beginning,
// so that a record changes nothing but the bytes of a file.
type redoFile interface {
	WriteAt(p []byte, off int64) (int, error)
	Sync() error // of the bytes
	Close() error
}

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
// whole, as if there were no records: the commit waits for the disk, and the file
// is begun anew, under the name of another run.
type redo struct {
	path string
	make func(path string) (redoFile, error)

	file redoFile // nil: to be made
	fail error    // why it could not be
	wait int      // transactions until that is tried again

	run, seq int64 // 0: none; the next transaction is committed as a whole
	off      int64 // where the next record begins

	rec     recorder
	pending []byte      // the records that are not committed
	count   int         // how many they are
	open    bool        // the session's transaction is theirs
	owed    bool        // a record has not waited for the disk
	timer   *time.Timer // commits

	dirty       atomic.Bool // there are records that are not committed
	uncommitted uncommitted // what they change
	settling    sync.Mutex  // held by who waits until they are
}

// usable reports whether the next batch can be recorded.
func (r *redo) usable() bool { return r.run != 0 && r.off+maxRecord <= redoSize }

// prepare sees to it that there is a file, and returns the number of a run that may
// begin, else 0.
func (r *redo) prepare() int64 {
	if r.make == nil {
		return 0
	}
	if r.file == nil {
		if r.wait--; r.wait > 0 {
			return 0
		}
		if r.file, r.fail = r.make(r.path); r.fail != nil {
			r.file, r.wait = nil, redoRetry
			return 0
		}
	}
	return rand.Int64N(1<<62) + 1
}

// start begins the file anew.
func (r *redo) start(run int64) { r.run, r.seq, r.off, r.owed = run, 0, 0, false }

// stop sees to it that nothing is recorded until a transaction is committed as a whole.
func (r *redo) stop() { r.run = 0 }

// write writes the record of a batch, and waits for the disk if k says so. If it
// returns an error, the record may be there all the same.
func (r *redo) write(k kind) error {
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
	if r.file == nil {
		return nil
	}
	return r.file.Close()
}

// makeRedo makes the file, or takes the one that is there.
func makeRedo(path string) (redoFile, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Size() < redoSize {
		if err = fill(f, info.Size()); err != nil {
			err = errors.Join(err, f.Truncate(info.Size())) // what it took others need
		}
	}
	if err == nil { // also of a file that is there: who made it may have been killed before that
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return syncedFile{f}, nil
}

func fill(f *os.File, from int64) error {
	zeros := make([]byte, 64<<10)
	for at := from; at < redoSize; at += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), redoSize-at)], at); err != nil {
			return err
		}
	}
	return f.Sync()
}

// A syncedFile is a file whose bytes alone are synced.
type syncedFile struct{ *os.File }

// Sync implements redoFile.
func (f syncedFile) Sync() error { return syncData(f.File) }

// settle commits the records.
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
		return err
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
	w.redo.stop()
	list := readRecords(w.redo.pending)
	if len(list) != w.redo.count {
		return fmt.Errorf("%w: %d of %d can be read", errRecord, len(list), w.redo.count)
	}
	if err := replay(ctx, w.replaying, list); err != nil {
		return err
	}
	w.redo.committed()
	return nil
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
	r := &w.redo
	if r.count != 1 {
		return
	}
	if r.timer == nil {
		r.timer = time.AfterFunc(settleAfter, func() { _ = w.settled(context.Background()) }) // else whoever comes next finds out
		return
	}
	r.timer.Reset(settleAfter)
}
