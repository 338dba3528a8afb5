package retention

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"berth/internal/meta"
	"berth/internal/oci"
)

// Records is what a Runner reads and changes.
type Records interface {
	meta.Retaining

	// FlushUses is that of meta.Uses.
	FlushUses(ctx context.Context) error

	// Repos is that of meta.Listings.
	Repos(ctx context.Context, after string, limit int) ([]oci.Repo, error)

	// Discard is that of meta.Discarder.
	Discard(ctx context.Context, d meta.Discard) (meta.Discarded, error)
}

// A Runner lets go of what rules let go of. Its fields must be set before use.
type Runner struct {
	Records Records
	Policy  Policy
	Every   time.Duration // between two looks at all repositories
	Clock   *Clock
	Log     *slog.Logger

	tags, manifests atomic.Int64

	mu      sync.Mutex // held by the Step that runs
	due     time.Duration
	began   bool
	after   string // the repository that was looked at last
	pending pending
}

// firstAfter is how long a server has run when it first looks: by then its clock
// has been set.
const firstAfter = 10 * time.Minute

// fresh is how long a plan is carried out before there is another look.
const fresh = 2 * time.Second

// page is how many names of repositories are read at a time.
const page = 100

// A pending is a plan that is being carried out.
type pending struct {
	plan Plan
	repo oci.Repo
	made time.Duration
	done Done
	left bool // there may be more than was planned for
}

// A Done says what happened in one repository.
type Done struct {
	Repo      oci.Repo
	Tags      int // that went
	Manifests int
	Stayed    int // families and tags that were about to go, and somebody changed meanwhile
}

// Tags is how many tags have gone since the process began.
func (r *Runner) Tags() int64 { return r.tags.Load() }

// Manifests is how many manifests have gone since the process began.
func (r *Runner) Manifests() int64 { return r.manifests.Load() }

// Step is a part of a collection: it lets at most limit families go of the
// repository whose turn it is, if it is time, and returns 0 when all
// repositories have had their turn.
func (r *Runner) Step(ctx context.Context, limit int) (int, error) {
	if len(r.Policy.Rules) == 0 {
		return 0, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.began {
		r.began, r.due = true, min(r.Every, firstAfter)
	}
	if r.Clock.Running() < r.due {
		return 0, nil
	}
	if r.pending.repo.IsZero() {
		repo, err := r.next(ctx)
		if err != nil {
			return 0, err
		}
		if repo.IsZero() {
			r.after, r.due = "", r.Clock.Running()+r.Every
			return 0, nil
		}
		if r.pending, err = r.begin(ctx, repo); err != nil {
			r.pending = pending{}
			return 0, err
		}
	}
	n, err := r.carryOn(ctx, &r.pending, limit)
	if err != nil || !r.pending.left {
		r.tell(r.pending.done)
		r.pending = pending{}
	}
	return n + 1, err
}

// next returns the next repository that a rule is about, zero if there is none.
func (r *Runner) next(ctx context.Context) (oci.Repo, error) {
	for {
		list, err := r.Records.Repos(ctx, r.after, page)
		if err != nil || len(list) == 0 {
			return oci.Repo{}, err
		}
		for _, repo := range list {
			r.after = repo.String()
			if r.Policy.About(repo) {
				return repo, nil
			}
		}
	}
}

// begin looks at a repository.
func (r *Runner) begin(ctx context.Context, repo oci.Repo) (pending, error) {
	p := pending{repo: repo, done: Done{Repo: repo}}
	return p, r.look(ctx, &p)
}

func (r *Runner) look(ctx context.Context, p *pending) error {
	plan, err := r.plan(ctx, p.repo, r.Policy)
	p.plan, p.made, p.left = plan, r.Clock.Running(), plan.Goes()
	return err
}

// plan decides about a repository as it is.
func (r *Runner) plan(ctx context.Context, repo oci.Repo, policy Policy) (Plan, error) {
	if err := r.Records.FlushUses(ctx); err != nil {
		return Plan{}, err
	}
	s, err := r.Records.RepoState(ctx, repo)
	if err != nil {
		return Plan{}, err
	}
	return Decide(repo, s, policy, r.Clock.Time()), nil
}

// carryOn lets at most limit families and tags go, one deletion each, and returns
// how many it tried. A plan that is not fresh any more is made anew.
func (r *Runner) carryOn(ctx context.Context, p *pending, limit int) (tried int, err error) {
	if p.left && r.Clock.Running()-p.made > fresh {
		if err := r.look(ctx, p); err != nil {
			return 0, err
		}
	}
	for ; tried < limit && p.plan.Goes(); tried++ {
		d := meta.Discard{Repo: p.repo, Reason: meta.ReasonRetention}
		if len(p.plan.Families) > 0 {
			f := p.plan.Families[0]
			p.plan.Families = p.plan.Families[1:]
			d.Tags, d.Manifests, d.Whole = f.Tags, f.Manifests, true
		} else {
			d.Tags, p.plan.Tags = p.plan.Tags[:1], p.plan.Tags[1:]
		}
		if err := r.discard(ctx, d, &p.done); err != nil {
			return tried, err
		}
	}
	p.left = p.plan.Goes()
	return tried, nil
}

func (r *Runner) discard(ctx context.Context, d meta.Discard, done *Done) error {
	gone, err := r.Records.Discard(ctx, d)
	_, immutable := errors.AsType[*meta.ImmutableTagError](err)
	switch {
	case immutable || errors.Is(err, meta.ErrConflict):
		done.Stayed++
		return nil
	case err != nil:
		return err
	}
	if len(gone.Tags)+len(gone.Manifests) == 0 {
		done.Stayed++
	}
	done.Tags += len(gone.Tags)
	done.Manifests += len(gone.Manifests)
	r.tags.Add(int64(len(gone.Tags)))
	r.manifests.Add(int64(len(gone.Manifests)))
	return nil
}

func (r *Runner) tell(d Done) {
	if d.Tags+d.Manifests+d.Stayed > 0 {
		r.Log.Info("retention let go of tags and manifests", "repository", d.Repo.String(), "tags", d.Tags, "manifests", d.Manifests, "changed_meanwhile", d.Stayed)
	}
}

// Run lets go now of what the rules let go of in the given repositories, and
// calls tell for each of which something went. Its error ends the run.
func (r *Runner) Run(ctx context.Context, repos Repos, tell func(Done) error) error {
	return repos.each(ctx, r, r.Policy, func(repo oci.Repo) error {
		p, err := r.begin(ctx, repo)
		for err == nil && p.left {
			_, err = r.carryOn(ctx, &p, page)
		}
		r.tell(p.done)
		if err == nil && p.done != (Done{Repo: repo}) {
			err = tell(p.done)
		}
		return err
	})
}

// Repos says which repositories are meant: one, or those that Visible reports true
// for; nil means all.
type Repos struct {
	One     oci.Repo
	Visible func(oci.Repo) bool
}

// each calls do for the repositories that a rule is about.
func (s Repos) each(ctx context.Context, r *Runner, policy Policy, do func(oci.Repo) error) error {
	if !s.One.IsZero() {
		return do(s.One)
	}
	for after := ""; ; {
		list, err := r.Records.Repos(ctx, after, page)
		if err != nil || len(list) == 0 {
			return err
		}
		for _, repo := range list {
			if after = repo.String(); !policy.About(repo) || s.Visible != nil && !s.Visible(repo) {
				continue
			}
			if err := do(repo); err != nil {
				return err
			}
		}
	}
}
