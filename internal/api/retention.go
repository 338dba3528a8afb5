package api

import (
	"context"
	"net/http"
	"time"

	"berth/internal/auth"
	"berth/internal/oci"
	"berth/internal/retention"
)

// Retention is what rules let go of.
type Retention interface {
	Policy() (policy retention.Policy, every time.Duration)

	// Simulate says what the rules in force do to repo. See retention.Runner.
	Simulate(ctx context.Context, repo oci.Repo, tell func(retention.Decision) error) (retention.Sum, error)

	// Retain has a run begin soon. Retained returns when the one began that is
	// running, if one is, and the last one, if there was one.
	Retain()
	Retained() (since time.Time, last *RetentionRun)
}

// A RetentionRule is one of the configuration.
type RetentionRule struct {
	Repositories     []string `json:"repositories" doc:"patterns; empty: all"`
	Tags             []string `json:"tags" doc:"patterns; empty: all"`
	KeepNewest       int      `json:"keep_newest" doc:"so many tags stay; 0: the rule keeps none for this reason"`
	KeepPushedWithin int64    `json:"keep_pushed_within" doc:"seconds; 0 as above"`
	KeepPulledWithin int64    `json:"keep_pulled_within" doc:"seconds; 0 as above"`
	UntaggedAfter    int64    `json:"untagged_after" doc:"seconds; 0: untagged manifests stay"`
}

// A RetentionStatus is which rules there are, and what runs that were asked for
// do.
type RetentionStatus struct {
	Rules []RetentionRule `json:"rules" doc:"the first is rule 1 in reasons; without any, everything stays"`
	Every int64           `json:"every" doc:"seconds between two runs of the schedule"`
	Grace int64           `json:"grace" doc:"seconds for which everything stays that was pushed (gc.grace)"`
	Since time.Time       `json:"since,omitzero" doc:"when the run began that was asked for and is under way"`
	Last  *RetentionRun   `json:"last,omitempty" doc:"the last run that was asked for, since the server was started"`
}

// A RetentionRun is one that has ended.
type RetentionRun struct {
	Began     time.Time `json:"began"`
	Millis    int64     `json:"milliseconds" doc:"that it took"`
	Tags      int       `json:"tags" doc:"tags that went to the trash"`
	Manifests int       `json:"manifests" doc:"manifests that went to the trash"`
	Stayed    int       `json:"stayed" doc:"images that were about to go and stayed, because somebody changed them meanwhile"`
	Error     string    `json:"error,omitempty" doc:"what ended it before its time"`
}

// A RetentionDecision is what becomes of a tag or of a manifest.
type RetentionDecision struct {
	Tag    string    `json:"tag,omitempty" doc:"missing where the decision is about the manifest"`
	Digest string    `json:"digest"`
	Goes   bool      `json:"goes"`
	Reason string    `json:"reason"`
	Size   int64     `json:"size" doc:"bytes of the manifest itself"`
	Pushed time.Time `json:"pushed" doc:"when the tag was pushed or moved, or the manifest was pushed"`
	Pulled time.Time `json:"pulled,omitzero" doc:"when the image was last pulled, as far as that is known"`
}

// A RetentionPlan is a page of what would become of a repository.
type RetentionPlan struct {
	TagsKept      int                 `json:"tags_kept" doc:"of the whole repository, as the other numbers are"`
	TagsGone      int                 `json:"tags_gone"`
	ManifestsGone int                 `json:"manifests_gone"`
	Freed         int64               `json:"freed" doc:"bytes that come free once what goes has left the trash"`
	Decisions     []RetentionDecision `json:"decisions" doc:"tags by name, then manifests of which the tags do not tell it by digest"`
	Next          string              `json:"next,omitempty" doc:"where the next page begins; missing on the last one"`
}

func retentionOperations() []operation {
	return []operation{
		{
			id: "getRetention", method: http.MethodGet, path: "/retention", status: http.StatusOK, answer: RetentionStatus{},
			needs:   []auth.Action{auth.Inspect},
			summary: "Which rules let go of old images",
			does:    "Tells the [rules](retention.md) that are in force, and what runs that were asked for do and did. How much the rules would free in the whole registry is in `GET /api/v1/usage`.",
			do:      (*request).getRetention,
		},
		{
			id: "retain", method: http.MethodPost, path: "/retention", status: http.StatusAccepted,
			needs:   []auth.Action{auth.Admin},
			summary: "Let go of old images now",
			does:    "Has a run over all repositories begin soon, whatever the schedule says; what goes is in the trash. GET tells what it does. Without rules it is refused.",
			do: func(q *request, _ http.ResponseWriter) (any, error) {
				if p, _ := q.h.o.Retention.Policy(); len(p.Rules) == 0 {
					return nil, badRequest("there are no rules, so everything stays: write some below retention.rules in the configuration")
				}
				q.h.o.Retention.Retain()
				return nil, nil
			},
		},
		{
			id: "simulateRetention", method: http.MethodGet, path: "/retention/{name}", status: http.StatusOK, answer: RetentionPlan{},
			needs:   []auth.Action{auth.Pull},
			summary: "What would stay and go, and why",
			does:    "Tells what a run would do to a repository at this moment, and changes nothing. Each page is decided anew.",
			query: append(pages("tag or digest", 1000),
				parameter{name: "only", does: "`goes` or `kept`: without the other decisions.", kind: ""}),
			do: (*request).simulateRetention,
		},
	}
}

func (q *request) getRetention(http.ResponseWriter) (any, error) {
	p, every := q.h.o.Retention.Policy()
	status := RetentionStatus{Rules: []RetentionRule{}, Every: seconds(every), Grace: seconds(p.Grace)}
	for _, r := range p.Rules {
		status.Rules = append(status.Rules, RetentionRule{
			Repositories: texts(r.Repositories), Tags: texts(r.Tags), KeepNewest: r.KeepNewest, KeepPushedWithin: seconds(r.KeepPushedWithin),
			KeepPulledWithin: seconds(r.KeepPulledWithin), UntaggedAfter: seconds(r.UntaggedAfter),
		})
	}
	status.Since, status.Last = q.h.o.Retention.Retained()
	return status, nil
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }

func texts[T interface{ String() string }](list []T) []string {
	words := []string{}
	for _, v := range list {
		words = append(words, v.String())
	}
	return words
}

func (q *request) simulateRetention(http.ResponseWriter) (any, error) {
	limit, err := q.limit(1000)
	if err != nil {
		return nil, err
	}
	only, after := q.query.Get("only"), q.query.Get("after")
	if only != "" && only != "goes" && only != "kept" {
		return nil, badRequest("only must be goes or kept")
	}
	if err := q.exists(); err != nil {
		return nil, err
	}
	plan := RetentionPlan{Decisions: []RetentionDecision{}}
	sum, err := q.h.o.Retention.Simulate(q.Context(), q.repo, func(d retention.Decision) error {
		switch {
		case only != "" && d.Goes != (only == "goes"), !behind(d, after):
		case len(plan.Decisions) == limit:
			plan.Next = placeOf(plan.Decisions[limit-1])
		default:
			plan.Decisions = append(plan.Decisions, retentionDecision(d))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	plan.TagsKept, plan.TagsGone, plan.ManifestsGone, plan.Freed = sum.TagsKept, sum.TagsGone, sum.ManifestsGone, sum.Freed
	return plan, nil
}

func retentionDecision(d retention.Decision) RetentionDecision {
	return RetentionDecision{
		Tag: d.Tag.String(), Digest: d.Digest.String(), Goes: d.Goes, Reason: d.Reason, Size: d.Size, Pushed: d.Pushed.UTC(), Pulled: d.Pulled,
	}
}

// placeOf is what a page ends with: a tag, or a digest, which no tag can be.
func placeOf(d RetentionDecision) string {
	if d.Tag != "" {
		return d.Tag
	}
	return d.Digest
}

// behind reports whether a decision stands behind the one that place is of.
func behind(d retention.Decision, place string) bool {
	_, err := oci.ParseDigest(place)
	switch ofDigest := err == nil; {
	case d.Tag.IsZero() && ofDigest:
		return d.Digest.String() > place
	case d.Tag.IsZero():
		return true
	case ofDigest:
		return false
	}
	return d.Tag.String() > place
}
