package retention

import (
	"context"

	"berth/internal/oci"
)

// A Sum adds up what a simulation found.
type Sum struct {
	Repositories  int // that a rule is about
	TagsKept      int
	TagsGone      int
	ManifestsGone int
	Freed         int64 // bytes of what nothing needs any more once the trash has dropped it
}

// Simulate says what Run would do with a policy, which need not be the one that
// is in force, and changes nothing. Of the manifests it tells those of which the
// tags do not tell it all.
func (r *Runner) Simulate(ctx context.Context, repos Repos, policy Policy, tell func(Decision) error) (Sum, error) {
	var sum Sum
	lost := map[oci.Digest]int{} // memberships that go, of blobs that have several
	err := repos.each(ctx, r, policy, func(repo oci.Repo) error {
		plan, err := r.plan(ctx, repo, policy)
		if err != nil {
			return err
		}
		sum.Repositories++
		for _, d := range plan.Decisions {
			switch {
			case d.Tag.IsZero():
			case d.Goes:
				sum.TagsGone++
			default:
				sum.TagsKept++
			}
			if err := tell(d); err != nil {
				return err
			}
		}
		return r.addFreed(ctx, repo, plan, lost, &sum)
	})
	return sum, err
}

// addFreed adds up what the families of a plan would free.
func (r *Runner) addFreed(ctx context.Context, repo oci.Repo, plan Plan, lost map[oci.Digest]int, sum *Sum) error {
	var gone []oci.Digest
	for _, f := range plan.Families {
		gone = append(gone, f.Manifests...)
	}
	sum.ManifestsGone += len(gone)
	sum.Freed += plan.Bytes
	blobs, err := r.Records.NeededOnlyBy(ctx, repo, gone)
	for _, b := range blobs {
		if b.Holders > 1 {
			if lost[b.Digest]++; lost[b.Digest] < b.Holders {
				continue
			}
		}
		sum.Freed += b.Size
	}
	return err
}
