package meta

import (
	"context"
	"time"

	"berth/internal/blob"
	"berth/internal/event"
	"berth/internal/oci"
)

// Who does something is recorded with the event of it, if anybody reads events:
// see Outbox.

// Uploads records blob uploads in progress.
type Uploads interface {
	// CreateUpload records u, before any byte of it exists. It survives the end
	// of the process, but perhaps not the loss of power; the same is true of it being
	// over, if the object that it ended as is recorded. After either an upload of
	// which nothing was saved may have another Key. If there are as many as there may
	// be, those that have rested with nothing saved give way, else it is
	// ErrTooManyUploads.
	CreateUpload(ctx context.Context, u Upload) error

	// FindUpload returns the upload id of repo, else ErrNotFound.
	FindUpload(ctx context.Context, repo oci.Repo, id UploadID) (Upload, error)

	// SaveUpload stores u if its stored Version is still u.Version, which then
	// becomes one more, and ErrConflict otherwise: two writers cannot both move
	// on. A missing upload is ErrNotFound. Durable as CreateUpload.
	SaveUpload(ctx context.Context, u Upload) error

	// CommitUpload turns the upload into blob d of its repository and ends it.
	// b is the finished object. If an undamaged d of its size exists already, that
	// one wins and b.Key becomes garbage; any other is replaced, and its key becomes
	// garbage. With an empty b.Key an undamaged d must exist already, else the
	// error is ErrConflict and the upload goes on. It clears d's tombstone.
	// It returns the record that d now has.
	CommitUpload(ctx context.Context, u Upload, b Blob, by event.Actor) (Blob, error)

	// DropUpload ends the upload and makes its key garbage, due at once. A
	// missing upload is not an error.
	DropUpload(ctx context.Context, u Upload) error
}

// Blobs records which repository has which blob (memberships).
type Blobs interface {
	// FindBlob returns blob d as a member of repo, else ErrNotFound.
	FindBlob(ctx context.Context, repo oci.Repo, d oci.Digest) (Blob, error)

	// FindContent returns blob d if any repository has it, else ErrNotFound. It
	// says nothing of who may read it, so it must never answer a client.
	FindContent(ctx context.Context, d oci.Digest) (Blob, error)

	// Holders returns at most limit repositories that have blob d.
	Holders(ctx context.Context, d oci.Digest, limit int) ([]oci.Repo, error)

	// LinkBlob makes blob d, of which from is a holder, a member of to. It clears
	// to's tombstone of d and begins its grace anew. ErrNotFound when from has no
	// undamaged d.
	LinkBlob(ctx context.Context, from, to oci.Repo, d oci.Digest, by event.Actor) error

	// UnlinkBlob ends the membership and leaves a tombstone. *InUseError when a
	// live manifest of repo needs d, ErrNotFound when repo has no d. With the
	// last membership the blob's key becomes garbage.
	UnlinkBlob(ctx context.Context, repo oci.Repo, d oci.Digest, by event.Actor) error

	// TouchBlob begins the grace of blob d in repo anew. It survives the end of
	// the process. ErrNotFound when repo has no d (any more).
	TouchBlob(ctx context.Context, repo oci.Repo, d oci.Digest) error

	// MarkDamaged records that the object key of blob d is missing or broken. It
	// does nothing if d has another key by now.
	MarkDamaged(ctx context.Context, d oci.Digest, key blob.Key) error
}

// Manifests records manifests and tags.
type Manifests interface {
	// PutManifest stores a manifest and points tags to it. Errors: *MissingError,
	// *SizeError, *TagTakenError. A put that changes nothing costs no transaction;
	// its event is one that NoteEvent records.
	//
	// From its commit on, no part that the repository has can be collected or
	// deleted. It clears the manifest's tombstone.
	PutManifest(ctx context.Context, p ManifestPut) (ManifestResult, error)

	// FindManifest returns the manifest under a tag or a digest, else ErrNotFound.
	FindManifest(ctx context.Context, repo oci.Repo, ref oci.Ref) (Manifest, error)

	// DeleteManifest removes the manifest and the tags that point to it, and
	// begins the grace of its parts anew. It leaves a tombstone. ErrNotFound when
	// there is none, whatever names it; *InUseError when a live index does.
	DeleteManifest(ctx context.Context, repo oci.Repo, d oci.Digest, by event.Actor) error

	// DeleteTag removes the tag and leaves the manifest. ErrNotFound if missing.
	DeleteTag(ctx context.Context, repo oci.Repo, tag oci.Tag, by event.Actor) error
}

// Listings answers what there is. Lists are in byte order, begin behind after
// (which need not exist; empty means at the beginning) and hold at most limit.
// They may be shared: whoever gets one does not change it.
type Listings interface {
	// Repos lists repositories that have a manifest.
	Repos(ctx context.Context, after string, limit int) ([]oci.Repo, error)

	// HasRepo reports whether repo has, or ever had, anything.
	HasRepo(ctx context.Context, repo oci.Repo) (bool, error)

	// Tags lists the tags of repo and what they point to. TagNames costs a
	// fraction of it.
	Tags(ctx context.Context, repo oci.Repo, after string, limit int) ([]Tag, error)
	TagNames(ctx context.Context, repo oci.Repo, after string, limit int) ([]oci.Tag, error)

	// Referrers lists the manifests that refer to another, by digest.
	Referrers(ctx context.Context, q ReferrerQuery) ([]oci.Entry, error)
}

// A ReferrerQuery asks for the manifests of Repo whose subject is Subject, and
// whose type is Type unless that is empty.
type ReferrerQuery struct {
	Repo    oci.Repo
	Subject oci.Digest
	Type    string

	After string
	Limit int

	// Bytes ends the list earlier: behind the entry with which there is more than
	// one, and they are longer than this. 0 means no bound.
	Bytes int
}

// Garbage finds what nothing needs, in bounded steps that may run beside any
// traffic and may be repeated. Ages are counted in ticks.
type Garbage interface {
	// ExpireUploads drops at most limit uploads that nobody has saved for idle,
	// as DropUpload does, and returns how many.
	ExpireUploads(ctx context.Context, idle time.Duration, limit int) (int, error)

	// CollectBlobs looks at no more than limit memberships that may be needless
	// and have rested for grace, ends those that no manifest of their repository
	// refers to, leaves a tombstone of each, and makes keys garbage whose last
	// membership that was. It returns how many it looked at and how many it ended.
	//
	// A grace of 0 is safe, too: a push under way that counted on what is ended
	// finds the tombstone, and is told to upload it again.
	CollectBlobs(ctx context.Context, grace time.Duration, limit int) (looked, ended int, err error)

	// Condemned returns at most limit garbage keys that are due, or will be within
	// ahead.
	Condemned(ctx context.Context, ahead time.Duration, limit int) ([]blob.Key, error)

	// Forget removes the records of garbage keys, after their objects are gone.
	Forget(ctx context.Context, keys []blob.Key) error

	// ForgetLosses removes at most limit tombstones older than age, by when no
	// push that saw the lost part can still be under way.
	ForgetLosses(ctx context.Context, age time.Duration, limit int) (int, error)

	// KnownKey reports whether an upload or a blob is recorded under key, or it is
	// garbage that waits to be deleted.
	KnownKey(ctx context.Context, key blob.Key) (bool, error)
}

// Pruning is what an operator who asks for a collection wants besides: to see
// what would go, and to let go of manifests that no tag leads to. Nothing else
// removes a manifest that nobody has deleted.
//
// A tag leads to its manifest, to the parts of what it leads to, and to those
// whose subject it leads to. A manifest that was pushed after before is treated
// as if it had a tag: the push of what it belongs to may be under way.
type Pruning interface {
	// Unneeded lists at most limit blobs that CollectBlobs would end now, behind
	// after, which is empty or the next of an earlier call. With an empty next
	// there are no more.
	Unneeded(ctx context.Context, grace time.Duration, after string, limit int) (list []Member, next string, err error)

	// IdleUploads lists at most limit uploads that ExpireUploads would drop now,
	// those that were saved longest ago first.
	IdleUploads(ctx context.Context, idle time.Duration, limit int) ([]IdleUpload, error)

	// Untagged lists the manifests of repo that no tag leads to, by digest, and
	// the blobs that nothing of repo would need without them.
	Untagged(ctx context.Context, repo oci.Repo, before time.Time) (manifests, blobs []Member, err error)

	// Prune removes at most limit of the manifests that Untagged lists, each as
	// DeleteManifest does, and returns their digests; none when it is done. A
	// manifest goes before its parts, so that it may be ended anywhere.
	Prune(ctx context.Context, repo oci.Repo, before time.Time, limit int) ([]oci.Digest, error)
}

// Outbox keeps events for those who read them. Every mutation that changes what
// a repository has records its event in its own transaction, as long as there
// is a reader whose Need covers it, and none otherwise.
//
// Events are in one sequence. An event is visible no sooner than all before it.
type Outbox interface {
	// Subscribe makes reader name known, with what it needs from now on, and
	// returns the number of the last event that it has read. A new one has read
	// what there is.
	Subscribe(ctx context.Context, name string, need Need) (seq int64, err error)

	// Unsubscribe forgets a reader. A missing one is not an error.
	Unsubscribe(ctx context.Context, name string) error

	// Events returns at most limit events behind number after, in order.
	Events(ctx context.Context, after int64, limit int) ([]event.Event, error)

	// Advance records that reader name has read everything up to seq, or is to
	// read again what is behind it. It survives the end of the process.
	// ErrNotFound when there is no such reader.
	Advance(ctx context.Context, name string, seq int64) error

	// TrimEvents removes at most limit events that were recorded age ago (in
	// ticks) or before, the oldest first, but none that a reader with NeedAll has
	// not read. Other readers that had not read them go on behind them.
	TrimEvents(ctx context.Context, age time.Duration, limit int) (Trimmed, error)

	// EventNews returns a channel that is closed once events were recorded after
	// this call.
	EventNews() <-chan struct{}
}

// EventNotes records events that no transaction causes: pulls.
type EventNotes interface {
	// NoteEvent keeps e in memory, to be recorded with FlushEvents or before the
	// next mutation. It never waits. What is kept is lost with the process; when
	// it is too much, what comes is dropped and counted. Without readers it does
	// nothing.
	NoteEvent(e event.Event)

	// FlushEvents records what NoteEvent kept. It survives the end of the process.
	FlushEvents(ctx context.Context) error

	// DroppedEvents is how many events NoteEvent has dropped.
	DroppedEvents() int64

	// EventReaders lists the readers, by name.
	EventReaders(ctx context.Context) ([]Reader, error)
}
