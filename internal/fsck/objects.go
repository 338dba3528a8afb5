package fsck

import (
	"context"
	"errors"
	"fmt"
	"time"

	"berth/internal/blob"
	"berth/internal/meta"
)

// objects looks for objects that no record names.
func (r *run) objects(ctx context.Context) error {
	for o, err := range r.Blobs.List(ctx) {
		if err != nil {
			return err
		}
		r.sum.Objects++
		if err := r.progress(Progress{What: "look for files that nobody knows", Done: r.sum.Objects, Total: r.total.Blobs + r.total.Uploads}); err != nil {
			return err
		}
		unknown, err := r.unknown(ctx, o)
		if err != nil {
			return err
		}
		if unknown && !o.Finished {
			if r.Now().Sub(o.ModTime) >= settling && len(r.doubtful) < page {
				r.doubtful = append(r.doubtful, o)
			}
			continue
		}
		if unknown {
			if err := r.stray(ctx, o); err != nil {
				return err
			}
		}
	}
	return r.leftovers(ctx)
}

// settling is how long the file of an upload may outlive its record: the name that
// an upload has while it runs goes a moment after that.
const settling = time.Minute

// leftovers looks once more at the files of uploads of which there was no record.
func (r *run) leftovers(ctx context.Context) error {
	if len(r.doubtful) == 0 {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Second):
	}
	for _, o := range r.doubtful {
		unknown, err := r.unknown(ctx, o)
		if err != nil {
			return err
		}
		if unknown {
			if err := r.stray(ctx, o); err != nil {
				return err
			}
		}
	}
	return nil
}

// stray reports an object that no record names.
func (r *run) stray(ctx context.Context, o blob.Object) error {
	f := newFinding(ObjectUnknown)
	if !o.Finished {
		f = newFinding(UploadUnknown)
	}
	f.Key, f.Digest, f.Size = o.Key, o.Digest.String(), o.Size
	f.Age = r.Now().Sub(o.ModTime).Truncate(time.Second).String()
	if r.repairing() {
		if err := r.repairObject(ctx, &f, o); err != nil {
			return err
		}
	}
	return r.report(f)
}

// unknown reports whether no record names an object. A key is recorded before its
// object exists, and forgotten after it has gone; so one that is in no record and
// then still there has no record. The upload is looked for first: its record ends
// in the transaction in which that of the blob begins. What is committed is found by its finished name.
func (r *run) unknown(ctx context.Context, o blob.Object) (bool, error) {
	for _, key := range []blob.Key{o.Begun, o.Key} {
		use, err := r.Records.KeyUse(ctx, key)
		if err != nil || use != meta.KeyUnknown {
			return false, err
		}
	}
	is, err := r.Blobs.Inspect(ctx, o.Key)
	return err == nil && is.Shape == blob.File && !is.Committed, err
}

// uploads compares the recorded uploads with their files.
func (r *run) uploads(ctx context.Context) error {
	for after := meta.UploadID(""); ; {
		list, err := r.Records.AuditUploads(ctx, after, page)
		if err != nil || len(list) == 0 {
			return err
		}
		for _, u := range list {
			after = u.ID
			r.sum.Uploads++
			if err := r.upload(ctx, u); err != nil {
				return err
			}
		}
	}
}

// upload checks one upload: the file, then the record again, as for blobs. An
// upload that has not saved anything need not have a file.
func (r *run) upload(ctx context.Context, u meta.AuditUpload) error {
	if u.Size == 0 {
		return nil
	}
	is, err := r.Blobs.Inspect(ctx, u.Key)
	if err != nil || is.Shape == blob.File && is.Size >= u.Size {
		return err
	}
	now, err := r.Records.FindAuditUpload(ctx, u.ID)
	if errors.Is(err, meta.ErrNotFound) || err == nil && now != u {
		return nil // it has moved on, so somebody is looking after it
	}
	if err != nil {
		return err
	}
	f := newFinding(UploadLost)
	f.Repository, f.Key, f.Size = u.Repo.Name, u.Key, u.Size
	f.Detail = fmt.Sprintf("%d of %d bytes are there", is.Size, u.Size)
	if r.repairing() {
		if err := r.Mender.EndUpload(ctx, u); err != nil {
			return err
		}
		f.Done, f.Cured = "ended", true
	}
	return r.report(f)
}

// quarantine tells what was put aside.
func (r *run) quarantine(ctx context.Context) error {
	for o, err := range r.Blobs.Quarantined(ctx) {
		if err != nil {
			return err
		}
		f := newFinding(Quarantined)
		f.Key, f.Digest, f.Size = o.Key, o.Digest.String(), o.Size
		f.Age = r.Now().Sub(o.ModTime).Truncate(time.Second).String()
		if err := r.report(f); err != nil {
			return err
		}
	}
	return nil
}
