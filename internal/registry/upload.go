package registry

import (
	"context"
	"crypto/rand"
	"encoding"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"sync"
	"time"

	"berth/internal/blob"
	"berth/internal/meta"
	"berth/internal/oci"
)

// errTakenOver ends an Append whose session another connection took over.
var errTakenOver = &oci.Error{Code: oci.BlobUploadInvalid, Message: "another connection has taken over this upload"}

// An Interrupter is a reader whose blocked Read can be made to return, from
// another goroutine. Append calls Interrupt on the reader of a connection whose
// session was taken over.
type Interrupter interface {
	Interrupt()
}

// upload is the Upload of a Core.
type upload struct {
	c   *Core
	rec meta.Upload
	s   *session
}

var _ Upload = (*upload)(nil)

// StartUpload implements Pusher.
func (c *Core) StartUpload(ctx context.Context, repo oci.Repo, a oci.Algorithm) (Upload, error) {
	rec := meta.Upload{ID: newUploadID(), Repo: repo, By: c.by.Name, Key: blob.NewKey(), Algorithm: a, Started: time.Now()}
	if err := c.Records.CreateUpload(ctx, rec); err != nil {
		return nil, err
	}
	c.sessions.begin(rec.ID, time.Now())
	return &upload{c: c, rec: rec, s: c.sessions.get(rec.ID, time.Now())}, nil
}

// newUploadID returns 128 random bits in the form of a UUID, as the spec asks.
func newUploadID() meta.UploadID {
	var b [16]byte
	rand.Read(b[:])                             // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80 // version 4, RFC 9562
	h := hex.EncodeToString(b[:])
	return meta.UploadID(h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:])
}

// ResumeUpload implements Pusher.
func (c *Core) ResumeUpload(ctx context.Context, repo oci.Repo, id meta.UploadID) (Upload, error) {
	rec, err := c.Records.FindUpload(ctx, repo, id)
	if errors.Is(err, meta.ErrNotFound) || err == nil && rec.By != c.by.Name {
		return nil, uploadUnknown(id)
	}
	if err != nil {
		return nil, err
	}
	return &upload{c: c, rec: rec, s: c.sessions.get(id, time.Now())}, nil
}

// ForgetSessions drops what the Core remembers in memory of uploads that were
// not used for idle. It is for the background loop that also expires them.
func (c *Core) ForgetSessions(idle time.Duration) { c.sessions.forget(time.Now().Add(-idle)) }

func (u *upload) ID() meta.UploadID { return u.rec.ID }
func (u *upload) Size() int64       { return u.rec.Size }

// take gets the right to write and reads the record again, since whoever wrote
// before may have moved it on.
func (u *upload) take(ctx context.Context, offset int64, interrupt func()) (*turn, error) {
	t, at, ok := u.s.take(offset, u.rec.Size, interrupt)
	if !ok {
		return nil, &RangeError{ID: u.rec.ID, Size: at}
	}
	rec, err := u.c.Records.FindUpload(ctx, u.rec.Repo, u.rec.ID)
	if err != nil {
		t.release()
		if errors.Is(err, meta.ErrNotFound) {
			return nil, uploadUnknown(u.rec.ID)
		}
		return nil, err
	}
	u.rec = rec
	if err := t.do(func() error { t.recorded = rec.Size; return nil }); err != nil {
		return nil, err
	}
	if offset >= 0 && offset != rec.Size {
		t.release()
		return nil, &RangeError{ID: rec.ID, Size: rec.Size}
	}
	return t, nil
}

// Append implements Upload.
func (u *upload) Append(ctx context.Context, offset int64, r io.Reader) error {
	interrupt := func() {}
	if i, ok := r.(Interrupter); ok {
		interrupt = i.Interrupt
	}
	t, err := u.take(ctx, offset, interrupt)
	if err != nil {
		return err
	}
	defer t.release()
	a, err := u.open(ctx, t)
	if err != nil {
		return err
	}
	defer a.w.Close()
	return a.run(ctx, r)
}

// open opens the object where the record says, and its hash in the same state.
func (u *upload) open(ctx context.Context, t *turn) (*appender, error) {
	h, err := restoreHash(u.rec)
	if err != nil {
		return nil, err
	}
	a := &appender{u: u, t: t, h: h, size: u.rec.Size}
	err = t.do(func() error {
		if a.w, err = u.writer(ctx); errors.Is(err, blob.ErrLost) || isNotExist(err) {
			return u.drop(ctx, uploadUnknown(u.rec.ID))
		}
		return err
	})
	if err != nil {
		if a.w != nil {
			a.w.Close()
		}
		return nil, u.giveUpIfFull(ctx, t, err)
	}
	return a, nil
}

// writer opens the unfinished object at the recorded size, or makes it: there is
// none yet before the first write, but there may be one after a crash.
func (u *upload) writer(ctx context.Context) (blob.Writer, error) {
	if u.rec.Size == 0 {
		w, err := u.c.Blobs.Create(ctx, u.rec.Key)
		if !errors.Is(err, fs.ErrExist) {
			return w, err
		}
	}
	return u.c.Blobs.Resume(ctx, u.rec.Key, u.rec.Size, u.rec.State)
}

// restoreHash returns the hash of the recorded bytes, to go on with.
func restoreHash(rec meta.Upload) (hash.Hash, error) {
	h := rec.Algorithm.New()
	if rec.Hash == nil {
		return h, nil
	}
	if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(rec.Hash); err != nil {
		return nil, fmt.Errorf("restore hash of upload %s: %w", rec.ID, err)
	}
	return h, nil
}

// An appender is one running Append. What was written, its hash and its size
// only change together, while the turn is held.
type appender struct {
	u    *upload
	t    *turn
	w    blob.Writer
	h    hash.Hash
	size int64 // bytes written so far
}

// run copies r to the object until it ends, with a checkpoint now and then and
// one at the end, whatever the end is.
func (a *appender) run(ctx context.Context, r io.Reader) error {
	buf := a.u.c.buffers.Get().(*[]byte)
	defer a.u.c.buffers.Put(buf)
	stop := a.keep(ctx)
	defer stop()
	for {
		n, err := r.Read(*buf)
		if n > 0 {
			if werr := a.write(ctx, (*buf)[:n]); werr != nil {
				return a.u.giveUpIfFull(ctx, a.t, werr)
			}
		}
		if err == io.EOF {
			return a.u.giveUpIfFull(ctx, a.t, a.checkpoint(ctx))
		}
		if err != nil {
			return errors.Join(fmt.Errorf("read upload: %w", err), a.checkpoint(ctx))
		}
	}
}

// keep makes a checkpoint every so often, whether anything arrives or not, until
// stop is called: a client that stalls may never come back, and the process may
// end meanwhile. What goes wrong with one will go wrong with the next, which run
// makes itself.
func (a *appender) keep(ctx context.Context) (stop func()) {
	done := make(chan struct{})
	var kept sync.WaitGroup
	kept.Go(func() {
		tick := time.NewTicker(a.u.c.CheckpointEvery)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				_ = a.checkpoint(ctx)
			}
		}
	})
	return func() {
		close(done)
		kept.Wait()
	}
}

func (a *appender) write(ctx context.Context, p []byte) error {
	return a.t.do(func() error {
		if limit := a.u.c.MaxUpload; limit > 0 && a.size+int64(len(p)) > limit {
			return a.u.drop(ctx, &oci.Error{Code: oci.SizeInvalid, Message: fmt.Sprintf("blobs are limited to %d bytes in this registry", limit)})
		}
		if _, err := a.w.Write(p); err != nil {
			return err
		}
		a.h.Write(p) // never fails
		if a.size += int64(len(p)); a.size-a.u.rec.Size < a.u.c.CheckpointBytes {
			return nil
		}
		return a.save(ctx)
	})
}

// checkpoint saves what was written since the last one.
func (a *appender) checkpoint(ctx context.Context) error {
	return a.t.do(func() error { return a.save(ctx) })
}

// save records size, hash and state in one step. The caller holds the turn.
//
// It does so for a client that has gone, too: that one will ask where to go on.
func (a *appender) save(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	var err error
	next := a.u.rec
	if a.size == next.Size {
		return nil
	}
	if next.State, err = a.w.Checkpoint(ctx); err != nil {
		return err
	}
	if next.Hash, err = a.h.(encoding.BinaryMarshaler).MarshalBinary(); err != nil {
		return fmt.Errorf("save hash of upload %s: %w", next.ID, err)
	}
	next.Size = a.size
	if err := a.u.c.Records.SaveUpload(ctx, next); err != nil {
		return uploadGone(err, next.ID) // it may have expired while the client was slow
	}
	next.Version++
	a.u.rec = next
	a.t.recorded = next.Size
	return nil
}

// giveUpIfFull drops the upload if err says that there is no space: what it
// holds is worth more to the others. If t was taken over, it is the other's.
func (u *upload) giveUpIfFull(ctx context.Context, t *turn, err error) error {
	if errors.Is(err, blob.ErrNoSpace) || errors.Is(err, meta.ErrNoSpace) {
		return t.do(func() error { return u.drop(context.WithoutCancel(ctx), err) })
	}
	return err
}

// drop ends the upload and returns why. Only who has the turn may call it: bytes
// that became a blob meanwhile must not be deleted.
func (u *upload) drop(ctx context.Context, why error) error {
	switch err := u.c.Records.DropUpload(ctx, u.rec); {
	case err == nil:
		u.c.sessions.end(u.rec.ID)
	case !errors.Is(err, meta.ErrNoSpace):
		return errors.Join(why, err)
	}
	if err := u.c.Blobs.Delete(ctx, u.rec.Key); err != nil {
		u.c.Log.Warn("delete the bytes of an ended upload; the collector will", "upload", string(u.rec.ID), "error", err)
	}
	return why
}

// Cancel implements Upload. It takes over from an Append, but waits for no
// Commit: that one gets its *RangeError.
func (u *upload) Cancel(ctx context.Context) error {
	t, err := u.take(ctx, ending, func() {})
	if err != nil {
		return err
	}
	defer t.release()
	return t.do(func() error { return u.drop(ctx, nil) })
}
