package meta

import (
	"context"

	"berth/internal/blob"
	"berth/internal/oci"
)

// An AuditRepo is a repository as checks see it. The name of one that was deleted
// and waits in the trash is no oci.Repo, and nobody else may hear of it.
type AuditRepo struct {
	ID   int64
	Name string
}

// An AuditBlob is the record of a blob.
type AuditBlob struct {
	Digest  string // as recorded, which may be none
	Key     blob.Key
	Size    int64
	Damaged bool
}

// An AuditManifest is the record of a manifest.
type AuditManifest struct {
	ID        int64
	Repo      AuditRepo
	Digest    string
	MediaType string
	Size      int64
	Subject   string
	Body      []byte
}

// An AuditUpload is the record of an upload.
type AuditUpload struct {
	ID      UploadID
	Repo    AuditRepo
	Key     blob.Key
	Size    int64 // bytes that are checkpointed
	Version int64
}

// A KeyUse says what records name a key.
type KeyUse int

// What can be recorded under a key.
const (
	KeyUnknown KeyUse = iota
	KeyOfBlob
	KeyOfUpload
	KeyOfGarbage
)

// Totals say how much there is to check.
type Totals struct {
	Blobs     int64
	Bytes     int64 // of all blobs
	Manifests int64
	Uploads   int64
	Damaged   int64 // blobs that are marked so
}

// Audit reads records as they are, for whoever compares them with what is stored:
// damaged rows and hidden repositories too. Nothing of it may reach a client.
// Lists begin behind after and hold at most limit.
type Audit interface {
	// AuditBlobs lists blobs by digest.
	AuditBlobs(ctx context.Context, after string, limit int) ([]AuditBlob, error)

	// FindAuditBlob returns the blob as it is now, else ErrNotFound.
	FindAuditBlob(ctx context.Context, digest string) (AuditBlob, error)

	// IsMember reports whether the repository has the blob.
	IsMember(ctx context.Context, repo int64, digest string) (bool, error)

	// AuditHolders returns at most limit repositories that have the blob.
	AuditHolders(ctx context.Context, digest string, limit int) ([]AuditRepo, error)

	// AuditUploads lists uploads by their identifiers.
	AuditUploads(ctx context.Context, after UploadID, limit int) ([]AuditUpload, error)

	// FindAuditUpload returns the upload as it is now, else ErrNotFound.
	FindAuditUpload(ctx context.Context, id UploadID) (AuditUpload, error)
}

// AuditManifests is the part of Audit that is about manifests.
type AuditManifests interface {
	// AuditManifests lists manifests by number.
	AuditManifests(ctx context.Context, after int64, limit int) ([]AuditManifest, error)

	// FindAuditManifest returns the manifest as it is now, and what is recorded of
	// what it needs, as of one moment; else ErrNotFound.
	FindAuditManifest(ctx context.Context, id int64) (AuditManifest, []string, error)

	// FindAuditManifestOf returns the manifest of a repository, else ErrNotFound.
	FindAuditManifestOf(ctx context.Context, repo int64, digest string) (AuditManifest, error)
}

// A Fault is a way in which records contradict each other.
type Fault string

// The faults. What Repo, Digest and Name of a Contradiction mean is said for each.
const (
	FaultListed       Fault = "repository-listed"   // Repo is in the catalog without a manifest, or is not with one
	FaultUnheld       Fault = "blob-unheld"         // no repository has blob Digest
	FaultForgotten    Fault = "member-forgotten"    // nothing of Repo needs blob Digest, and the collector will not look at it
	FaultMember       Fault = "member-unknown"      // Repo has blob Digest, of which there is no record
	FaultKeyGarbage   Fault = "key-garbage"         // the object of blob Digest, Name, is recorded to be deleted
	FaultTag          Fault = "tag-broken"          // tag Name of Repo points to a manifest that is not there, or is not Digest
	FaultOrphan       Fault = "row-orphaned"        // a row of table Name belongs to something that is not there
	FaultReferences   Fault = "manifest-references" // what is recorded of the needs of manifest Digest of Repo is wrong
	FaultTrash        Fault = "trash-broken"        // what Repo has in the trash can't be had back, or is not only there
	FaultPartLost     Fault = "part-lost"           // manifest Name of Repo needs Digest, which Repo had
	FaultPartAbsent   Fault = "part-absent"         // manifest Name of Repo names Digest, which Repo never had
	FaultNoSubject    Fault = "subject-absent"      // the subject Digest of manifest Name of Repo is not there
	FaultManifestSize Fault = "manifest-size"       // the recorded size of manifest Digest of Repo is wrong
)

// A Contradiction is a fault that was found.
type Contradiction struct {
	Fault  Fault
	Repo   AuditRepo
	Digest string
	Name   string
}

// Contradictions finds what is wrong with the records by themselves.
type Contradictions interface {
	// CheckPages reads the whole database and returns an error if it is damaged as
	// a file.
	CheckPages(ctx context.Context) error

	// Contradictions calls found with every contradiction. Those of one fault are as
	// of one moment, so that traffic beside it never looks like one. Its error ends
	// the search.
	Contradictions(ctx context.Context, found func(Contradiction) error) error

	// Totals counts.
	Totals(ctx context.Context) (Totals, error)

	// KeyUse says what records name key, as of one moment.
	KeyUse(ctx context.Context, key blob.Key) (KeyUse, error)

	// AuditRepoID returns the number of a repository, else ErrNotFound.
	AuditRepoID(ctx context.Context, repo oci.Repo) (int64, error)
}

// Mending repairs records. Each method looks again, in its own transaction,
// whether there still is something to repair, and says so.
type Mending interface {
	// Mend repairs a contradiction and says what it did; empty if there was nothing
	// to do, or nothing that can be done without guessing.
	Mend(ctx context.Context, c Contradiction) (string, error)

	// Reinstate records an object, whose bytes the caller has checked, as blob
	// b.Digest and gives it to every repository that had it: to whose manifests it
	// was known. It returns how many have it then. If none is to have it, or there
	// is an undamaged record of another object, it does nothing and returns 0.
	Reinstate(ctx context.Context, b Blob) (int, error)

	// MendReferences records that manifest m, as it is given, needs parts and
	// nothing else. It reports whether the manifest still was that one.
	MendReferences(ctx context.Context, m AuditManifest, parts []string) (bool, error)

	// MendManifest gives a manifest whose bytes are wrong those of another
	// repository, where good says that they are right. It reports whether there
	// were any.
	MendManifest(ctx context.Context, m AuditManifest, good func(body []byte) bool) (bool, error)

	// EndUpload ends an upload that is still as it is given.
	EndUpload(ctx context.Context, u AuditUpload) error

	// CondemnUnknown makes the key of an object that no record names garbage.
	CondemnUnknown(ctx context.Context, key blob.Key) error
}
