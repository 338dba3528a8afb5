package berth

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"berth/config"
	"berth/internal/gc"
	"berth/internal/oci"
	"berth/internal/retention"
)

// retentionPolicy turns what the configuration says of retention into a policy.
func (s *Server) retentionPolicy(c config.Retention) (retention.Policy, error) {
	p := retention.Policy{Grace: s.cfg.GC.Grace}
	for i, r := range c.Rules {
		repos, err := parseAll(r.Repositories, oci.ParsePattern)
		if err != nil {
			return p, fmt.Errorf("retention.rules[%d]: %w", i, err)
		}
		tags, err := parseAll(r.Tags, oci.ParseTagPattern)
		if err != nil {
			return p, fmt.Errorf("retention.rules[%d]: %w", i, err)
		}
		p.Rules = append(p.Rules, retention.Rule{
			Repositories: repos, Tags: tags, KeepNewest: r.KeepNewest,
			KeepPushedWithin: r.KeepPushedWithin, KeepPulledWithin: r.KeepPulledWithin, UntaggedAfter: r.UntaggedAfter,
		})
	}
	return p, nil
}

// openRetention prepares what lets go of old images.
func (s *Server) openRetention() error {
	policy, err := s.retentionPolicy(s.cfg.Retention)
	if err != nil {
		return err
	}
	s.retention = &retention.Runner{
		Records: s.meta, Policy: policy, Every: s.cfg.Retention.Every, Clock: retention.NewClock(s.now, nil), Log: s.log,
	}
	return errors.Join(
		s.metrics.CounterFunc("berth_retention_tags_total", "Tags that retention let go of.", func() float64 { return float64(s.retention.Tags()) }),
		s.metrics.CounterFunc("berth_retention_manifests_total", "Manifests that retention let go of.", func() float64 { return float64(s.retention.Manifests()) }),
		s.metrics.CounterFunc("berth_pulls_dropped_total", "Pulls of which the time could not be noted, so that images may look unused.",
			func() float64 { return float64(s.meta.DroppedUses()) }),
	)
}

// retain is a part of a collection: it lets go of what the rules let go of.
func (s *Server) retain() gc.Step {
	return gc.Step{Name: "let go of old images", Do: s.retention.Step}
}

// A retentionLine is what the actions of retention tell: decisions one by one or
// what was done in each repository, and in the end the sum of a simulation.
type retentionLine struct {
	Decision *retentionDecision `json:"decision,omitempty"`
	Done     *retentionDone     `json:"done,omitempty"`
	Sum      *retentionSum      `json:"sum,omitempty"`
	Note     string             `json:"note,omitempty"` // why there is nothing to tell
}

// A retentionDecision is what becomes of a tag or of a manifest.
type retentionDecision struct {
	Repository string    `json:"repository"`
	Tag        string    `json:"tag,omitempty" doc:"empty where the decision is about the manifest"`
	Digest     string    `json:"digest"`
	Goes       bool      `json:"goes"`
	Reason     string    `json:"reason"`
	Size       int64     `json:"size" doc:"bytes of the manifest itself"`
	Pushed     time.Time `json:"pushed" doc:"when the tag was pushed or moved, or the manifest was pushed"`
	Pulled     time.Time `json:"pulled,omitzero" doc:"when the image was last pulled, as far as that is known"`
}

// A retentionDone is what happened in a repository.
type retentionDone struct {
	Repository string `json:"repository"`
	Tags       int    `json:"tags" doc:"tags that went to the trash"`
	Manifests  int    `json:"manifests" doc:"manifests that went to the trash"`
	Stayed     int    `json:"stayed" doc:"images that were about to go and stayed, because somebody changed them meanwhile"`
}

// A retentionSum adds up what a simulation found.
type retentionSum struct {
	Repositories  int   `json:"repositories" doc:"that a rule is about"`
	TagsKept      int   `json:"tags_kept"`
	TagsGone      int   `json:"tags_gone"`
	ManifestsGone int   `json:"manifests_gone"`
	Freed         int64 `json:"freed" doc:"bytes that come free once what goes has left the trash"`
}

// simulateRetention tells what the rules do to the given repositories, and
// changes nothing. Other rules than those in force may be tried: the text of a
// configuration with them, which may be empty.
func (s *Server) simulateRetention(ctx context.Context, repos retention.Repos, rules string, tell func(retentionDecision) error) (retentionSum, error) {
	policy := s.retention.Policy
	if rules != "" {
		c, err := config.ParseRetention("rules", []byte(rules))
		if err != nil {
			return retentionSum{}, err
		}
		if policy, err = s.retentionPolicy(c); err != nil {
			return retentionSum{}, err
		}
	}
	if len(policy.Rules) == 0 {
		return retentionSum{}, errNoRules
	}
	sum, err := s.retention.Simulate(ctx, repos, policy, func(d retention.Decision) error {
		return tell(retentionDecision{
			Repository: d.Repo.String(), Tag: d.Tag.String(), Digest: d.Digest.String(), Goes: d.Goes, Reason: d.Reason,
			Size: d.Size, Pushed: d.Pushed, Pulled: d.Pulled,
		})
	})
	return retentionSum(sum), err
}

// runRetention lets go now of what the rules in force let go of.
func (s *Server) runRetention(ctx context.Context, repos retention.Repos, tell func(retentionDone) error) error {
	if len(s.retention.Policy.Rules) == 0 {
		return errNoRules
	}
	return s.retention.Run(ctx, repos, func(d retention.Done) error {
		return tell(retentionDone{Repository: d.Repo.String(), Tags: d.Tags, Manifests: d.Manifests, Stayed: d.Stayed})
	})
}

var errNoRules = errors.New("there are no rules, so everything stays: write some below retention.rules in the configuration, or try some with berth retention simulate --rules FILE")

// retentionRepos reads the parameter repository, which is empty for all, and sees
// to it that what registry:2 has of them is known.
func (s *Server) retentionRepos(ctx context.Context, parameters url.Values) (retention.Repos, error) {
	name := parameters.Get("repository")
	if name == "" {
		return retention.Repos{}, s.awaitAdopted(ctx, func(any) error { return nil })
	}
	repo, _, err := s.tagOf(ctx, parameters)
	if err != nil {
		return retention.Repos{}, err
	}
	has, err := s.meta.HasRepo(ctx, repo)
	if err == nil && !has {
		err = fmt.Errorf("there is no repository %s: `berth ls` lists those there are", repo)
	}
	return retention.Repos{One: repo}, err
}

// simulateNow is an action: it tells what retention would do, to the parameter
// repository or to all. rules is the text of a configuration to be tried in the
// place of that in force; with only, goes or kept, the other decisions are left
// out.
func (s *Server) simulateNow(ctx context.Context, parameters url.Values, tell func(any) error) error {
	repos, err := s.retentionRepos(ctx, parameters)
	if err != nil {
		return err
	}
	only := parameters.Get("only")
	sum, err := s.simulateRetention(ctx, repos, parameters.Get("rules"), func(d retentionDecision) error {
		if only != "" && d.Goes != (only == "goes") {
			return nil
		}
		return tell(retentionLine{Decision: &d})
	})
	if errors.Is(err, errNoRules) {
		return tell(retentionLine{Note: err.Error()})
	}
	if err != nil {
		return err
	}
	return tell(retentionLine{Sum: &sum})
}

// retainNow is an action: it lets go now of what the rules let go of, in the
// parameter repository or in all.
func (s *Server) retainNow(ctx context.Context, parameters url.Values, tell func(any) error) error {
	repos, err := s.retentionRepos(ctx, parameters)
	if err != nil {
		return err
	}
	return s.runRetention(ctx, repos, func(d retentionDone) error { return tell(retentionLine{Done: &d}) })
}
