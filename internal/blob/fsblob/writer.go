package fsblob

import (
	"context"
	"fmt"
	"io"
	"os"

	"berth/internal/blob"
)

// spaceEvery is after how many written bytes free space is looked at again.
const spaceEvery = 8 << 20

// writebackEvery is after how many written bytes the kernel is asked to begin
// writing them to the disk. By itself it waits until it is told to by an fsync,
// or for half a minute: the disk would be idle while a large object comes in,
// and the client idle while it is then written.
const writebackEvery = 4 << 20

// replayBuffer is how many bytes Replay and the search for leftovers read at once.
const replayBuffer = 128 << 10

// writer is the blob.Writer of a Store. It has no buffer: a Write is one pwrite.
type writer struct {
	s         *Store
	key       blob.Key
	f         *file
	size      int64
	unchecked int64  // bytes written since free space was looked at
	behind    int64  // up to where the kernel was asked to begin with the disk
	final     object // where Commit puts the object, once it has begun to
	done      bool   // it is there
	err       error  // why there is nothing more to be done with the object
}

// Create implements blob.Store. The error wraps fs.ErrExist when there is an
// unfinished object of that key.
func (s *Store) Create(ctx context.Context, key blob.Key) (blob.Writer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := key.Check(); err != nil {
		return nil, err
	}
	w, err := s.create(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", key, mark(err))
	}
	return w, nil
}

func (s *Store) create(ctx context.Context, key blob.Key) (blob.Writer, error) {
	if err := s.checkSpace(); err != nil {
		return nil, err
	}
	if err := s.undoRename(ctx, key); err != nil {
		return nil, err
	}
	f, err := s.d.create(uploadPath(key))
	if err != nil {
		return nil, err
	}
	return &writer{s: s, key: key, f: f}, nil
}

// Resume implements blob.Store; it needs no state. It takes back what an
// interrupted Commit did, so that a finished object never changes.
func (s *Store) Resume(ctx context.Context, key blob.Key, size int64, _ []byte) (blob.Writer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := key.Check(); err != nil {
		return nil, err
	}
	w, err := s.resume(ctx, key, size)
	if err != nil {
		return nil, fmt.Errorf("resume %s at %d: %w", key, size, mark(err))
	}
	return w, nil
}

func (s *Store) resume(ctx context.Context, key blob.Key, size int64) (blob.Writer, error) {
	if _, lost := s.lost.Load(key); lost {
		return nil, blob.ErrLost
	}
	if err := s.undoRename(ctx, key); err != nil {
		return nil, err
	}
	f, info, err := s.d.open(uploadPath(key), os.O_RDWR)
	if err != nil {
		return nil, err
	}
	if err := s.cut(ctx, f, key, info.Size(), size); err != nil {
		f.Close()
		return nil, err
	}
	return &writer{s: s, key: key, f: f, size: size, behind: size}, nil
}

// cut makes f, which has has bytes, one of size bytes that has no other name.
func (s *Store) cut(ctx context.Context, f *file, key blob.Key, has, size int64) error {
	if has < size {
		return fmt.Errorf("%w: %d bytes are there", blob.ErrLost, has)
	}
	if err := s.undoLink(ctx, f, key); err != nil {
		return err
	}
	if has > size {
		return f.Truncate(size)
	}
	return nil
}

// Write implements io.Writer. Either all of p is written or, as far as anybody
// can see, nothing: the space of a failed write is given back at once.
func (w *writer) Write(p []byte) (int, error) {
	if err := w.write(p); err != nil {
		return 0, fmt.Errorf("write %s: %w", w.key, mark(err))
	}
	return len(p), nil
}

func (w *writer) write(p []byte) error {
	if w.err != nil {
		return w.err
	}
	if err := w.takeBack(); err != nil {
		return err
	}
	if w.unchecked += int64(len(p)); w.unchecked >= spaceEvery {
		if err := w.s.checkSpace(); err != nil {
			return err
		}
		w.unchecked = 0
	}
	if _, err := w.f.WriteAt(p, w.size); err != nil {
		if terr := w.f.Truncate(w.size); terr != nil {
			w.s.log.Warn("give back the space of a failed write", "key", string(w.key), "error", terr)
		}
		return err
	}
	if w.size += int64(len(p)); w.size-w.behind >= writebackEvery {
		w.begin()
	}
	return nil
}

// Checkpoint implements blob.Writer. What was written is in the page cache,
// which outlives the process, and the state of a file is its size. The disk begins
// with it: it has the time until the client's next request.
func (w *writer) Checkpoint(context.Context) ([]byte, error) {
	if w.err == nil {
		w.begin()
	}
	return nil, w.err
}

// begin has the disk begin with what it has not begun with.
func (w *writer) begin() {
	if n := w.size - w.behind; n > 0 {
		beginWriteback(w.f.File, w.behind, n)
		w.behind = w.size
	}
}

// Replay implements blob.Writer. The error wraps blob.ErrLost when the file has
// become shorter.
func (w *writer) Replay(ctx context.Context, to io.Writer) error {
	if w.err != nil {
		return w.err
	}
	n, err := copyFile(ctx, to, w.f.File, w.size)
	if err != nil {
		return fmt.Errorf("read %s: %w", w.key, err)
	}
	if n < w.size {
		return fmt.Errorf("read %s: %w: it ends at %d of %d bytes", w.key, blob.ErrLost, n, w.size)
	}
	return nil
}

// copyFile copies the first size bytes of f and returns how many there were.
func copyFile(ctx context.Context, to io.Writer, f *os.File, size int64) (int64, error) {
	buf := make([]byte, min(replayBuffer, max(size, 1)))
	var n int64
	for n < size {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		m, err := f.ReadAt(buf[:min(int64(len(buf)), size-n)], n)
		if _, werr := to.Write(buf[:m]); werr != nil {
			return n, werr
		}
		n += int64(m)
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// Close implements blob.Writer.
func (w *writer) Close() error { return w.f.Close() }
