package berth

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"berth/internal/api"
	"berth/internal/fsck"
	"berth/internal/gc"
	"berth/internal/oci"
	"berth/internal/retention"
	"berth/internal/usage"
)

// An errand is work that the API only has begun: it is done once at a time, and
// what came of it is kept until the next time.
type errand[R any] struct {
	asked chan struct{}

	mu    sync.Mutex
	since time.Time // zero while it is not being done
	last  *R
}

func newErrand[R any]() *errand[R] { return &errand[R]{asked: make(chan struct{}, 1)} }

// ask has the work done soon.
func (e *errand[R]) ask() {
	select {
	case e.asked <- struct{}{}:
	default: // it is to be done anyway
	}
}

// told returns when the work began that is being done, if it is, and what came of
// it the last time, if there was one.
func (e *errand[R]) told() (since time.Time, last *R) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.since, e.last
}

// run does the work whenever it is asked for, until ctx ends.
func (e *errand[R]) run(ctx context.Context, now func() time.Time, do func(ctx context.Context, began time.Time) R) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.asked:
			began := now().UTC()
			e.set(began, nil)
			r := do(ctx, began)
			e.set(time.Time{}, &r)
		}
	}
}

// set notes since when the work is being done, and what came of it.
func (e *errand[R]) set(since time.Time, r *R) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.since, e.last = since, cmp.Or(r, e.last)
}

// runErrands does what the API asks for, until ctx ends.
func (s *Server) runErrands(ctx context.Context) error {
	var group errgroup.Group
	group.Go(func() error {
		s.collections.run(ctx, s.now, func(ctx context.Context, _ time.Time) (none struct{}) {
			_, err := s.collector.Collect(ctx)
			s.warn(ctx, "collect garbage, as was asked for", err)
			return none
		})
		return nil
	})
	group.Go(func() error { s.retentions.run(ctx, s.now, s.retainAsAsked); return nil })
	group.Go(func() error { s.fscks.run(ctx, s.now, s.checkAsAsked); return nil })
	return group.Wait()
}

func (s *Server) retainAsAsked(ctx context.Context, began time.Time) api.RetentionRun {
	r := api.RetentionRun{Began: began}
	start := time.Now()
	err := s.retention.Run(ctx, retention.Repos{}, func(d retention.Done) error {
		r.Tags += d.Tags
		r.Manifests += d.Manifests
		r.Stayed += d.Stayed
		return nil
	})
	s.warn(ctx, "let go of old images, as was asked for", err)
	r.Millis, r.Error = time.Since(start).Milliseconds(), errorText(err)
	return r
}

func errorText(err error) string {
	if err != nil {
		return err.Error()
	}
	return ""
}

// toldFindings is how many findings of a check are kept.
const toldFindings = 100

func (s *Server) checkAsAsked(ctx context.Context, began time.Time) api.CheckRun {
	r := api.CheckRun{Began: began, Kinds: []api.KindCount{}, Findings: []fsck.Finding{}}
	start := time.Now()
	c := fsck.Checker{Records: s.meta, Mender: s.meta, Blobs: s.blobs, Now: s.now}
	sum, err := c.Run(ctx, fsck.Options{
		Tell: func(f fsck.Finding) error {
			if len(r.Findings) < toldFindings {
				r.Findings = append(r.Findings, f)
			}
			at, found := slices.BinarySearchFunc(r.Kinds, f.Kind, func(k api.KindCount, kind fsck.Kind) int { return cmp.Compare(k.Kind, kind) })
			if !found {
				r.Kinds = slices.Insert(r.Kinds, at, api.KindCount{Kind: f.Kind})
			}
			r.Kinds[at].Count++
			return nil
		},
		Progress: func(fsck.Progress) error { return nil },
	})
	s.warn(ctx, "compare records and storage, as was asked for", err)
	r.Millis, r.Error = time.Since(start).Milliseconds(), errorText(err)
	r.Blobs, r.Manifests, r.Problems, r.Infos = sum.Blobs, sum.Manifests, sum.Problems, sum.Infos
	return r
}

// background is what goes on beside requests, as the API tells of it.
type background struct{ *Server }

// Collector implements api.Background.
func (b background) Collector() gc.Status { return b.collector.Status() }

// Scrubbed implements api.Background.
func (b background) Scrubbed() fsck.Stats { return b.scrubber.Stats() }

// Collect implements api.Background.
func (b background) Collect() { b.collections.ask() }

// Check implements api.Background.
func (b background) Check() { b.fscks.ask() }

// Checked implements api.Background.
func (b background) Checked() (time.Time, *api.CheckRun) { return b.fscks.told() }

// retaining is what rules let go of, as the API tells of it.
type retaining struct{ *Server }

// Policy implements api.Retention.
func (r retaining) Policy() (retention.Policy, time.Duration) {
	return r.retention.Policy, r.retention.Every
}

// Retain implements api.Retention.
func (r retaining) Retain() { r.retentions.ask() }

// Retained implements api.Retention.
func (r retaining) Retained() (time.Time, *api.RetentionRun) { return r.retentions.told() }

// Simulate implements api.Retention. It reads all that a repository has, so that
// only so many do it at the same time.
func (r retaining) Simulate(ctx context.Context, repo oci.Repo, tell func(retention.Decision) error) (retention.Sum, error) {
	if err := r.measuring.enter(ctx); err != nil {
		return retention.Sum{}, err
	}
	defer r.measuring.leave()
	return r.retention.Simulate(ctx, retention.Repos{One: repo}, r.retention.Policy, tell)
}

// wouldRetain sums up what the rules in force would let go of in repo, or in all
// repositories if that is zero; nil if there are no rules.
func (s *Server) wouldRetain(ctx context.Context, repo oci.Repo) (*usage.Retained, error) {
	if len(s.retention.Policy.Rules) == 0 {
		return nil, nil
	}
	sum, err := s.retention.Simulate(ctx, retention.Repos{One: repo}, s.retention.Policy, func(retention.Decision) error { return nil })
	return &usage.Retained{Tags: sum.TagsGone, Manifests: sum.ManifestsGone, Bytes: sum.Freed}, err
}
