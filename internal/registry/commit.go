package registry

import (
	"context"
	"errors"
	"fmt"
	"hash"

	"berth/internal/blob"
	"berth/internal/meta"
	"berth/internal/oci"
)

// Commit implements Upload.
//
// The order is what makes a 201 worth something: the bytes are durable first,
// then the record, and only then does anyone hear of it. At every point before,
// the upload can be resumed and committed again. A client that goes away in
// between changes nothing: it has sent all its bytes.
func (u *upload) Commit(ctx context.Context, d oci.Digest) error {
	ctx = context.WithoutCancel(ctx)
	t, err := u.take(ctx, Anywhere, func() {})
	if err != nil {
		return err
	}
	defer t.release()
	if err := t.hold(); err != nil {
		return err
	}
	h, err := restoreHash(u.rec)
	if err != nil {
		return err
	}
	if done, err := u.commitKnown(ctx, d, h, u.rec.Size); done || err != nil {
		return err
	}
	a, err := u.open(ctx, t)
	if err != nil {
		return err
	}
	defer a.w.Close()
	return a.commit(ctx, d)
}

// commit makes what was written the content of d. Its turn is held.
func (a *appender) commit(ctx context.Context, d oci.Digest) error {
	u := a.u
	if err := u.verify(ctx, a, d); err != nil {
		return err
	}
	key, err := a.w.Commit(ctx, d)
	if errors.Is(err, blob.ErrLost) { // what a failed fsync was to keep may be gone
		return a.t.do(func() error { return u.drop(ctx, fmt.Errorf("commit blob %s: %w", d, err)) })
	}
	if err != nil {
		return u.giveUpIfFull(ctx, a.t, fmt.Errorf("commit blob %s: %w", d, err))
	}
	if _, err := u.c.Records.CommitUpload(ctx, u.rec, meta.Blob{Digest: d, Key: key, Size: a.size}, u.c.by); err != nil {
		return uploadGone(err, u.rec.ID)
	}
	u.end()
	if err := a.w.Settle(ctx); err != nil {
		u.c.Log.Warn("settle an upload; the next start will", "upload", string(u.rec.ID), "error", err)
	}
	return nil
}

// commitKnown is the short way for content that is stored already: the bytes
// that came, of which h is the hash, are compared by that, and dropped.
func (u *upload) commitKnown(ctx context.Context, d oci.Digest, h hash.Hash, size int64) (bool, error) {
	known, err := u.c.stored(ctx, d)
	if err != nil || !known || !u.s.trusted() || u.rec.Algorithm != d.Algorithm() {
		return false, err
	}
	if has := u.rec.Algorithm.Digest(h); has != d {
		return false, u.drop(ctx, digestInvalid(d, has))
	}
	_, err = u.c.Records.CommitUpload(ctx, u.rec, meta.Blob{Digest: d, Size: size}, u.c.by)
	if errors.Is(err, meta.ErrConflict) {
		return false, nil // it was collected just now
	}
	if err != nil {
		return false, uploadGone(err, u.rec.ID)
	}
	u.end()
	if err := u.c.Blobs.Delete(ctx, u.rec.Key); err != nil {
		u.c.Log.Warn("delete the bytes of an upload; the next start will", "upload", string(u.rec.ID), "error", err)
	}
	return true, nil
}

// stored reports whether d is stored, and sound by its size. If it is not sound
// that is recorded, so that what is being committed takes its place. An error
// says that neither is sure: the record would prefer what may be broken.
func (c *Core) stored(ctx context.Context, d oci.Digest) (bool, error) {
	known, err := c.Records.FindContent(ctx, d)
	if errors.Is(err, meta.ErrNotFound) {
		return false, nil
	}
	if err != nil || known.Damaged {
		return false, err
	}
	if err = c.lookAt(ctx, known); err == nil {
		return true, nil
	}
	if oci.CodeOf(err) != oci.BlobUnknown {
		return false, err
	}
	again, err := c.Records.FindContent(ctx, d)
	if errors.Is(err, meta.ErrNotFound) {
		return false, nil
	}
	if err == nil && again == known {
		err = fmt.Errorf("blob %s is broken, and that could not be recorded", d)
	}
	return false, err
}

// verify compares the content with d. The hash that ran along is believed if it
// is of d's algorithm and every byte went through this process; else the stored
// bytes are read again.
func (u *upload) verify(ctx context.Context, a *appender, d oci.Digest) error {
	h := a.h
	if !u.s.trusted() || u.rec.Algorithm != d.Algorithm() {
		h = d.Algorithm().New()
		if err := a.w.Replay(ctx, h); err != nil {
			if errors.Is(err, blob.ErrLost) {
				return u.drop(ctx, uploadUnknown(u.rec.ID))
			}
			return fmt.Errorf("read upload %s again: %w", u.rec.ID, err)
		}
	}
	return u.compare(ctx, h, d)
}

func (u *upload) compare(ctx context.Context, h hash.Hash, d oci.Digest) error {
	if has := d.Algorithm().Digest(h); has != d {
		return u.drop(ctx, digestInvalid(d, has))
	}
	return nil
}

func (s *session) trusted() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.continuous
}

func digestInvalid(want, has oci.Digest) error {
	return &oci.Error{
		Code:    oci.DigestInvalid,
		Message: fmt.Sprintf("the content was to be %s and is %s: it was changed or cut on its way, upload it again", want, has),
	}
}

func uploadGone(err error, id meta.UploadID) error {
	if errors.Is(err, meta.ErrNotFound) {
		return uploadUnknown(id)
	}
	return err
}
