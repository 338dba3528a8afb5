package fsblob

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"berth/internal/blob"
)

var _ blob.Inspector = (*Store)(nil)

// anyPath returns where the object of a key belongs, finished or not.
func anyPath(key blob.Key) (string, error) {
	if key.Check() == nil {
		return uploadPath(key), nil
	}
	return keyPath(key)
}

// Inspect implements blob.Inspector.
func (s *Store) Inspect(ctx context.Context, key blob.Key) (blob.Condition, error) {
	if err := ctx.Err(); err != nil {
		return blob.Condition{}, err
	}
	name, err := anyPath(key)
	if err != nil {
		return blob.Condition{}, err
	}
	c, err := s.inspect(name)
	if err == nil && key.Check() == nil {
		c, err = s.inspectUpload(key, c)
	}
	if err != nil {
		return c, fmt.Errorf("look at object %s: %w", key, mark(err))
	}
	return c, nil
}

// inspectUpload adds to what stands in the place of an unfinished object what is
// known of its other names. It may go meanwhile.
func (s *Store) inspectUpload(key blob.Key, c blob.Condition) (blob.Condition, error) {
	switch c.Shape {
	case blob.Absent:
		// Where files are renamed to their place, a Commit may be between its two steps.
		if o, err := s.readIntent(key); err == nil {
			return s.inspect(o.path())
		}
	case blob.File:
		f, info, err := s.d.open(uploadPath(key), os.O_RDONLY)
		if isMissing(err) {
			return blob.Condition{}, nil
		}
		if err != nil {
			return c, err
		}
		defer f.Close()
		n, err := linkCount(f.File)
		c.Size, c.Committed = info.Size(), err == nil && n > 1
	}
	return c, nil
}

func (s *Store) inspect(name string) (blob.Condition, error) {
	if s.d.throughLink(parentOf(name)) {
		return blob.Condition{Shape: blob.Other}, nil
	}
	info, err := s.d.lstat(name)
	switch {
	case isMissing(err):
		return blob.Condition{}, nil
	case errors.Is(err, syscall.ENOTDIR):
		return blob.Condition{Shape: blob.Other}, nil
	case err != nil:
		return blob.Condition{}, err
	case info.Mode().Type() != 0:
		return blob.Condition{Shape: blob.Other, ModTime: info.ModTime()}, nil
	}
	return blob.Condition{Shape: blob.File, Size: info.Size(), ModTime: info.ModTime()}, nil
}

// OpenOnce implements blob.Inspector.
func (s *Store) OpenOnce(ctx context.Context, key blob.Key) (blob.Reader, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	_, f, stamp, err := s.openFile(key)
	if err != nil {
		return nil, err
	}
	return &onceReader{reader: &reader{f: f, size: stamp.size}, f: f}, nil
}

// forgetEvery is after how many bytes the system is told to forget them.
const forgetEvery = 1 << 20

// A onceReader tells the system to forget what was read. It knows where it is
// only as long as nobody seeks, which then costs memory and nothing else.
type onceReader struct {
	*reader
	f        source
	at, upTo int64 // read, forgotten
}

// Read implements io.Reader.
func (r *onceReader) Read(p []byte) (int, error) {
	n, err := r.f.Read(p)
	r.at += int64(n)
	if r.at-r.upTo >= forgetEvery || err != nil {
		forgetPages(r.f, r.upTo, r.at-r.upTo)
		r.upTo = r.at
	}
	return n, err
}

// Seek implements io.Seeker.
func (r *onceReader) Seek(offset int64, whence int) (int64, error) {
	at, err := r.f.Seek(offset, whence)
	r.at, r.upTo = at, at
	return at, err
}

// Close implements io.Closer. The kernel may have kept what it was still reading
// ahead when it was told to forget, so it is told once more.
func (r *onceReader) Close() error {
	forgetPages(r.f, 0, r.size)
	return r.f.Close()
}
