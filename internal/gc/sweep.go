package gc

import (
	"context"
	"time"

	"berth/internal/meta"
	"berth/internal/oci"
)

// batch is how many records a sweep reads at once.
const batch = 100

// A Sweeper collects when an operator asks for it: it names what goes, and may
// let go of manifests that no tag leads to. Its fields must be set before use.
type Sweeper struct {
	Collector *Collector
	Records   Prunable
	Now       func() time.Time // the wall clock, by which manifests are young
}

// Prunable is what a Sweeper needs of the records.
type Prunable interface {
	meta.Pruning

	// Repos is that of meta.Listings.
	Repos(ctx context.Context, after string, limit int) ([]oci.Repo, error)
}

// SweepOptions say what a sweep shall do.
type SweepOptions struct {
	DryRun   bool // only say what would go
	Untagged bool // let go of manifests that no tag leads to

	// Grace takes the place of the collector's; see Request. An untagged manifest
	// that is younger stays, too.
	Grace time.Duration

	// Tell is called for everything that goes. Its error ends the sweep.
	Tell func(Item) error

	// Progress, if not nil, is called with how far the collection has come.
	Progress func(doing string, done int) error
}

// An Item is something that goes.
type Item struct {
	Kind Kind
	meta.Member
}

// Kind says what an Item is.
type Kind string

// The kinds. A blob of an untagged manifest follows it once its grace, which
// begins anew with the loss of the manifest, is over.
const (
	Manifest Kind = "manifest"
	Blob     Kind = "blob"
	Later    Kind = "later"
)

// A Sum is how much goes.
type Sum struct {
	Count int
	Bytes int64 // of what no repository has after that
}

// A Swept sums a sweep up.
type Swept struct {
	Manifests Sum
	Blobs     Sum
	Later     Sum
	Uploads   int   // that nobody went on with; not known to a dry run
	Objects   int   // deleted from storage by now
	Freed     int64 // bytes that these took up
}

// Sweep does what o says.
func (s *Sweeper) Sweep(ctx context.Context, o SweepOptions) (Swept, error) {
	c := sweep{Sweeper: s, o: o, before: s.Now().Add(-o.Grace), lost: map[oci.Digest]int{}}
	if o.Untagged {
		if err := c.repositories(ctx); err != nil {
			return c.sum, err
		}
	}
	for after := ""; ; {
		list, next, err := s.Records.Unneeded(ctx, o.Grace, after, batch)
		if err != nil {
			return c.sum, err
		}
		if err := c.tell(Blob, &c.sum.Blobs, list); err != nil {
			return c.sum, err
		}
		if next == "" {
			break
		}
		after = next
	}
	if o.DryRun {
		return c.sum, nil
	}
	r, err := s.Collector.Ask(ctx, Request{Grace: o.Grace, Tell: o.Progress})
	c.sum.Uploads, c.sum.Objects, c.sum.Freed = r.Uploads, r.Objects, r.Bytes
	return c.sum, err
}

// sweep is the state of one Sweep.
type sweep struct {
	*Sweeper
	o      SweepOptions
	before time.Time
	sum    Swept
	lost   map[oci.Digest]int // memberships that go, of blobs that have several
}

// repositories lets go of untagged manifests, repository by repository.
func (c *sweep) repositories(ctx context.Context) error {
	for after := ""; ; {
		repos, err := c.Records.Repos(ctx, after, batch)
		if err != nil || len(repos) == 0 {
			return err
		}
		for _, repo := range repos {
			if err := c.repository(ctx, repo); err != nil {
				return err
			}
		}
		after = repos[len(repos)-1].String()
	}
}

func (c *sweep) repository(ctx context.Context, repo oci.Repo) error {
	manifests, blobs, err := c.Records.Untagged(ctx, repo, c.before)
	if err != nil {
		return err
	}
	if err := c.tell(Manifest, &c.sum.Manifests, manifests); err != nil {
		return err
	}
	if err := c.tell(Later, &c.sum.Later, blobs); err != nil || c.o.DryRun {
		return err
	}
	for {
		gone, err := c.Records.Prune(ctx, repo, c.before, batch)
		if err != nil || len(gone) == 0 {
			return err
		}
	}
}

// tell names what goes, and adds it up.
func (c *sweep) tell(kind Kind, sum *Sum, list []meta.Member) error {
	for _, m := range list {
		sum.Count++
		if c.lastOf(m) {
			sum.Bytes += m.Size
		}
		if err := c.o.Tell(Item{kind, m}); err != nil {
			return err
		}
	}
	return nil
}

// lastOf reports whether the bytes of m go with it.
func (c *sweep) lastOf(m meta.Member) bool {
	if m.Holders <= 1 {
		return true
	}
	c.lost[m.Digest]++
	return c.lost[m.Digest] == m.Holders
}
