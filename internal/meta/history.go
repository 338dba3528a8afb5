package meta

import (
	"context"
	"fmt"
	"time"

	"berth/internal/event"
	"berth/internal/oci"
)

// A TagCause says why a tag points to something else than before.
type TagCause string

// The causes.
const (
	ByPush      TagCause = "push"
	ByDelete    TagCause = "delete"    // the tag itself, or the manifest that it pointed to, or the repository
	ByRestore   TagCause = "restore"   // taken out of the trash
	ByRollback  TagCause = "rollback"  // to what it pointed to before
	BySet       TagCause = "set"       // to a manifest that was there
	ByRetention TagCause = "retention" // a rule let go of it
	ByUntagged  TagCause = "untagged"  // an operator had untagged manifests removed
	ByRegistry2 TagCause = "registry2" // registry:2 did it, in a data directory that both use
)

// A TagMove is one thing that happened to a tag. Those of a repository are
// numbered in the order in which they came to be known.
type TagMove struct {
	Seq   int64
	Repo  oci.Repo
	Tag   oci.Tag    // zero: the whole repository was deleted or restored
	From  oci.Digest // zero: there was no such tag
	To    oci.Digest // zero: there is no such tag any more
	At    time.Time  // when it happened, by the wall clock
	Cause TagCause
	By    event.Actor // Name, Via and Addr

	// Trash is the entry of the trash that SetTag took the manifest from, with
	// what belongs to it: 0 if the repository had it. It is not remembered.
	Trash int64
}

// An ImmutableTagError says that a tag is one of those that can neither be moved
// nor removed, by whatever way.
type ImmutableTagError struct {
	Repo oci.Repo
	Tag  oci.Tag
}

func (e *ImmutableTagError) Error() string {
	return fmt.Sprintf("meta: tag %s of %s is immutable", e.Tag, e.Repo)
}

// A TagMovedError says that a tag does not point to what was expected. It wraps
// ErrConflict.
type TagMovedError struct {
	Tag oci.Tag
	Now oci.Digest // zero: there is no such tag
}

func (e *TagMovedError) Error() string {
	return fmt.Sprintf("meta: tag %s points to %s by now", e.Tag, e.Now)
}

func (e *TagMovedError) Unwrap() error { return ErrConflict }

// A NoPastError says that nothing is remembered of what a tag pointed to so long
// ago. It wraps ErrNotFound.
type NoPastError struct {
	Tag oci.Tag
}

func (e *NoPastError) Error() string {
	return fmt.Sprintf("meta: it is not known that tag %s pointed to something else before", e.Tag)
}

func (e *NoPastError) Unwrap() error { return ErrNotFound }

// A TagSet is what SetTag does.
type TagSet struct {
	Repo oci.Repo
	Tag  oci.Tag

	// To is what the tag shall point to. Zero means what it pointed to before, and
	// that Steps times: as far back as the list of its moves goes.
	To    oci.Digest
	Steps int

	// From is what the tag must point to now, nil if that does not matter; it
	// points to zero where there must be no such tag.
	From *oci.Digest

	Cause TagCause
	By    event.Actor
}

// History remembers what tags pointed to. Whatever makes, moves or removes a tag
// notes that in its own transaction; what changes nothing notes nothing.
//
// An immutable tag stays as it was first made: what would move or remove it
// fails with *ImmutableTagError. What registry:2 did is only found, so it is
// noted.
type History interface {
	// TagHistory lists what happened to a tag of repo, or to any if tag is zero:
	// the newest first, at most limit, only what is older than number before,
	// unless that is 0. What happened to the whole repository is in both lists.
	TagHistory(ctx context.Context, repo oci.Repo, tag oci.Tag, before int64, limit int) ([]TagMove, error)

	// PlanTag returns what SetTag would do now.
	PlanTag(ctx context.Context, p TagSet) (TagMove, error)

	// SetTag points a tag to a manifest that its repository has, or has in the
	// trash, and returns what it did. If the tag points there already, From and To
	// are equal and nothing is noted. Errors: ErrNotFound when there is no such
	// manifest, *NoPastError, *TagMovedError, *MissingError as Restore.
	SetTag(ctx context.Context, p TagSet) (TagMove, error)

	// TrimHistory forgets at most limit moves that were noted age ago (in ticks)
	// or before, the oldest first, and returns how many.
	TrimHistory(ctx context.Context, age time.Duration, limit int) (int, error)
}
