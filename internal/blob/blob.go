// Package blob holds the interface behind which immutable bytes are kept.
//
// A Store is dumb on purpose: it knows nothing of repositories, of who is
// asking or of what refers to what. It is told a digest only so that a person
// looking at the tree can tell what is what, and never checks one.
package blob

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"berth/internal/oci"
)

// A Key names an object in a Store. Keys are opaque, are created once and never
// used again, so that a deletion can never hit newer content.
type Key string

// NewKey returns a Key that nobody else has: 128 random bits.
func NewKey() Key {
	var b [16]byte
	rand.Read(b[:]) // never fails
	return Key(hex.EncodeToString(b[:]))
}

// Errors that a Store's errors wrap. A missing object is fs.ErrNotExist.
var (
	// ErrNoSpace says that the store is full, or has less left than its reserve.
	ErrNoSpace = errors.New("blob: no space left")

	// ErrBusy says that the process has run out of file descriptors or the like:
	// the same call may succeed a moment later.
	ErrBusy = errors.New("blob: out of resources")

	// ErrLost says that the bytes of an unfinished object are not all there, as
	// after a power loss. The upload must begin again.
	ErrLost = errors.New("blob: unfinished object has lost bytes")
)

// A ReserveError says that less is free than the store keeps in reserve. It is an
// ErrNoSpace.
type ReserveError struct {
	Free, Reserve int64 // bytes
}

func (e *ReserveError) Error() string {
	return fmt.Sprintf("%v: %d bytes are free, %d are kept in reserve", ErrNoSpace, e.Free, e.Reserve)
}

// Unwrap returns ErrNoSpace.
func (e *ReserveError) Unwrap() error { return ErrNoSpace }

// A Store keeps immutable objects under opaque keys.
//
// An object begins unfinished, under the Key given to Create. Commit finishes
// it and returns the Key it has from then on, which may be another one.
//
// All methods may be called concurrently. Every object has one Writer at a
// time; that is the caller's to see to.
type Store interface {
	// Create begins a new, empty object. The error wraps fs.ErrExist when there
	// is one of that key.
	Create(ctx context.Context, key Key) (Writer, error)

	// Resume continues an unfinished object at size bytes, possibly in another
	// process; state is what Checkpoint returned at that size. What was written
	// behind it is dropped. The error wraps ErrLost when fewer than size bytes
	// are there, and fs.ErrNotExist when there is no such object.
	Resume(ctx context.Context, key Key, size int64, state []byte) (Writer, error)

	// Open opens a finished object for reading. Its error wraps fs.ErrNotExist
	// when there is no such object and ErrBusy when no file can be opened now.
	Open(ctx context.Context, key Key) (Reader, error)

	// Delete removes an object, finished or not, and what an interrupted Commit
	// of an unfinished one left behind. Deleting a key that is not there is not
	// an error. Readers that are open go on undisturbed.
	Delete(ctx context.Context, key Key) error

	// List yields every object, in no order. Only checks and sweeps use it.
	List(ctx context.Context) iter.Seq2[Object, error]
}

// An Object is what List tells of one object.
type Object struct {
	Key      Key
	Begun    Key // under which it was created; an upload or garbage may be recorded so
	Finished bool
	Digest   oci.Digest // what a finished object was committed as
	Size     int64      // bytes
	ModTime  time.Time
}

// A Reader reads one finished object. A Reader that comes from files also has
// the SyscallConn of its file, so that the kernel can send it (sendfile).
type Reader interface {
	io.ReadSeekCloser

	// Size returns the object's size in bytes as the store has it now.
	Size() int64
}

// A Small is the Reader of an object that is small enough to be had at once.
type Small interface {
	Reader

	// Bytes returns the whole object. Nobody may change it; it stays as it is when
	// the Reader is closed and when the object is deleted.
	Bytes() ([]byte, error)
}

// A Writer appends to one unfinished object. It must end with Close, after a
// Commit or without one. It is not safe for concurrent use.
//
// A Write that fails for want of space returns an error that wraps ErrNoSpace.
type Writer interface {
	io.Writer

	// Checkpoint makes what was written so far survive the end of the process
	// (not the loss of power), and returns the state that Resume wants.
	Checkpoint(ctx context.Context) (state []byte, err error)

	// Replay writes all bytes of the object, from its beginning, to w: as they
	// are stored, not as they once went by.
	Replay(ctx context.Context, w io.Writer) error

	// Commit finishes the object as the content of d, which the caller has
	// checked. When it returns nil the object is durable, even against power
	// loss, and readable under the returned Key by every process that shares the
	// store. Until Settle the upload can still be resumed and committed again,
	// so that nothing is lost if the caller's record of it fails. The error wraps
	// ErrLost when the store could not make the bytes durable: they must not be
	// believed any more, and the upload must begin again.
	Commit(ctx context.Context, d oci.Digest) (Key, error)

	// Settle ends what Commit left open, after the caller has recorded the
	// returned Key durably. A failure is harmless: Recover mends it.
	Settle(ctx context.Context) error

	// Close gives up the Writer and its resources. An object without Commit
	// stays, unfinished.
	Close() error
}

// A Recoverer is a Store in which the end of a process can leave something that
// no record names. Recover looks for it once, at start, beside running traffic.
type Recoverer interface {
	// Recover asks known for each unfinished object whether an upload is
	// recorded under its Key, and for what an interrupted Commit made whether a
	// blob is recorded under that one; what nobody knows is deleted.
	Recover(ctx context.Context, known func(context.Context, Key) (bool, error)) error
}

// A Spacer is a Store that can tell how much more it can take.
type Spacer interface {
	// Free returns how many bytes can still be written, and the total.
	Free(ctx context.Context) (free, total int64, err error)
}

// A Looker is a Store that can tell of a finished object that it is there for less
// than it takes to open it.
type Looker interface {
	// Look returns the size of an object in bytes, and the errors of Open.
	Look(ctx context.Context, key Key) (int64, error)
}

// A Sizer is a Store that can tell how much a deletion would free.
type Sizer interface {
	// Size returns how many bytes an object takes up, finished or not; 0 if it is
	// not there or not this store's to delete.
	Size(ctx context.Context, key Key) (int64, error)
}
