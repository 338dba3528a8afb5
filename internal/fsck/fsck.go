package fsck

import (
	"context"
	"math/rand/v2"
	"time"

	"berth/internal/blob"
	"berth/internal/meta"
	"berth/internal/oci"
)

// Records is what a Checker reads.
type Records interface {
	meta.Audit
	meta.AuditManifests
	meta.Contradictions
}

// Store is where the objects are.
type Store interface {
	blob.Store
	blob.Inspector
}

// A Checker checks a registry. Its fields must be set before use.
type Checker struct {
	Records Records
	Mender  Mender // needed for repairs only
	Blobs   Store
	Now     func() time.Time // by which files are old
}

// Options say what a check shall do.
type Options struct {
	// ReadData is how many percent of the blobs are read whole, chosen at random.
	// Of the others the size is compared.
	ReadData int

	// Repos limits the check to what these repositories have. Empty: everything,
	// and also what belongs to none.
	Repos []oci.Repo

	// Repair says whether what is found is repaired.
	Repair Repair

	// EmptyQuarantine deletes for good what was put aside before this check.
	EmptyQuarantine bool

	// Tell is called for every finding. Its error ends the check.
	Tell func(Finding) error

	// Progress is called every now and then. Its error ends the check.
	Progress func(Progress) error
}

// A Progress says how far a check has come.
type Progress struct {
	What  string // is being done
	Done  int64  // of Total
	Total int64
	Bytes bool // whether these are bytes
}

// A Summary says what was checked and found.
type Summary struct {
	Blobs     int64 `json:"blobs"`     // compared with their objects
	Read      int64 `json:"read"`      // of these, read whole
	ReadBytes int64 `json:"readBytes"` // so many bytes
	Manifests int64 `json:"manifests"` // hashed and parsed
	Uploads   int64 `json:"uploads"`
	Objects   int64 `json:"objects"`  // looked for in the records
	Problems  int64 `json:"problems"` // found
	Cured     int64 `json:"cured"`    // of these, by a repair
	Infos     int64 `json:"infos"`    // worth knowing
}

// page is how many records are in memory at once. manifestPage is that of
// manifests, each of which may have megabytes.
const (
	page         = 500
	manifestPage = 16
)

// Run checks.
func (c *Checker) Run(ctx context.Context, o Options) (Summary, error) {
	r := &run{Checker: c, o: o}
	if r.Now == nil {
		r.Now = time.Now
	}
	total, err := c.Records.Totals(ctx)
	if err != nil {
		return r.sum, err
	}
	r.total = total
	steps := []func(context.Context) error{r.database, r.objects, r.uploads, r.manifests, r.records, r.blobs, r.quarantine}
	if len(o.Repos) > 0 {
		if err := r.limit(ctx); err != nil {
			return r.sum, err
		}
		steps = []func(context.Context) error{r.manifests, r.records, r.blobs}
	}
	if o.EmptyQuarantine {
		if err := c.Blobs.EmptyQuarantine(ctx); err != nil {
			return r.sum, err
		}
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return r.sum, err
		}
	}
	return r.sum, nil
}

// A run is the state of one Run.
type run struct {
	*Checker
	o     Options
	total meta.Totals
	only  map[int64]bool // numbers of the repositories to check; nil: all
	sum   Summary
	told  time.Time // when progress was told last
	buf   []byte

	doubtful []blob.Object // to be looked at once more, at most a page of them
}

// limit finds the repositories that the check is limited to.
func (r *run) limit(ctx context.Context) error {
	r.only = map[int64]bool{}
	for _, repo := range r.o.Repos {
		id, err := r.Records.AuditRepoID(ctx, repo)
		if err != nil {
			return unknownRepo{repo, err}
		}
		r.only[id] = true
	}
	return nil
}

// covers reports whether the check is about a repository.
func (r *run) covers(repo int64) bool { return r.only == nil || r.only[repo] }

// report tells a finding.
func (r *run) report(f Finding) error {
	switch {
	case f.Weight == Info:
		r.sum.Infos++
	default:
		r.sum.Problems++
		if f.Cured {
			r.sum.Cured++
		}
	}
	return r.o.Tell(f)
}

// progressEvery is how often progress is told.
const progressEvery = 200 * time.Millisecond

// progress tells how far things are, if it was not told a moment ago.
func (r *run) progress(p Progress) error {
	if now := time.Now(); r.o.Progress != nil && now.Sub(r.told) >= progressEvery {
		r.told = now
		return r.o.Progress(p)
	}
	return nil
}

// sampled reports whether the next blob is to be read whole.
func (r *run) sampled() bool { return r.o.ReadData > 0 && rand.IntN(100) < r.o.ReadData }

// maxHolders bounds how many repositories a finding names.
const maxHolders = 10

// holders names some of the repositories that have a blob.
func (r *run) holders(ctx context.Context, digest string) ([]string, error) {
	list, err := r.Records.AuditHolders(ctx, digest, maxHolders)
	var names []string
	for _, h := range list {
		names = append(names, h.Name)
	}
	return names, err
}
