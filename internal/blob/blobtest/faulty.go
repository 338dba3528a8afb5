package blobtest

import (
	"context"
	"errors"
	"io"
	"iter"
	"sync/atomic"

	"berth/internal/blob"
	"berth/internal/oci"
)

// An Inject decides the fate of one call. op is the name of the method, such as
// "Commit"; n counts the calls of all methods of the store and of its Writers
// and Readers, from 1. The four answers are:
//
//	true, nil    the call is passed on, and its result back
//	true, err    it is done, but the caller gets err: the answer was lost
//	false, err   it is not done and fails
//	false, nil   it is not done, and the caller is told that it was
//
// The last one means something only for Read, Write, Checkpoint, Replay, Settle,
// Delete, List and Recover; what returns an object or a key is passed on, and a
// Writer is closed in any case.
// Inject is called concurrently if the store is.
type Inject func(op string, n int) (apply bool, err error)

// Faulty returns s with faults put in. It implements blob.Recoverer and
// blob.Spacer; where s doesn't, Recover does nothing and Free fails.
func Faulty(s blob.Store, inject Inject) blob.Store {
	return &faulty{s: s, inject: inject}
}

type faulty struct {
	s      blob.Store
	inject Inject
	calls  atomic.Int64
}

var (
	_ blob.Recoverer = (*faulty)(nil)
	_ blob.Spacer    = (*faulty)(nil)
)

// ask asks for the fate of the next call.
func (f *faulty) ask(op string) (apply bool, err error) { return f.inject(op, int(f.calls.Add(1))) }

// do makes a call that returns nothing but an error.
func (f *faulty) do(op string, call func() error) error {
	apply, err := f.ask(op)
	if apply {
		if rerr := call(); err == nil {
			err = rerr
		}
	}
	return err
}

// get makes a call that returns something to be closed.
func get[T any](f *faulty, op string, call func() (T, error), close func(T)) (T, error) {
	var none T
	apply, err := f.ask(op)
	if err != nil && !apply {
		return none, err
	}
	got, rerr := call()
	if rerr != nil {
		return none, errors.Join(err, rerr)
	}
	if err != nil {
		close(got)
		return none, err
	}
	return got, nil
}

// Create implements blob.Store.
func (f *faulty) Create(ctx context.Context, key blob.Key) (blob.Writer, error) {
	return get(f, "Create", func() (blob.Writer, error) {
		w, err := f.s.Create(ctx, key)
		return f.writer(w, err)
	}, func(w blob.Writer) { w.(*faultyWriter).w.Close() })
}

// Resume implements blob.Store.
func (f *faulty) Resume(ctx context.Context, key blob.Key, size int64, state []byte) (blob.Writer, error) {
	return get(f, "Resume", func() (blob.Writer, error) {
		w, err := f.s.Resume(ctx, key, size, state)
		return f.writer(w, err)
	}, func(w blob.Writer) { w.(*faultyWriter).w.Close() })
}

func (f *faulty) writer(w blob.Writer, err error) (blob.Writer, error) {
	if err != nil {
		return nil, err
	}
	return &faultyWriter{f: f, w: w}, nil
}

// Open implements blob.Store.
func (f *faulty) Open(ctx context.Context, key blob.Key) (blob.Reader, error) {
	return get(f, "Open", func() (blob.Reader, error) {
		r, err := f.s.Open(ctx, key)
		if err != nil {
			return nil, err
		}
		return &faultyReader{Reader: r, f: f}, nil
	}, func(r blob.Reader) { r.Close() })
}

// Delete implements blob.Store.
func (f *faulty) Delete(ctx context.Context, key blob.Key) error {
	return f.do("Delete", func() error { return f.s.Delete(ctx, key) })
}

// List implements blob.Store. A fault ends it before the first object.
func (f *faulty) List(ctx context.Context) iter.Seq2[blob.Object, error] {
	return func(yield func(blob.Object, error) bool) {
		apply, err := f.ask("List")
		if err != nil {
			yield(blob.Object{}, err)
			return
		}
		if apply {
			f.s.List(ctx)(yield)
		}
	}
}

// Recover implements blob.Recoverer.
func (f *faulty) Recover(ctx context.Context, known func(context.Context, blob.Key) (bool, error)) error {
	r, ok := f.s.(blob.Recoverer)
	if !ok {
		return nil
	}
	return f.do("Recover", func() error { return r.Recover(ctx, known) })
}

// Free implements blob.Spacer.
func (f *faulty) Free(ctx context.Context) (free, total int64, err error) {
	s, ok := f.s.(blob.Spacer)
	if !ok {
		return 0, 0, errors.ErrUnsupported
	}
	if _, err := f.ask("Free"); err != nil {
		return 0, 0, err
	}
	return s.Free(ctx)
}

type faultyReader struct {
	blob.Reader
	f *faulty
}

// Read implements io.Reader. A Read that is not done is the end.
func (r *faultyReader) Read(p []byte) (int, error) {
	apply, err := r.f.ask("Read")
	if err != nil {
		return 0, err
	}
	if !apply {
		return 0, io.EOF
	}
	return r.Reader.Read(p)
}

type faultyWriter struct {
	f *faulty
	w blob.Writer
}

// Write implements io.Writer.
func (w *faultyWriter) Write(p []byte) (int, error) {
	err := w.f.do("Write", func() error { _, err := w.w.Write(p); return err })
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// Checkpoint implements blob.Writer.
func (w *faultyWriter) Checkpoint(ctx context.Context) (state []byte, err error) {
	err = w.f.do("Checkpoint", func() (err error) { state, err = w.w.Checkpoint(ctx); return err })
	return state, err
}

// Replay implements blob.Writer.
func (w *faultyWriter) Replay(ctx context.Context, to io.Writer) error {
	return w.f.do("Replay", func() error { return w.w.Replay(ctx, to) })
}

// Commit implements blob.Writer.
func (w *faultyWriter) Commit(ctx context.Context, d oci.Digest) (blob.Key, error) {
	return get(w.f, "Commit", func() (blob.Key, error) { return w.w.Commit(ctx, d) }, func(blob.Key) {})
}

// Settle implements blob.Writer.
func (w *faultyWriter) Settle(ctx context.Context) error {
	return w.f.do("Settle", func() error { return w.w.Settle(ctx) })
}

// Close implements blob.Writer. The Writer is closed in any case.
func (w *faultyWriter) Close() error {
	_, err := w.f.ask("Close")
	return errors.Join(err, w.w.Close())
}
