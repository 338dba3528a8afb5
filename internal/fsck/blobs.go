package fsck

import (
	"context"
	"errors"
	"fmt"

	"berth/internal/blob"
	"berth/internal/meta"
	"berth/internal/oci"
)

// blobs compares every recorded blob with its object.
func (r *run) blobs(ctx context.Context) error {
	for after := ""; ; {
		list, err := r.Records.AuditBlobs(ctx, after, page)
		if err != nil || len(list) == 0 {
			return err
		}
		for _, b := range list {
			if ok, err := r.concerns(ctx, b.Digest); err != nil {
				return err
			} else if !ok {
				continue
			}
			if err := r.blob(ctx, b); err != nil {
				return err
			}
			r.sum.Blobs++
			if r.o.ReadData == 0 {
				err = r.progress(Progress{What: "compare blobs", Done: r.sum.Blobs, Total: r.total.Blobs})
			}
			if err != nil {
				return err
			}
		}
		after = list[len(list)-1].Digest
	}
}

// concerns reports whether a repository that the check is about has the blob.
func (r *run) concerns(ctx context.Context, digest string) (bool, error) {
	for id := range r.only {
		if ok, err := r.Records.IsMember(ctx, id, digest); ok || err != nil {
			return ok, err
		}
	}
	return r.only == nil, nil
}

// blob checks one blob. Its object is looked at after its record, and when it
// looks wrong the record is read again: an object goes only after its record has
// gone or names another key, so the same record twice, with a wrong object in
// between, is no coincidence.
func (r *run) blob(ctx context.Context, b meta.AuditBlob) error {
	d, err := oci.ParseDigest(b.Digest)
	if err != nil || b.Size < 0 {
		f := newFinding(BlobRecord)
		f.Digest, f.Key, f.Size = b.Digest, b.Key, b.Size
		return r.report(f)
	}
	whole := r.sampled()
	for {
		f, err := r.compare(ctx, b, d, whole)
		if err != nil {
			return err
		}
		if f.Kind == "" {
			return nil
		}
		now, err := r.Records.FindAuditBlob(ctx, b.Digest)
		if errors.Is(err, meta.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if now != b {
			b = now
			continue
		}
		f.Digest, f.Key, f.Size = b.Digest, b.Key, b.Size
		if f.Holders, err = r.holders(ctx, b.Digest); err != nil {
			return err
		}
		if r.repairing() {
			if err := r.repairBlob(ctx, &f, b, d); err != nil {
				return err
			}
		}
		return r.report(f)
	}
}

// compare looks at the object of a blob. The finding has no kind if all is well.
func (r *run) compare(ctx context.Context, b meta.AuditBlob, d oci.Digest, whole bool) (Finding, error) {
	f, err := r.look(ctx, b)
	if err != nil || f.Kind != "" && !b.Damaged {
		return f, err
	}
	if b.Damaged {
		return r.marked(ctx, b, d, f)
	}
	if !whole {
		return f, nil
	}
	r.sum.Read++
	err = verifyTwice(ctx, r.Blobs, b.Key, d, r.buffer(), r.pace)
	switch {
	case err == nil:
		return f, nil
	case ctx.Err() != nil:
		return f, ctx.Err()
	case errors.Is(err, errWrong):
		return newFinding(BlobBytes), nil
	case isMissing(err):
		return newFinding(BlobMissing), nil
	}
	f = newFinding(BlobUnreadable)
	f.Detail = err.Error()
	return f, nil
}

// look opens the object of a blob as a pull would and compares its size.
func (r *run) look(ctx context.Context, b meta.AuditBlob) (Finding, error) {
	o, err := r.Blobs.Open(ctx, b.Key)
	switch {
	case err == nil:
		defer o.Close()
		if o.Size() == b.Size {
			return Finding{}, nil
		}
		f := newFinding(BlobSize)
		f.Detail = fmt.Sprintf("the file has %d bytes, the record says %d", o.Size(), b.Size)
		return f, nil
	case ctx.Err() != nil:
		return Finding{}, ctx.Err()
	case errors.Is(err, blob.ErrBusy):
		return Finding{}, err
	case !isMissing(err):
		f := newFinding(BlobUnreadable)
		f.Detail = err.Error()
		return f, nil
	}
	is, err := r.Blobs.Inspect(ctx, b.Key)
	if err == nil && is.Shape == blob.Other {
		return newFinding(BlobNoFile), nil
	}
	return newFinding(BlobMissing), nil
}

// marked says how things are with a blob that is marked damaged; f is what a look
// at its object found.
func (r *run) marked(ctx context.Context, b meta.AuditBlob, d oci.Digest, f Finding) (Finding, error) {
	if f.Kind == "" {
		err := verify(ctx, r.Blobs, b.Key, d, r.buffer(), func(int) error { return nil })
		switch {
		case err == nil:
			return newFinding(BlobGood), nil
		case ctx.Err() != nil:
			return f, ctx.Err()
		}
	}
	m := newFinding(BlobMarked)
	switch {
	case f.Kind == BlobMissing:
		m.Detail = "its file is gone"
	case f.Kind != "":
		m.Detail = f.Means
	default:
		m.Detail = "its file is still there, with other bytes"
	}
	return m, nil
}

// pace counts what is read.
func (r *run) pace(n int) error {
	r.sum.ReadBytes += int64(n)
	return r.progress(Progress{What: "read blobs", Done: r.sum.ReadBytes, Total: r.total.Bytes * int64(r.o.ReadData) / 100, Bytes: true})
}

func (r *run) buffer() []byte {
	if r.buf == nil {
		r.buf = make([]byte, bufferSize)
	}
	return r.buf
}
