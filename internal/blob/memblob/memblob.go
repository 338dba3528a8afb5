// Package memblob keeps objects in memory: for tests, and as the plainest form
// of what package blob asks for. Like an object store it keeps an object under
// one key all its life. It knows nothing of files.
package memblob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"berth/internal/blob"
	"berth/internal/oci"
)

// A Store keeps objects in memory. Obtain one from New.
type Store struct {
	mu      sync.Mutex
	objects map[blob.Key]*object
}

// An object can be finished and unfinished at once, between Commit and Settle.
type object struct {
	open     bool // unfinished: it can be resumed
	b        []byte
	finished bool
	digest   oci.Digest
	content  []byte // when finished; never changed
	modified time.Time
}

var (
	_ blob.Store     = (*Store)(nil)
	_ blob.Recoverer = (*Store)(nil)
)

// New returns an empty Store.
func New() *Store { return &Store{objects: make(map[blob.Key]*object)} }

// Create implements blob.Store.
func (s *Store) Create(ctx context.Context, key blob.Key) (blob.Writer, error) {
	if err := errors.Join(ctx.Err(), key.Check()); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.objects[key]; ok {
		return nil, fmt.Errorf("create %s: %w", key, fs.ErrExist)
	}
	o := &object{open: true, modified: time.Now()}
	s.objects[key] = o
	return &writer{s: s, key: key, o: o}, nil
}

// Resume implements blob.Store.
func (s *Store) Resume(ctx context.Context, key blob.Key, size int64, _ []byte) (blob.Writer, error) {
	if err := errors.Join(ctx.Err(), key.Check()); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.objects[key]
	if !ok || !o.open {
		return nil, fmt.Errorf("resume %s: %w", key, fs.ErrNotExist)
	}
	if int64(len(o.b)) < size {
		return nil, fmt.Errorf("resume %s at %d: %w: %d bytes are there", key, size, blob.ErrLost, len(o.b))
	}
	o.b, o.finished, o.content = slices.Clone(o.b[:size]), false, nil
	return &writer{s: s, key: key, o: o}, nil
}

// Open implements blob.Store.
func (s *Store) Open(ctx context.Context, key blob.Key) (blob.Reader, error) {
	if err := errors.Join(ctx.Err(), key.Check()); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.objects[key]
	if !ok || !o.finished {
		return nil, fmt.Errorf("open blob %s: %w", key, fs.ErrNotExist)
	}
	return &reader{ReadSeeker: io.NewSectionReader(content(o.content), 0, int64(len(o.content))), size: int64(len(o.content))}, nil
}

// Delete implements blob.Store.
func (s *Store) Delete(_ context.Context, key blob.Key) error {
	if err := key.Check(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.objects, key)
	return nil
}

// Size implements blob.Sizer.
func (s *Store) Size(_ context.Context, key blob.Key) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.objects[key]
	switch {
	case !ok:
		return 0, nil
	case o.finished:
		return int64(len(o.content)), nil
	}
	return int64(len(o.b)), nil
}

// List implements blob.Store.
func (s *Store) List(ctx context.Context) iter.Seq2[blob.Object, error] {
	return func(yield func(blob.Object, error) bool) {
		for _, o := range s.snapshot() {
			if err := ctx.Err(); err != nil {
				yield(blob.Object{}, err)
				return
			}
			if !yield(o, nil) {
				return
			}
		}
	}
}

func (s *Store) snapshot() []blob.Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []blob.Object
	for key, o := range s.objects {
		item := blob.Object{Key: key, Begun: key, Size: int64(len(o.b)), ModTime: o.modified}
		if o.finished {
			item.Finished, item.Digest, item.Size = true, o.digest, int64(len(o.content))
		}
		all = append(all, item)
	}
	return all
}

// Recover implements blob.Recoverer: an object has one key all its life, so it
// stays if an upload or a blob is recorded under it.
func (s *Store) Recover(ctx context.Context, known func(context.Context, blob.Key) (bool, error)) error {
	for _, key := range s.unsettled() {
		ok, err := known(ctx, key)
		if err != nil {
			return err
		}
		if !ok {
			if err := s.Delete(ctx, key); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Store) unsettled() []blob.Key {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := slices.Collect(maps.Keys(s.objects))
	return slices.DeleteFunc(keys, func(k blob.Key) bool { return !s.objects[k].open })
}

// content reads a slice that never changes.
type content []byte

func (c content) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(c)) {
		return 0, io.EOF
	}
	n := copy(p, c[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

type reader struct {
	io.ReadSeeker
	size int64
}

func (r *reader) Size() int64  { return r.size }
func (r *reader) Close() error { return nil }

// writer is the blob.Writer of a Store.
type writer struct {
	s   *Store
	key blob.Key
	o   *object
}

// locked runs f on the object unless that was deleted.
func (w *writer) locked(f func(*object) error) error {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	if w.s.objects[w.key] != w.o {
		return fmt.Errorf("object %s was deleted: %w", w.key, fs.ErrNotExist)
	}
	if !w.o.open {
		return fmt.Errorf("object %s is finished: %w", w.key, fs.ErrClosed)
	}
	return f(w.o)
}

// Write implements io.Writer. What was finished no longer is.
func (w *writer) Write(p []byte) (int, error) {
	err := w.locked(func(o *object) error {
		o.b, o.modified = append(o.b, p...), time.Now()
		o.finished, o.content = false, nil
		return nil
	})
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// Checkpoint implements blob.Writer.
func (w *writer) Checkpoint(context.Context) ([]byte, error) {
	return nil, w.locked(func(*object) error { return nil })
}

// Replay implements blob.Writer.
func (w *writer) Replay(ctx context.Context, to io.Writer) error {
	var b []byte
	err := w.locked(func(o *object) error { b = o.b; return ctx.Err() })
	if err != nil {
		return err
	}
	_, err = to.Write(b)
	return err
}

// Commit implements blob.Writer.
func (w *writer) Commit(_ context.Context, d oci.Digest) (blob.Key, error) {
	err := w.locked(func(o *object) error {
		if d.IsZero() {
			return fmt.Errorf("commit %s: no digest: %w", w.key, fs.ErrInvalid)
		}
		o.finished, o.digest, o.content = true, d, slices.Clip(o.b)
		return nil
	})
	if err != nil {
		return "", err
	}
	return w.key, nil
}

// Settle implements blob.Writer. Doing it twice is no error.
func (w *writer) Settle(context.Context) error {
	err := w.locked(func(o *object) error {
		if !o.finished {
			return fmt.Errorf("settle %s: there was no Commit", w.key)
		}
		o.open, o.b = false, nil
		return nil
	})
	if errors.Is(err, fs.ErrClosed) {
		return nil
	}
	return err
}

// Close implements blob.Writer.
func (w *writer) Close() error { return nil }
