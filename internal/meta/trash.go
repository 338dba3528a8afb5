package meta

import (
	"context"
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
	Tags      []Tag      // that went
	Manifests int        // how many went
	Bytes     int64      // of the blobs and manifests that it keeps from being collected, shared ones too
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
}

// A Discarded says what a Discard did. What is missing in it stayed.
type Discarded struct {
	Entry     int64 // in the trash; 0 if there is none
	Tags      []Tag
	Manifests []oci.Digest
}

// A Restore says how a deletion is to be undone.
type Restore struct {
	ID    int64
	As    oci.Repo // another repository; zero: the one that it was deleted from
	Force bool     // move tags back which point to something else by now
	By    event.Actor
}

// A Restored says what a Restore did.
type Restored struct {
	Repo      oci.Repo
	Tags      []Tag // that are there again
	Manifests int
	Kept      []Tag // that point to something else by now, and were left alone: what they point to
}

// Trash keeps what was deleted until it is dropped.
type Trash interface {
	// TrashEntries lists the entries of repo, of all repositories if it is zero,
	// the newest first: at most limit, older than entry before if that is not 0.
	TrashEntries(ctx context.Context, repo oci.Repo, before int64, limit int) ([]TrashEntry, error)

	// Restore undoes a deletion: all of it or nothing. ErrNotFound when there is
	// no such entry (any more).
	Restore(ctx context.Context, r Restore) (Restored, error)

	// DropTrash makes garbage of an entry. A missing one is not an error.
	DropTrash(ctx context.Context, id int64) error

	// ExpireTrash drops at most limit entries that are older than they are kept,
	// or a part of one, and returns how many; 0 when there is nothing left to do.
	ExpireTrash(ctx context.Context, limit int) (int, error)
}

// Discarder deletes more than one thing at once.
type Discarder interface {
	// Discard lets go of what d names, as far as it may go. It survives what
	// PutManifest survives.
	Discard(ctx context.Context, d Discard) (Discarded, error)

	// DeleteRepo deletes a repository with all that it has, and returns the entry
	// in the trash, 0 if there is none. ErrNotFound when it has nothing.
	DeleteRepo(ctx context.Context, repo oci.Repo, by event.Actor) (int64, error)
}
