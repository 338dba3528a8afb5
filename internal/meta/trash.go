package meta

import (
	"context"
	"fmt"
	"time"

	"berth/internal/event"
	"berth/internal/oci"
)

// A TrashKind says what was deleted.
type TrashKind string

// The kinds of what is in the trash.
const (
	TrashTag      TrashKind = "tag"
	TrashManifest TrashKind = "manifest" // with the tags that pointed to it
	TrashBlob     TrashKind = "blob"
	TrashRepo     TrashKind = "repository" // all that it had
)

// A TrashReason says why something was deleted.
type TrashReason string

// The reasons.
const (
	ReasonDeleted   TrashReason = "deleted"   // somebody asked for it
	ReasonRetention TrashReason = "retention" // a rule let it go
	ReasonUntagged  TrashReason = "untagged"  // an operator had untagged manifests removed
)

// A TrashEntry is one deletion, which can be undone as a whole.
type TrashEntry struct {
	ID        int64
	Kind      TrashKind
	Reason    TrashReason
	Repo      oci.Repo
	Digest    oci.Digest // of the manifest, of the blob, or of what the tag pointed to; zero if there were several
	Tags      []Tag      // that went; of a repository none, they are too many
	TagCount  int        // how many went
	Manifests int        // how many went
	Bytes     int64      // of the blobs and manifests that it keeps from being collected, shared ones too
	Alone     int64      // of those, what nothing else has: this much its end frees
	Deleted   time.Time
	By        event.Actor
	Left      time.Duration // how long it is kept from now on
}

// A Discard asks for tags and manifests of one repository to be let go, as one
// deletion.
type Discard struct {
	Repo      oci.Repo
	Tags      []Tag        // each goes if it still points where it says
	Manifests []oci.Digest // each goes if then no tag points to it and no manifest that stays needs it
	Reason    TrashReason
	By        event.Actor

	// Whole makes it all or nothing: ErrConflict if anything of it would stay.
	Whole bool
}

// A Discarded says what a Discard did. What is missing in it stayed.
type Discarded struct {
	Entry     int64 // in the trash; 0 if there is none
	Tags      []Tag
	Manifests []oci.Digest
}

// String says what the deleted thing was called.
func (w TrashWhat) String() string {
	switch {
	case w.ID != 0:
		return fmt.Sprintf("the trash, number %d", w.ID)
	case !w.Ref.Tag.IsZero():
		return fmt.Sprintf("%s:%s", w.Repo, w.Ref.Tag)
	case !w.Ref.Digest.IsZero():
		return fmt.Sprintf("%s@%s", w.Repo, w.Ref.Digest)
	}
	return w.Repo.String()
}

// A TrashWhat names an entry: by its number, or by what was deleted.
type TrashWhat struct {
	ID   int64    // if it is not 0
	Repo oci.Repo // else the newest entry of this repository
	Ref  oci.Ref  // that has this; zero: that is the repository as a whole
}

// A Restore says how a deletion is to be undone.
type Restore struct {
	ID    int64
	Only  oci.Ref  // of a repository: this manifest and what belongs to it; zero: all
	As    oci.Repo // another repository; zero: the one that it was deleted from
	Force bool     // move tags back which point to something else by now
	By    event.Actor
}

// A Restored says what a Restore did.
type Restored struct {
	Repo      oci.Repo
	Tags      []Tag // that are there again; none of a repository that came back as it was
	TagCount  int
	Manifests int
	Kept      []Tag // that point to something else by now, and were left alone: what they point to
	More      bool  // not all of it is there yet: call again
}

// Trash keeps what was deleted until it is dropped. What a repository has in the
// trash nobody finds by any other method, and what is stored again meanwhile is
// another thing.
type Trash interface {
	// TrashEntries lists the entries of repo, of all repositories if it is zero,
	// the newest first: at most limit, older than entry before if that is not 0.
	TrashEntries(ctx context.Context, repo oci.Repo, before int64, limit int) ([]TrashEntry, error)

	// FindTrash returns the entry that w names, else ErrNotFound.
	FindTrash(ctx context.Context, w TrashWhat) (TrashEntry, error)

	// Restore undoes a deletion. Everything that a manifest had when it was
	// deleted is there with it afterwards, from other entries of the repository if
	// need be; else the error is *MissingError, and nothing has changed.
	// ErrNotFound when there is no such entry (any more).
	//
	// It is one transaction, but for a repository that goes into one that has
	// something: then each call moves a bounded number of manifests, with their
	// parts and their tags, and the entry goes with the last of them.
	Restore(ctx context.Context, r Restore) (Restored, error)

	// DropTrash makes garbage of entries: they can't be restored any more, and
	// ExpireTrash frees what they have. A missing one is not an error.
	DropTrash(ctx context.Context, ids ...int64) error

	// ExpireTrash takes entries apart that were dropped or are older than they are
	// kept. It looks at no more than limit records and returns how many, 0 when
	// there is nothing left to do. It records events that are left to be recorded
	// first, see RecordRepo.
	ExpireTrash(ctx context.Context, limit int) (int, error)
}

// Discarder deletes more than one thing at once.
type Discarder interface {
	// Discard lets go of what d names, as far as it may go. It survives what
	// PutManifest survives.
	Discard(ctx context.Context, d Discard) (Discarded, error)

	// DeleteRepo deletes a repository with all that it has, however much that is,
	// and returns the entry in the trash, 0 if there is none. Uploads go on, and
	// what they lead to must not name what went: the repository is left with
	// tombstones of all that. ErrNotFound when it has nothing.
	DeleteRepo(ctx context.Context, repo oci.Repo, by event.Actor) (int64, error)

	// RecordRepo records at most limit more of the events of repositories that
	// were deleted or came back as a whole, and returns how many: 0 when all are
	// recorded. The transaction that did it records the first ones.
	RecordRepo(ctx context.Context, limit int) (int, error)
}
