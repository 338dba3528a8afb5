package meta

import (
	"context"
	"time"

	"berth/internal/oci"
)

// A Use is what somebody did with a manifest that leaves no other trace.
type Use int

// The uses.
const (
	Pulled Use = iota // it was sent

	// PushedAgain is a push of what was there already.
	PushedAgain

	// Seen is that a client was told that the repository has it, and may leave it
	// out of what it is about to push.
	Seen
)

// Uses remembers when manifests were used last.
type Uses interface {
	// NoteUse keeps in memory that a manifest of repo is being used, to be recorded
	// with FlushUses: one time for each manifest and kind, the last one. It never
	// waits. What is kept is lost with the process; when it is too much, manifests
	// that are not among it are dropped and counted.
	NoteUse(repo oci.Repo, d oci.Digest, u Use)

	// UsesWaiting returns a channel that receives a value when so much is kept that
	// it ought to be recorded soon.
	UsesWaiting() <-chan struct{}

	// FlushUses records what NoteUse kept, in bounded steps. It survives the end of
	// the process. A recorded time is only ever replaced by a later one, so a clock
	// that was set back leaves the times as they are until it is there again.
	FlushUses(ctx context.Context) error

	// DroppedUses is how many of them NoteUse has dropped.
	DroppedUses() int64

	// UsesSince returns since when they have been noted without a gap that matters:
	// since the database was made, brought up to date from a version that did not
	// note them, or brought back from a copy.
	UsesSince(ctx context.Context) (time.Time, error)
}

// A RepoState is what a repository has, as far as retention asks.
type RepoState struct {
	UsesSince time.Time       // see Uses
	Tags      []TagState      // by name
	Manifests []ManifestState // by digest
}

// A TagState is a tag and when it came to point there.
type TagState struct {
	Tag
	Moved     time.Time
	Immutable bool
}

// A ManifestState is what retention asks about a manifest. Times that are zero
// are not known.
type ManifestState struct {
	Digest   oci.Digest
	Size     int64 // bytes
	Pushed   time.Time
	Again    time.Time // when it was pushed again as it is
	Pulled   time.Time
	Seen     time.Time    // see Seen
	Untagged time.Time    // when it lost a tag
	Subject  oci.Digest   // which the repository need not have; zero: none
	Parts    []oci.Digest // manifests of the repository that it names as parts
}

// Retaining is what retention reads.
type Retaining interface {
	// RepoState returns all tags and manifests of repo; none when there is no such
	// repository. It is not of one moment: what is pushed meanwhile may be there in
	// parts.
	RepoState(ctx context.Context, repo oci.Repo) (RepoState, error)

	// NeededOnlyBy lists the blobs of repo that the given manifests need and no
	// other manifest of repo does.
	NeededOnlyBy(ctx context.Context, repo oci.Repo, manifests []oci.Digest) ([]Member, error)
}
