package registry

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"berth/internal/blob"
	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
)

// Records is what a Core needs to remember things.
type Records interface {
	meta.Uploads
	meta.Blobs
	meta.Manifests
	meta.Listings
	TagRecords
	TrashRecords
}

// Deletion says whether clients may delete.
type Deletion int

// The two answers.
const (
	DeletionOff Deletion = iota
	DeletionOn
)

// Options configure a Core. Blobs, Records and Log must be set.
type Options struct {
	Blobs   blob.Store
	Records Records
	Log     *slog.Logger

	Deletion      Deletion
	RefuseMissing bool          // refuse manifests with parts that the repository never had
	Manifests     Manifests     // what else manifests must be like
	MaxUpload     int64         // bytes of one blob; 0 means no limit
	Grace         time.Duration // how long what nothing refers to is kept: see Touch

	// An upload is checkpointed after so many bytes and so much time. Zero means
	// 32 MiB and one second.
	CheckpointBytes int64
	CheckpointEvery time.Duration
}

// A Core is the Service that does the work. Its zero value is not usable;
// obtain one from New.
type Core struct {
	*Options             // which nobody changes any more; shared, since there is a Core for each request
	by       event.Actor // whom As named
	sessions *sessions
	memory   *memory
}

var _ Service = (*Core)(nil)

// New returns a Core for the anonymous user.
func New(o Options) *Core {
	if o.CheckpointBytes == 0 {
		o.CheckpointBytes = 32 << 20
	}
	if o.CheckpointEvery == 0 {
		o.CheckpointEvery = time.Second
	}
	return &Core{Options: &o, sessions: newSessions(), memory: newMemory()}
}

// As returns the same Core working for by: upload sessions belong to the user of
// that name, and what is done is recorded as done by them.
func (c *Core) As(by event.Actor) *Core {
	as := *c
	as.by = by
	return &as
}

// AsOperator is As for the operator, who may delete where clients may not.
func (c *Core) AsOperator(by event.Actor) *Core {
	as, o := c.As(by), *c.Options
	o.Deletion = DeletionOn
	as.Options = &o
	return as
}

// Blob implements Puller.
func (c *Core) Blob(ctx context.Context, repo oci.Repo, d oci.Digest) (*Blob, error) {
	rec, err := c.findBlob(ctx, repo, d)
	if err != nil {
		return nil, err
	}
	b, err := c.openBlob(ctx, rec)
	if err != nil {
		return nil, err
	}
	if err := c.touch(ctx, repo, rec); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

// BlobSize implements Puller.
func (c *Core) BlobSize(ctx context.Context, repo oci.Repo, d oci.Digest) (int64, error) {
	rec, err := c.findBlob(ctx, repo, d)
	if err == nil {
		err = c.lookAt(ctx, rec)
	}
	if err == nil {
		err = c.touch(ctx, repo, rec)
	}
	return rec.Size, err
}

// findBlob finds the record of a blob of repo that is not known to be damaged.
func (c *Core) findBlob(ctx context.Context, repo oci.Repo, d oci.Digest) (meta.Blob, error) {
	rec, err := c.Records.FindBlob(ctx, repo, d)
	if errors.Is(err, meta.ErrNotFound) || err == nil && rec.Damaged {
		return meta.Blob{}, blobUnknown(d)
	}
	return rec, err
}

// touch renews the grace of a blob that is half-way out, before a client is
// told that it need not upload it. Where there is no space to write that down,
// pulls go on all the same: no push that relies on it could end well there, and
// one that does later is told what is missing.
func (c *Core) touch(ctx context.Context, repo oci.Repo, rec meta.Blob) error {
	if rec.Left > c.Grace/2 {
		return nil
	}
	err := c.Records.TouchBlob(ctx, repo, rec.Digest)
	switch {
	case errors.Is(err, meta.ErrNotFound):
		return blobUnknown(rec.Digest)
	case errors.Is(err, meta.ErrNoSpace):
		return nil
	}
	return err
}

// openBlob opens the bytes of rec and compares their size with the record.
func (c *Core) openBlob(ctx context.Context, rec meta.Blob) (*Blob, error) {
	r, err := c.Blobs.Open(ctx, rec.Key)
	if err != nil {
		return nil, c.checkSize(ctx, rec, 0, err)
	}
	if err := c.checkSize(ctx, rec, r.Size(), nil); err != nil {
		r.Close()
		return nil, err
	}
	return &Blob{Reader: r, Digest: rec.Digest}, nil
}

// lookAt is openBlob for who doesn't read.
func (c *Core) lookAt(ctx context.Context, rec meta.Blob) error {
	if l, ok := c.Blobs.(blob.Looker); ok {
		size, err := l.Look(ctx, rec.Key)
		return c.checkSize(ctx, rec, size, err)
	}
	b, err := c.openBlob(ctx, rec)
	if err != nil {
		return err
	}
	return b.Close()
}

// checkSize compares the size that was found of rec, or the error there was, with
// the record. What is missing or of another size is marked damaged, so that it is
// never served as good and the next upload of it heals it.
func (c *Core) checkSize(ctx context.Context, rec meta.Blob, size int64, err error) error {
	switch {
	case err == nil && size == rec.Size:
		return nil
	case err == nil:
		c.Log.Error("a stored blob has the wrong size; push it again to heal it",
			"digest", rec.Digest.String(), "key", string(rec.Key), "has", size, "want", rec.Size)
	case isNotExist(err):
		c.Log.Warn("a stored blob is missing; push it again to heal it", "digest", rec.Digest.String(), "key", string(rec.Key))
	default:
		return err
	}
	if err := c.Records.MarkDamaged(ctx, rec.Digest, rec.Key); err != nil {
		c.Log.Error("mark blob damaged", "digest", rec.Digest.String(), "error", err)
	}
	return blobUnknown(rec.Digest)
}

// healthy reports whether the bytes of rec are there, by their size.
func (c *Core) healthy(ctx context.Context, rec meta.Blob) bool {
	return !rec.Damaged && c.lookAt(ctx, rec) == nil
}

// Manifest implements Puller.
func (c *Core) Manifest(ctx context.Context, repo oci.Repo, ref oci.Ref) (meta.Manifest, error) {
	m, err := c.findManifest(ctx, repo, ref)
	if errors.Is(err, meta.ErrNotFound) {
		return meta.Manifest{}, c.manifestUnknown(ctx, repo, ref)
	}
	return m, err
}

// findManifest finds a manifest whose bytes are what its digest says. A damaged
// one is as if it were not there: meta.ErrNotFound.
func (c *Core) findManifest(ctx context.Context, repo oci.Repo, ref oci.Ref) (meta.Manifest, error) {
	m, err := c.Records.FindManifest(ctx, repo, ref)
	if err != nil {
		return meta.Manifest{}, err
	}
	if !m.Intact() {
		c.Log.Error("a stored manifest is damaged; push it again to heal it", "repository", repo.String(), "digest", m.Digest.String())
		return meta.Manifest{}, meta.ErrNotFound
	}
	return m, nil
}

// MountBlob implements Pusher.
func (c *Core) MountBlob(ctx context.Context, m Mount) error {
	if !m.From.IsZero() {
		return c.mountFrom(ctx, m, m.From)
	}
	// Mostly the first will do, of however many.
	for _, limit := range []int{fewHolders, maxHolders} {
		holders, err := c.Records.Holders(ctx, m.Digest, limit)
		if err != nil {
			return err
		}
		if err := c.mountFrom(ctx, m, holders...); oci.CodeOf(err) != oci.BlobUnknown {
			return err
		}
		if len(holders) < limit {
			break
		}
	}
	return blobUnknown(m.Digest)
}

// How many repositories a mount without "from" looks through: at first, and at
// most.
const (
	fewHolders = 8
	maxHolders = 1000
)

// mountFrom mounts from the first of froms that will do.
func (c *Core) mountFrom(ctx context.Context, m Mount, froms ...oci.Repo) error {
	for _, from := range froms {
		if m.Readable != nil && !m.Readable(from) {
			continue
		}
		rec, err := c.Records.FindBlob(ctx, from, m.Digest)
		if errors.Is(err, meta.ErrNotFound) || err == nil && !c.healthy(ctx, rec) {
			continue
		}
		if err != nil {
			return err
		}
		if err := c.Records.LinkBlob(ctx, from, m.To, m.Digest, c.by); !errors.Is(err, meta.ErrNotFound) {
			return err
		}
	}
	return blobUnknown(m.Digest)
}

// PutManifest implements Pusher.
func (c *Core) PutManifest(ctx context.Context, p Put) (PutResult, error) {
	d := p.Digest
	if d.IsZero() {
		d = oci.SHA256.FromBytes(p.Manifest.Body)
	} else if has := d.Algorithm().FromBytes(p.Manifest.Body); has != d {
		return PutResult{}, &oci.Error{Code: oci.DigestInvalid, Message: "the manifest was pushed as " + d.String() + " and has the digest " + has.String()}
	}
	if err := c.Manifests.check(p.Manifest); err != nil {
		return PutResult{}, err
	}
	res, err := c.Records.PutManifest(ctx, meta.ManifestPut{
		Require: c.Manifests.required(p.Manifest),
		Repo:    p.Repo, Digest: d, Manifest: p.Manifest, Tags: p.Tags, By: c.by, RefuseMissing: c.RefuseMissing, KeepTags: p.KeepTags,
	})
	if err != nil {
		return PutResult{}, manifestError(err)
	}
	return PutResult{Digest: d, Dangling: res.Dangling}, nil
}

// DeleteBlob implements Deleter.
func (c *Core) DeleteBlob(ctx context.Context, repo oci.Repo, d oci.Digest) error {
	if c.Deletion == DeletionOff {
		return errDeletionOff()
	}
	err := c.Records.UnlinkBlob(ctx, repo, d, c.by)
	if errors.Is(err, meta.ErrNotFound) {
		return blobUnknown(d)
	}
	return inUse(err, "blob "+d.String())
}

// DeleteManifest implements Deleter.
func (c *Core) DeleteManifest(ctx context.Context, repo oci.Repo, d oci.Digest) error {
	if c.Deletion == DeletionOff {
		return errDeletionOff()
	}
	err := c.Records.DeleteManifest(ctx, repo, d, c.by)
	if errors.Is(err, meta.ErrNotFound) {
		return c.manifestUnknown(ctx, repo, oci.Ref{Digest: d})
	}
	return immutable(inUse(err, "manifest "+d.String()), "so "+d.String()+" stays, to which it points")
}

// DeleteTag implements Deleter.
func (c *Core) DeleteTag(ctx context.Context, repo oci.Repo, tag oci.Tag) error {
	if c.Deletion == DeletionOff {
		return errDeletionOff()
	}
	err := c.Records.DeleteTag(ctx, repo, tag, c.by)
	if errors.Is(err, meta.ErrNotFound) {
		return c.manifestUnknown(ctx, repo, oci.Ref{Tag: tag})
	}
	return immutable(err, "leave it where it is")
}
