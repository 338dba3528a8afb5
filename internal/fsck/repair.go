package fsck

import (
	"context"
	"errors"
	"fmt"

	"berth/internal/blob"
	"berth/internal/meta"
	"berth/internal/oci"
)

// Repair says whether a check repairs.
type Repair int

// The two ways.
const (
	LookOnly Repair = iota // nothing is changed

	// RepairSafely repairs what can be repaired without guessing. Bytes that might
	// be the only copy of something are never deleted: they go to the quarantine.
	RepairSafely

	// RepairKeeping is RepairSafely for records that were lost and brought back: an
	// object that they do not name may be one that they do not know any more, and
	// stays.
	RepairKeeping
)

// Mender is what repairs need of the records besides.
type Mender interface {
	meta.Mending

	// MarkDamaged is that of meta.Blobs.
	MarkDamaged(ctx context.Context, d oci.Digest, key blob.Key) error
}

// repairing reports whether the run repairs.
func (r *run) repairing() bool { return r.o.Repair != LookOnly }

// repairBlob does what can be done about a finding of a blob. The record is
// changed first and the file moved after, so that whatever interrupts this, the
// blob is not served, and the next repair goes on.
func (r *run) repairBlob(ctx context.Context, f *Finding, b meta.AuditBlob, d oci.Digest) error {
	switch f.Kind {
	case BlobGood:
		_, err := r.reinstate(ctx, f, meta.Blob{Digest: d, Key: b.Key, Size: b.Size})
		return err
	case BlobSize:
		if done, err := r.rightBytes(ctx, f, b, d); done || err != nil {
			return err
		}
	case BlobUnreadable, BlobRecord:
		return nil
	}
	if err := r.Mender.MarkDamaged(ctx, d, b.Key); err != nil {
		return err
	}
	return r.putAside(ctx, f, b)
}

// putAside moves the object of a blob that is marked damaged to the quarantine,
// unless the blob has got another one meanwhile.
func (r *run) putAside(ctx context.Context, f *Finding, b meta.AuditBlob) error {
	now, err := r.Records.FindAuditBlob(ctx, b.Digest)
	if errors.Is(err, meta.ErrNotFound) || err == nil && (now.Key != b.Key || !now.Damaged) {
		return nil
	}
	if err != nil {
		return err
	}
	moved, err := r.Blobs.Quarantine(ctx, b.Key)
	f.Done = "it is not served, so that clients push it again"
	if moved {
		f.Done += "; what was there is in the quarantine"
	}
	return err
}

// rightBytes makes the record right if it is the record that is wrong about the
// size. It reports whether it was.
func (r *run) rightBytes(ctx context.Context, f *Finding, b meta.AuditBlob, d oci.Digest) (bool, error) {
	is, err := r.Blobs.Inspect(ctx, b.Key)
	if err != nil {
		return false, err
	}
	if err := r.verify(ctx, b.Key, d); err != nil {
		return false, ctx.Err()
	}
	return r.reinstate(ctx, f, meta.Blob{Digest: d, Key: b.Key, Size: is.Size})
}

// reinstate records an object whose bytes were checked, and reports whether
// anybody has it then.
func (r *run) reinstate(ctx context.Context, f *Finding, b meta.Blob) (bool, error) {
	n, err := r.Mender.Reinstate(ctx, b)
	if err != nil || n == 0 {
		return false, err
	}
	f.Done, f.Cured = "its bytes are right; it is served again", true
	return true, nil
}

func (r *run) verify(ctx context.Context, key blob.Key, d oci.Digest) error {
	return verify(ctx, r.Blobs, key, d, r.buffer(), func(int) error { return nil })
}

// repairObject does something about an object that no record names. Bytes that
// were checked go to the repositories that had them; those that are the same as
// what is stored anyway go to the collector, and all others to the quarantine.
func (r *run) repairObject(ctx context.Context, f *Finding, o blob.Object) error {
	if !o.Finished {
		f.Done, f.Cured = "removed", true
		return r.Blobs.Delete(ctx, o.Key)
	}
	if r.verify(ctx, o.Key, o.Digest) == nil {
		if done, err := r.repairGood(ctx, f, o); done || err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if r.o.Repair == RepairKeeping {
		f.Done = "left where it is: it may belong to something that the records do not know any more"
		return nil
	}
	moved, err := r.Blobs.Quarantine(ctx, o.Key)
	if moved {
		f.Done, f.Cured = "moved to the quarantine", true
	}
	return err
}

// repairGood does something about an object that no record names and whose bytes
// are right, and reports whether it could.
func (r *run) repairGood(ctx context.Context, f *Finding, o blob.Object) (bool, error) {
	b, err := r.Records.FindAuditBlob(ctx, o.Digest.String())
	known := err == nil && !b.Damaged && b.Key != o.Key
	if err != nil && !errors.Is(err, meta.ErrNotFound) {
		return false, err
	}
	if known {
		err := r.verify(ctx, b.Key, o.Digest)
		switch {
		case err == nil:
			f.Done, f.Cured = "left to the collector: the same bytes are stored besides", true
			return true, r.Mender.CondemnUnknown(ctx, o.Key)
		case ctx.Err() != nil:
			return false, ctx.Err()
		case !isMissing(err) && !errors.Is(err, errWrong):
			return false, nil // nobody can say which of the two will be needed
		}
		if err := r.Mender.MarkDamaged(ctx, o.Digest, b.Key); err != nil {
			return false, err
		}
	}
	return r.reinstate(ctx, f, meta.Blob{Digest: o.Digest, Key: o.Key, Size: o.Size})
}

// repairManifest does what can be done about a finding of a manifest.
func (r *run) repairManifest(ctx context.Context, f *Finding, m meta.AuditManifest) error {
	switch f.Kind {
	case ManifestBytes:
		good := func(body []byte) bool {
			c := m
			c.Body = body
			return hasDigest(c)
		}
		ok, err := r.Mender.MendManifest(ctx, m, good)
		if ok {
			f.Done, f.Cured = "its bytes were taken from another repository", true
		}
		return err
	case Kind(meta.FaultReferences):
		now, _, err := r.Records.FindAuditManifest(ctx, m.ID)
		if errors.Is(err, meta.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		p, perr := parse(now)
		if perr != nil || !hasDigest(now) {
			return nil
		}
		ok, err := r.Mender.MendReferences(ctx, now, needs(p))
		if ok {
			f.Done, f.Cured = "recorded as the manifest says", true
		}
		return err
	}
	return nil
}

// repairRecord mends a contradiction.
func (r *run) repairRecord(ctx context.Context, f *Finding, c meta.Contradiction) error {
	if f.Weight == Info {
		return nil
	}
	did, err := r.Mender.Mend(ctx, c)
	if err != nil {
		return fmt.Errorf("repair %s: %w", f.Kind, err)
	}
	f.Done, f.Cured = did, did != ""
	return nil
}
