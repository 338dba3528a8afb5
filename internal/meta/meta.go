// Package meta holds the records of a registry and the interfaces over them.
//
// One method is one transaction: there is no transaction object to pass around
// or to forget. Every mutation is safe to repeat. A method that changes
// something returns after the change is durable even against power loss, unless
// its comment says otherwise.
//
// Two clocks are at work. Wall-clock times (time.Time) are for people. Grace is
// counted in ticks: the time that the registry has been running over its whole
// life, persisted, so that no jump of the wall clock and no year in a drawer
// makes anything look old.
package meta

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"berth/internal/blob"
	"berth/internal/event"
	"berth/internal/oci"
)

// Errors that the methods of this package's interfaces wrap.
var (
	// ErrNotFound says that the record asked for does not exist.
	ErrNotFound = errors.New("meta: not found")

	// ErrConflict says that the record was changed by someone else meanwhile.
	ErrConflict = errors.New("meta: changed meanwhile")

	// ErrTooManyUploads says that there are as many unfinished uploads as there may be.
	ErrTooManyUploads = errors.New("meta: too many unfinished uploads")

	// ErrNoSpace says that the database cannot grow.
	ErrNoSpace = errors.New("meta: no space left")
)

// An InUseError says that something cannot be deleted because a live manifest
// of the same repository needs it.
type InUseError struct {
	Holder oci.Digest // one manifest that needs it
}

func (e *InUseError) Error() string { return fmt.Sprintf("meta: needed by manifest %s", e.Holder) }

// A MissingError says that a manifest names parts that its repository does not
// have: had and lost, or never had where that is refused.
type MissingError struct {
	Digests []oci.Digest
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("meta: the repository lacks %d parts of the manifest", len(e.Digests))
}

// A SizeError says that a manifest gives a part another size than it has.
type SizeError struct {
	Digest oci.Digest
	Says   int64 // bytes, as the manifest says
	Has    int64 // bytes, as stored
}

func (e *SizeError) Error() string {
	return fmt.Sprintf("meta: %s has %d bytes, not %d", e.Digest, e.Has, e.Says)
}

// A TagTakenError says that a tag points to something else and may not be moved.
type TagTakenError struct {
	Tag oci.Tag
}

func (e *TagTakenError) Error() string { return fmt.Sprintf("meta: tag %s exists", e.Tag) }

// An UploadID names an upload session. It is not guessable.
type UploadID string

// An Upload is the whole state of an upload, so that any process can continue
// it. Size, Hash and State belong together and are only ever saved together.
type Upload struct {
	ID        UploadID
	Repo      oci.Repo
	By        string        // whom the session belongs to; empty is the anonymous
	Key       blob.Key      // where the bytes are going, recorded before the first one
	Size      int64         // bytes that are checkpointed
	Algorithm oci.Algorithm // what Hash is of
	Hash      []byte        // marshaled hash state at Size; nil at 0 bytes
	State     []byte        // what blob.Writer.Checkpoint returned at Size
	Version   int64         // counts the saves
	Started   time.Time
}

// A Blob is the record of a blob's bytes.
type Blob struct {
	Digest  oci.Digest
	Key     blob.Key
	Size    int64 // bytes
	Damaged bool  // found missing or broken; the next upload of Digest heals it

	// Left is how much grace is left before the repository may lose the blob, if
	// nothing refers to it. It is only an upper bound for the cautious: a blob
	// that something refers to may have one too. Forever when there is no end.
	Left time.Duration
}

// Forever is the Left of a blob that is not on its way out.
const Forever = time.Duration(1<<63 - 1)

// A Manifest is a stored manifest.
type Manifest struct {
	Digest    oci.Digest
	MediaType string
	Body      []byte // as it was pushed; others have it, too, so that nobody may modify it
	Subject   oci.Digest
	Pushed    time.Time

	// Verified says that the bytes of Body are known to be what Digest says. If it
	// is false nothing is known of that: see Intact.
	Verified bool
}

// Intact reports whether the bytes of m's body are what its digest says.
func (m Manifest) Intact() bool {
	return m.Verified || m.Digest.Algorithm().FromBytes(m.Body) == m.Digest
}

// A Tag is a stored tag.
type Tag struct {
	Name   oci.Tag
	Digest oci.Digest
}

// A ManifestPut is what PutManifest does, all of it or nothing.
type ManifestPut struct {
	Repo     oci.Repo
	Digest   oci.Digest // of Manifest.Body
	Manifest oci.Manifest
	Tags     []oci.Tag   // that shall point to it; may be empty
	By       event.Actor // who pushes, for the record

	// RefuseMissing makes parts that the repository never had an error. Parts
	// that it had and lost are one in any case.
	RefuseMissing bool

	// Require lists parts that the repository must have, whatever RefuseMissing
	// says.
	Require []oci.Digest

	// KeepTags makes it an error if one of Tags points to something else.
	KeepTags bool
}

// Requires reports whether the repository must have the part d.
func (p ManifestPut) Requires(d oci.Digest) bool {
	return p.RefuseMissing || slices.Contains(p.Require, d)
}

// A ManifestResult is what PutManifest found.
type ManifestResult struct {
	Dangling []oci.Digest // parts that the repository never had
}

// A Member is a manifest or a blob of a repository.
type Member struct {
	Repo    oci.Repo
	Digest  oci.Digest
	Size    int64 // bytes
	Holders int   // repositories that share the bytes: with the last they go

	// Rested is for how long nothing has asked for it or begun to need it, in
	// ticks, if Unneeded lists it.
	Rested time.Duration
}

// An IdleUpload is an upload that nobody goes on with.
type IdleUpload struct {
	Repo oci.Repo
	Size int64         // bytes that are there
	Idle time.Duration // since it was saved last, in ticks
}

// A Need says what a reader of events needs.
type Need int

// The two needs.
const (
	// NeedNews is what clients do. What a reader has not read is dropped when it
	// grows too old.
	NeedNews Need = 1

	// NeedAll is every change, event.Collect too. Nothing is dropped before the
	// reader has read it.
	NeedAll Need = 2
)

// A Reader is one that reads events.
type Reader struct {
	Name   string
	Need   Need
	Seq    int64 // of the last event that it has read
	Behind int64 // how many events there are behind that
}

// A Trimmed says what TrimEvents did.
type Trimmed struct {
	Events int              // removed
	Lost   map[string]int64 // how many of them a reader had not read, by its name
}
