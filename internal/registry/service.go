// Package registry holds the rules of a registry: pushing, pulling, mounting,
// tagging, deleting and listing, free of HTTP and of who may do it.
//
// Service is the interface that the API, authorization and later mirrors are
// values or users of; Core is the one that does the work.
package registry

import (
	"context"
	"fmt"
	"io"

	"berth/internal/blob"
	"berth/internal/meta"
	"berth/internal/oci"
)

// A Service is everything a client can ask of a registry.
//
// Errors meant for the client are *oci.Error, *RangeError, or wrap
// blob.ErrNoSpace, meta.ErrNoSpace or blob.ErrBusy; all others are the
// operator's to see. All methods may be called concurrently.
type Service interface {
	Puller
	Pusher
	Deleter
	Lister
}

// A Puller finds content. What it doesn't find is BLOB_UNKNOWN,
// MANIFEST_UNKNOWN or NAME_UNKNOWN.
type Puller interface {
	// Blob opens a blob of repo; the caller closes it. Its size has been checked
	// against the record: what is damaged is not found.
	Blob(ctx context.Context, repo oci.Repo, d oci.Digest) (*Blob, error)

	// BlobSize returns the size of a blob of repo in bytes, for who doesn't read
	// it. It finds what Blob finds.
	BlobSize(ctx context.Context, repo oci.Repo, d oci.Digest) (int64, error)

	// Manifest finds a manifest of repo. Its bytes have been checked against its
	// digest: what is damaged is not found.
	Manifest(ctx context.Context, repo oci.Repo, ref oci.Ref) (meta.Manifest, error)
}

// A Pusher stores content. When its methods return nil, what they stored is
// durable, and visible to everybody.
type Pusher interface {
	// MountBlob makes a blob of one repository one of another. BLOB_UNKNOWN when
	// it can't: the client uploads it then.
	MountBlob(ctx context.Context, m Mount) error

	// StartUpload begins an upload session, which belongs to repo and to the
	// user. The session takes the content's digest to be of algorithm a if
	// nothing is said; a wrong guess costs a second look at the bytes, no more.
	StartUpload(ctx context.Context, repo oci.Repo, a oci.Algorithm) (Upload, error)

	// ResumeUpload finds a session of repo and of the user, else
	// BLOB_UPLOAD_UNKNOWN.
	ResumeUpload(ctx context.Context, repo oci.Repo, id meta.UploadID) (Upload, error)

	// PutManifest stores a manifest. MANIFEST_BLOB_UNKNOWN when a part of it is
	// gone, MANIFEST_INVALID when it is wrong about one.
	PutManifest(ctx context.Context, p Put) (PutResult, error)
}

// A Deleter removes content. UNSUPPORTED when deleting is off, or when a live
// manifest of the repository needs it.
type Deleter interface {
	DeleteBlob(ctx context.Context, repo oci.Repo, d oci.Digest) error
	DeleteManifest(ctx context.Context, repo oci.Repo, d oci.Digest) error
	DeleteTag(ctx context.Context, repo oci.Repo, tag oci.Tag) error

	// DeleteRepo deletes a repository with all that it has, and returns the number
	// of its entry in the trash, 0 if there is none. NAME_UNKNOWN when it has
	// nothing.
	DeleteRepo(ctx context.Context, repo oci.Repo) (int64, error)
}

// A Lister lists what there is, in byte order.
type Lister interface {
	// Repos lists repositories for which readable is true; nil means all.
	Repos(ctx context.Context, p Page, readable func(oci.Repo) bool) (List[oci.Repo], error)

	// Tags lists the tags of repo, NAME_UNKNOWN when there is no such repository.
	Tags(ctx context.Context, repo oci.Repo, p Page) (List[oci.Tag], error)

	// Referrers lists the manifests that refer to subject, by digest: those with
	// that subject, and those that a fallback tag lists (distribution spec,
	// "Referrers Tag Schema"). There being none is not an error.
	Referrers(ctx context.Context, repo oci.Repo, subject oci.Digest, artifactType string, p Page) (List[oci.Entry], error)
}

// A Page asks for a part of a list: at most Limit entries behind After, which
// need not exist. Limit must be positive.
type Page struct {
	After string
	Limit int

	// Bytes bounds referrers together, as they are encoded; a page has one of them
	// however long it is. 0 means no bound.
	Bytes int

	// Within, unless it is nil, is what the names of all repositories begin with
	// that can be readable: in byte order, none the beginning of another.
	Within []string
}

// A List is a part of a list. Next is the After of the next part, and empty
// when this is the last one. Items may be shared: nobody changes them.
type List[T any] struct {
	Items []T
	Next  string
}

// A Blob is an open blob.
type Blob struct {
	blob.Reader
	Digest oci.Digest
}

// A Mount asks for blob Digest of repository From in repository To.
type Mount struct {
	From   oci.Repo // zero: from whichever repository has it
	To     oci.Repo
	Digest oci.Digest

	// Readable says which repositories may be mounted from. nil means all.
	Readable func(oci.Repo) bool
}

// A Put asks for a manifest to be stored.
type Put struct {
	Repo     oci.Repo
	Digest   oci.Digest // that the body must have; zero: sha256 of the body
	Tags     []oci.Tag  // that shall point to it, all or none of them
	Manifest oci.Manifest

	// KeepTags refuses, with DENIED, to point a tag that exists to something else.
	KeepTags bool
}

// A PutResult tells what became of a Put.
type PutResult struct {
	Digest   oci.Digest
	Dangling []oci.Digest // parts that the repository never had; accepted as such
}

// An Upload is an upload session in progress. Its methods must not be called
// concurrently; two values of the same session may be, and fight it out: see
// Append.
type Upload interface {
	ID() meta.UploadID

	// Size is how many bytes the session has: where the next Append begins.
	Size() int64

	// Append adds the bytes of r at offset, or at the end if offset is Anywhere.
	//
	// If another Append is running on the session (of a connection that may be
	// dead without anyone knowing), one at the recorded offset takes over and
	// ends the other; any other one gets a *RangeError. On an error, what came so
	// far is recorded and the session can be resumed there.
	Append(ctx context.Context, offset int64, r io.Reader) error

	// Commit checks the content against d and makes it a blob of the repository.
	// DIGEST_INVALID, and the session is over, when it is not d's.
	Commit(ctx context.Context, d oci.Digest) error

	// Finish is Append and then Commit, as one step and for less: what came is
	// recorded before the blob is only if the one or the other fails.
	Finish(ctx context.Context, offset int64, r io.Reader, d oci.Digest) error

	// Cancel ends the session and drops its bytes.
	Cancel(ctx context.Context) error
}

// Anywhere as an offset means: wherever the session ends.
const Anywhere = -1

// A RangeError says that bytes came for another offset than Size.
type RangeError struct {
	ID   meta.UploadID
	Size int64 // where the session really is
}

func (e *RangeError) Error() string {
	return fmt.Sprintf("upload %s is at byte %d", e.ID, e.Size)
}
