package meta

import (
	"context"
	"time"

	"berth/internal/event"
	"berth/internal/oci"
)

// A TagCause says by what a tag was moved.
type TagCause string

// The causes.
const (
	ByPush      TagCause = "push"
	ByDelete    TagCause = "delete"
	ByRestore   TagCause = "restore"
	ByRollback  TagCause = "rollback"
	ByRetention TagCause = "retention"
	ByUntagged  TagCause = "untagged"
	ByRegistry2 TagCause = "registry2" // that used the data directory meanwhile
)

// A TagMove is one entry of the history of a tag.
type TagMove struct {
	Seq   int64 // grows; of all tags
	Tag   oci.Tag
	From  oci.Digest // zero: there was no such tag
	To    oci.Digest // zero: it went
	At    time.Time
	By    event.Actor // Name, Addr and Via
	Cause TagCause
}

// A TagSet asks for a tag to point to another manifest of its repository.
type TagSet struct {
	Repo  oci.Repo
	Tag   oci.Tag
	From  oci.Digest // what it must point to now; zero: there must be no such tag
	To    oci.Digest
	Cause TagCause
	By    event.Actor
}

// History remembers what tags pointed to.
type History interface {
	// TagHistory lists the moves of a tag of repo, of all its tags if tag is zero,
	// the newest first: at most limit, older than move before if that is not 0.
	TagHistory(ctx context.Context, repo oci.Repo, tag oci.Tag, before int64, limit int) ([]TagMove, error)

	// SetTag moves a tag. ErrConflict when it does not point to s.From (any more),
	// ErrNotFound when the repository has no manifest s.To, *ImmutableTagError.
	SetTag(ctx context.Context, s TagSet) error

	// TrimHistory forgets at most limit moves older than age, and returns how
	// many.
	TrimHistory(ctx context.Context, age time.Duration, limit int) (int, error)
}

// An ImmutableTagError says that a tag may neither be moved nor deleted.
type ImmutableTagError struct {
	Repo oci.Repo
	Tag  oci.Tag
}

func (e *ImmutableTagError) Error() string {
	return "meta: tag " + e.Tag.String() + " of " + e.Repo.String() + " is immutable"
}
