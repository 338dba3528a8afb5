package blob

import (
	"context"
	"iter"
	"time"
)

// An Inspector is a Store whose contents can be compared with what is recorded
// of them, and of which what is damaged can be put aside.
type Inspector interface {
	// Inspect says what stands where the object of key belongs, finished or not,
	// whatever that is. It follows no links.
	Inspect(ctx context.Context, key Key) (Condition, error)

	// OpenOnce is Open for one who reads everything once: the system is told not
	// to keep what was read in memory, where it would push out what clients read.
	OpenOnce(ctx context.Context, key Key) (Reader, error)

	// Quarantine moves whatever stands where the object of key belongs to where
	// nobody reads it, durably, and reports whether there was anything that it may
	// move. What another program keeps there stays.
	Quarantine(ctx context.Context, key Key) (bool, error)

	// Quarantined lists what Quarantine has moved, in no order.
	Quarantined(ctx context.Context) iter.Seq2[Object, error]

	// EmptyQuarantine deletes what Quarantine has moved.
	EmptyQuarantine(ctx context.Context) error
}

// A Condition says what stands in the place of an object.
type Condition struct {
	Shape   Shape
	Size    int64 // bytes, of a file
	ModTime time.Time

	// Committed says that an unfinished object is the same bytes as a finished one:
	// its Commit is done and its Settle is not, or never came.
	Committed bool
}

// A Shape is what a name in a store stands for.
type Shape int

// The shapes.
const (
	Absent Shape = iota // nothing
	File                // bytes that can be read
	Other               // a link, a directory or the like, here or on the way
)
