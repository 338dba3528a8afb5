package backup

import (
	"bytes"
	"context"
	"io"
	"sync"

	"berth/internal/blob"
	"berth/internal/blob/fsblob"
)

// Small objects are written several at a time: each waits for the disk, and waiting
// together they wait about as long as one.
const (
	smallObject = 256 << 10 // bytes
	writersMax  = 4
)

// writers write small objects in the background.
type writers struct {
	slots chan struct{}
	group sync.WaitGroup

	mu    sync.Mutex
	err   error // the first that there was
	count int
	bytes int64
}

func newWriters() *writers { return &writers{slots: make(chan struct{}, writersMax)} }

// write compares a small object with its digest and has it written. Its error may
// be that of an earlier one.
func (w *writers) write(ctx context.Context, store *fsblob.Store, key blob.Key, size int64, r io.Reader) error {
	_, d, err := fsblob.PathOf(key)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(until(ctx, r), size+1))
	if err != nil {
		return err
	}
	if int64(len(text)) != size || d.Algorithm().FromBytes(text) != d {
		return fsblob.ErrWrong
	}
	w.slots <- struct{}{}
	w.group.Go(func() {
		defer func() { <-w.slots }()
		w.note(size, store.Take(ctx, key, bytes.NewReader(text)))
	})
	return w.failed()
}

// note counts what was written, or keeps the error.
func (w *writers) note(size int64, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		if w.err == nil {
			w.err = err
		}
		return
	}
	w.count++
	w.bytes += size
}

func (w *writers) failed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// wait waits until everything is written.
func (w *writers) wait() error {
	w.group.Wait()
	return w.failed()
}
