package registry

import (
	"context"
	"crypto/rand"
	"encoding"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
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
	c     *Core
	rec   meta.Upload
	drops uint64   // of sessions, before rec was made
	s     *session // nil of one that was only begun, which takes no more memory than its record
	ended bool     // by a drop or a commit of this value
}

var _ Upload = (*upload)(nil)

// StartUpload implements Pusher.
func (c *Core) StartUpload(ctx context.Context, repo oci.Repo, a oci.Algorithm) (Upload, error) {
	rec := meta.Upload{ID: newUploadID(), Repo: repo, By: c.by.Name, Key: blob.NewKey(), Algorithm: a, Started: time.Now()}
	drops := c.sessions.dropped()
	if err := c.Records.CreateUpload(ctx, rec); errors.Is(err, meta.ErrTooManyUploads) {
		return nil, errTooManyUploads()
	} else if err != nil {
		return nil, err
	}
	return &upload{c: c, rec: rec, drops: drops}, nil
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
	drops := c.sessions.dropped()
	rec, err := c.Records.FindUpload(ctx, repo, id)
	if errors.Is(err, meta.ErrNotFound) || err == nil && rec.By != c.by.Name {
		return nil, uploadUnknown(id)
	}
	if err != nil {
		return nil, err
	}
	return &upload{c: c, rec: rec, s: c.sessions.get(rec, drops, time.Now())}, nil
}

// ForgetSessions drops what the Core remembers in memory of uploads that were
// not used for idle. It is for the background loop that also expires them.
func (c *Core) ForgetSessions(idle time.Duration) { c.sessions.forget(time.Now(), idle) }

func (u *upload) ID() meta.UploadID { return u.rec.ID }
func (u *upload) Size() int64       { return u.rec.Size }

// take gets the right to write and reads the record again if whoever wrote
// before has moved it on, or may have.
func (u *upload) take(ctx context.Context, offset int64, interrupt func()) (*turn, error) {
	if u.s == nil {
		u.s = u.c.sessions.get(u.rec, u.drops, time.Now())
	}
	t, at, ok := u.s.take(offset, u.rec.Size, interrupt)
	if !ok {
		return nil, &RangeError{ID: u.rec.ID, Size: at}
	}
	if err := u.refresh(ctx, t); err != nil {
		t.release()
		return nil, err
	}
	if offset >= 0 && offset != u.rec.Size {
		t.release()
		return nil, &RangeError{ID: u.rec.ID, Size: u.rec.Size}
	}
	return t, nil
}

// refresh reads the record again unless it is known to be as it was last read.
func (u *upload) refresh(ctx context.Context, t *turn) error {
	if t.isAt(u.rec.Version) {
		return nil
	}
	rec, err := u.c.Records.FindUpload(ctx, u.rec.Repo, u.rec.ID)
	if err != nil {
		return uploadGone(err, u.rec.ID)
	}
	u.rec = rec
	return t.do(func() error { t.saved(rec); return nil })
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
		u.end()
	case !errors.Is(err, meta.ErrNoSpace):
		return errors.Join(why, err)
	}
	if err := u.c.Blobs.Delete(ctx, u.rec.Key); err != nil {
		u.c.Log.Warn("delete the bytes of an ended upload; the collector will", "upload", string(u.rec.ID), "error", err)
	}
	return why
}

// end notes that the record is gone. Only who has the turn may call it.
func (u *upload) end() {
	u.ended = true
	u.s.over()
	u.c.sessions.end(u.rec.ID)
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
