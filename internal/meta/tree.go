package meta

import (
	"context"
	"time"

	"berth/internal/blob"
	"berth/internal/oci"
)

// A TreeState says how far the tree of links that a registry:2 left in the data
// directory has been taken over.
type TreeState string

// The states. They follow each other in this order.
const (
	TreeNone      TreeState = ""          // there was none
	TreeAdopting  TreeState = "adopting"  // it is being read for the first time
	TreeAdopted   TreeState = "adopted"   // all of it was read; it is read again at each start
	TreeFinishing TreeState = "finishing" // it is not needed any more, and being removed
	TreeFinished  TreeState = "finished"  // it is gone
)

// A LinkKind says what a link in registry:2's tree stands for.
type LinkKind int

// The kinds of links.
const (
	LayerLink    LinkKind = iota + 1 // the repository has a blob
	RevisionLink                     // the repository has a manifest
	TagLink                          // what a tag points to
)

// A LinkName names a link within its repository.
type LinkName struct {
	Kind LinkKind
	Name string // a tag, else a digest
}

// A Link is what is remembered of a link: so that it is known, when another
// digest is found in it, that it was registry:2 who wrote that.
type Link struct {
	LinkName
	Target   oci.Digest // what it held when it was last read or written; zero: it was not there
	ModTime  time.Time  // when Target was written, as the file system says
	Changing bool       // it was about to become Next, which may or may not have come about
	Next     oci.Digest // zero: it was about to be removed
}

// A RepoTake is what was found in the tree of a repository and is to be recorded:
// all of it or nothing.
type RepoTake struct {
	Repo      oci.Repo
	Blobs     []TakenBlob
	Manifests []TakenManifest
	Tags      []TakenTag

	// Seen are links that say what is known already.
	Seen []Link

	// Gone are remembered links that were taken away.
	Gone []Link
}

// A TakenBlob is a blob that the repository has.
type TakenBlob struct {
	Blob
	Link Link
	Held bool // the bytes are registry:2's own, so they stay until the end
}

// A TakenManifest is a manifest that the repository has. Whether its parts are
// there is not asked.
type TakenManifest struct {
	Digest   oci.Digest
	Manifest oci.Manifest
	Pushed   time.Time
	Link     Link // without a Target where there was none
}

// A TakenTag is a tag that points to a manifest which the repository has.
type TakenTag struct {
	Tag
	Moved time.Time
	Link  Link
}

// Adoption records what registry:2 has left in its tree.
type Adoption interface {
	// Tree returns how far things are.
	Tree(ctx context.Context) (TreeState, error)

	// SetTree records how far things are.
	SetTree(ctx context.Context, s TreeState) error

	// Links returns what is remembered of the links of repo, in no order.
	Links(ctx context.Context, repo oci.Repo) ([]Link, error)

	// LinkedRepos lists repositories of which links are remembered, in byte order:
	// at most limit, behind after.
	LinkedRepos(ctx context.Context, after string, limit int) ([]oci.Repo, error)

	// TakeRepo records what was found. It survives the end of the process but,
	// until the next durable change, not the loss of power.
	//
	// A blob whose undamaged bytes are recorded keeps them, unless the new record
	// is of the same object and says that it is damaged. A tag that has moved
	// since its link was written stays when the link is gone. Memberships whose
	// bytes are Held are not collected until FinishRepo. No link is noted: Compare
	// finds those that differ. Immutable tags that registry:2 has moved or removed
	// are, too: it returns what was done to them.
	TakeRepo(ctx context.Context, p RepoTake) (overridden []TagMove, err error)
}

// A LinkWant is a link as it ought to be.
type LinkWant struct {
	Repo oci.Repo
	LinkName
	Version int64      // of the wish
	Was     Link       // what is remembered of it
	Target  oci.Digest // what the link is about; zero: there must be none
	Key     blob.Key   // of a blob: where its bytes are
	Size    int64      // of a blob, bytes
	Body    []byte     // of a manifest
}

// A LinkWritten says that a link is as a LinkWant wanted it.
type LinkWritten struct {
	LinkWant
	ModTime time.Time
}

// Shadow finds out which links of registry:2's tree are not as the records say.
// Every change of a record notes the links that it concerns in the transaction
// that makes it, once StartShadow has been called; TakeRepo alone does not.
type Shadow interface {
	StartShadow()

	// Unwritten returns at most limit of the links that may have to be written, as
	// they ought to be now.
	Unwritten(ctx context.Context, limit int) ([]LinkWant, error)

	// CountUnwritten returns how many there are.
	CountUnwritten(ctx context.Context) (int, error)

	// Intend remembers what is about to be written, before it is.
	Intend(ctx context.Context, list []LinkWant) error

	// Written remembers what is written, durably, and strikes off those links that
	// nothing has changed meanwhile. It survives the end of the process.
	Written(ctx context.Context, list []LinkWritten) error

	// Compare notes all links of repo that are not as the records say.
	Compare(ctx context.Context, repo oci.Repo) error
}

// Finish ends living together with registry:2.
type Finish interface {
	// AdoptedKeys returns at most limit keys of blobs behind after that begin with
	// prefix.
	AdoptedKeys(ctx context.Context, prefix string, after blob.Key, limit int) ([]blob.Key, error)

	// Rekey gives all blobs of one key another one, of the same bytes.
	Rekey(ctx context.Context, old, new blob.Key) error

	// FinishRepo forgets all links of repo, and begins the grace of what it has
	// and no manifest needs.
	FinishRepo(ctx context.Context, repo oci.Repo) error
}
