package meta

import (
	"context"
	"time"
)

// A ScrubState says how far the reading of everything is. A round reads all blobs
// and then all manifests.
type ScrubState struct {
	Cursor   string    // what was read last, as the reader names it; empty: nothing yet
	Began    time.Time // of this round, or of the last one if that is over; zero: there was none
	Finished time.Time // of the last round that came to its end; zero: there was none
	Bytes    int64     // read in this round
	Bad      int64     // that were found damaged in it
	Unread   int64     // that could not be read in it
}

// Running reports whether a round has begun and not ended.
func (s ScrubState) Running() bool { return s.Began.After(s.Finished) }

// Scrubbing remembers what the reading of everything needs.
type Scrubbing interface {
	ScrubState(ctx context.Context) (ScrubState, error)

	// SaveScrub survives the end of the process, and not the loss of power.
	SaveScrub(ctx context.Context, s ScrubState) error

	// NoteManifest records that the bytes of a manifest are wrong. One that has
	// gone meanwhile is no error.
	NoteManifest(ctx context.Context, id int64) error

	// ForgetManifest records that they are right (again).
	ForgetManifest(ctx context.Context, id int64) error

	// NotedManifests returns at most limit numbers of manifests whose bytes are
	// recorded to be wrong.
	NotedManifests(ctx context.Context, limit int) ([]int64, error)

	// CountDamaged counts what is recorded as damaged.
	CountDamaged(ctx context.Context) (blobs, manifests int64, err error)
}
