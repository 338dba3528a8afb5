package gc

import (
	"context"
	"fmt"
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
	Why  string // for people: "no tag leads to it"
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
	Upload   Kind = "upload"
)

// A Sum is how much goes.
type Sum struct {
	Count int   `json:"count"`
	Bytes int64 `json:"bytes"` // of what no repository has after that
}

// A Swept sums a sweep up.
type Swept struct {
	Manifests Sum   `json:"manifests"`
	Blobs     Sum   `json:"blobs"`
	Later     Sum   `json:"later"`
	Uploads   Sum   `json:"uploads"` // that nobody went on with
	Waiting   Sum   `json:"waiting"` // objects that nothing names any more, and that wait to be deleted
	Objects   int   `json:"objects"` // deleted from storage by now
	Freed     int64 `json:"freed"`   // bytes that these took up
}

// manyUploads bounds how many idle uploads are named, and manyObjects how many
// waiting objects are counted, at once.
const (
	manyUploads = 10_000
	manyObjects = 100_000
)

// forEver is longer than anything waits.
const forEver = 100 * 365 * 24 * time.Hour

// Sweep does what o says.
func (s *Sweeper) Sweep(ctx context.Context, o SweepOptions) (Swept, error) {
	c := sweep{Sweeper: s, o: o, before: s.Now().Add(-o.Grace), lost: map[oci.Digest]int{}}
	if o.Untagged {
		if err := c.repositories(ctx); err != nil {
			return c.sum, err
		}
	}
	if err := c.uploads(ctx); err != nil {
		return c.sum, err
	}
	for after := ""; ; {
		list, next, err := s.Records.Unneeded(ctx, o.Grace, after, batch)
		if err != nil {
			return c.sum, err
		}
		why := func(m meta.Member) string { return "nothing has needed it for " + rough(m.Rested) }
		if err := c.tell(Blob, &c.sum.Blobs, list, why); err != nil {
			return c.sum, err
		}
		if next == "" {
			break
		}
		after = next
	}
	if !o.DryRun {
		r, err := s.Collector.Ask(ctx, Request{Grace: o.Grace, Tell: o.Progress})
		c.sum.Uploads.Count, c.sum.Objects, c.sum.Freed = r.Uploads, r.Objects, r.Bytes
		if err != nil {
			return c.sum, err
		}
	}
	var err error
	c.sum.Waiting, err = s.Collector.waitingObjects(ctx)
	return c.sum, err
}

// waitingObjects counts the objects that wait to be deleted.
func (c *Collector) waitingObjects(ctx context.Context) (Sum, error) {
	keys, err := c.Records.Condemned(ctx, forEver, manyObjects)
	sum := Sum{Count: len(keys)}
	for _, key := range keys {
		sum.Bytes += c.size(ctx, key)
	}
	return sum, err
}

// rough writes a time as people say it.
func rough(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", d/time.Hour)
	case d >= 2*time.Minute:
		return fmt.Sprintf("%d minutes", d/time.Minute)
	}
	return d.Truncate(time.Second).String()
}

// sweep is the state of one Sweep.
type sweep struct {
	*Sweeper
	o      SweepOptions
	before time.Time
	sum    Swept
	lost   map[oci.Digest]int // memberships that go, of blobs that have several
}

// uploads names those that nobody goes on with.
func (c *sweep) uploads(ctx context.Context) error {
	if c.Collector.UploadIdle <= 0 {
		return nil
	}
	list, err := c.Records.IdleUploads(ctx, c.Collector.UploadIdle, manyUploads)
	if err != nil {
		return err
	}
	for _, u := range list {
		c.sum.Uploads.Count++
		c.sum.Uploads.Bytes += u.Size
		why := "nobody has gone on with it for " + rough(u.Idle)
		if err := c.o.Tell(Item{Upload, why, meta.Member{Repo: u.Repo, Size: u.Size, Rested: u.Idle}}); err != nil {
			return err
		}
	}
	return nil
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
	if err := c.tell(Manifest, &c.sum.Manifests, manifests, always("no tag leads to it")); err != nil {
		return err
	}
	if err := c.tell(Later, &c.sum.Later, blobs, always("only manifests need it to which no tag leads")); err != nil || c.o.DryRun {
		return err
	}
	for {
		gone, err := c.Records.Prune(ctx, repo, c.before, batch)
		if err != nil || len(gone) == 0 {
			return err
		}
	}
}

// always gives the same reason for everything.
func always(why string) func(meta.Member) string { return func(meta.Member) string { return why } }

// tell names what goes, with the reason, and adds it up.
func (c *sweep) tell(kind Kind, sum *Sum, list []meta.Member, why func(meta.Member) string) error {
	for _, m := range list {
		sum.Count++
		if c.lastOf(m) {
			sum.Bytes += m.Size
		}
		if err := c.o.Tell(Item{kind, why(m), m}); err != nil {
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
