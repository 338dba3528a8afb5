package meta

import (
	"context"
	"time"

	"berth/internal/blob"
	"berth/internal/oci"
)

// Usage tells what takes how much space, and for whom. A page costs no more than
// what is on it, is read at one moment, and never makes a writer wait; the pages of
// a list are read one after the other while the registry goes on.
type Usage interface {
	// Occupied lists repositories that have a manifest or a blob, by name, begins
	// behind after and holds at most limit.
	Occupied(ctx context.Context, after string, limit int) ([]oci.Repo, error)

	// RepoUsage tells what repo takes. ErrNotFound when there is no such
	// repository.
	RepoUsage(ctx context.Context, repo oci.Repo) (RepoUsage, error)

	// RepoCounts tells of repo how many tags and manifests it has and how large
	// these are, and leaves the rest of it zero. ErrNotFound as RepoUsage.
	RepoCounts(ctx context.Context, repo oci.Repo) (RepoUsage, error)

	// BlobUsages lists at most limit blobs behind after, by digest.
	BlobUsages(ctx context.Context, after string, limit int) ([]BlobUsage, error)

	// UploadUsages lists at most limit uploads behind after, by their number.
	UploadUsages(ctx context.Context, after UploadID, limit int) ([]UploadUsage, error)

	// GarbageKeys lists at most limit keys behind after of objects that nothing
	// names any more, due or not.
	GarbageKeys(ctx context.Context, after blob.Key, limit int) ([]GarbageKey, error)
}

// A RepoUsage tells what a repository takes.
type RepoUsage struct {
	Repo          oci.Repo
	Tags          int64
	Manifests     int64
	ManifestBytes int64
	Blobs         int64
	BlobBytes     int64 // of all its blobs
	UniqueBytes   int64 // of the blobs that no other repository has
	Waiting       int64 // blobs that no manifest of it needs, and whose grace is running
	WaitingBytes  int64 // of those of them that no other repository has
	TrashBytes    int64 // of the blobs that only the trash has, and what was deleted from it had first
}

// A Claim says on what a blob's bytes are kept.
type Claim uint8

// The claims, the strongest first.
const (
	Needed  Claim = iota // a manifest of a repository needs it
	Waiting              // a repository has it, whose grace is running
	Trashed              // only what is in the trash has it
)

// A BlobUsage tells what a blob takes.
type BlobUsage struct {
	Digest oci.Digest
	Size   int64 // bytes
	Repos  int   // repositories that share the bytes
	Claim  Claim
}

// An UploadUsage tells what an upload in progress takes.
type UploadUsage struct {
	ID   UploadID
	Repo oci.Repo
	Size int64         // bytes
	Idle time.Duration // for how long nobody has gone on with it
}

// A GarbageKey is the key of an object that is to be deleted.
type GarbageKey struct {
	Key blob.Key
	In  time.Duration // the least time until it is
}
