package retention

import (
	"cmp"
	"slices"
	"time"

	"berth/internal/meta"
	"berth/internal/oci"
)

// Decide says what becomes of everything that repo has, as of now.
func Decide(repo oci.Repo, s meta.RepoState, p Policy, now time.Time) Plan {
	d := decider{graph: newGraph(s), repo: repo, since: s.UsesSince, grace: p.Grace, now: now}
	for i, r := range p.Rules {
		if r.aboutRepo(repo) {
			d.rules = append(d.rules, numbered{Rule: r, number: i + 1})
		}
	}
	d.judgeTags()
	d.keepTagged()
	d.awaitYoung()
	d.judgeUntagged()
	d.followFamilies()
	return d.plan()
}

// A numbered is a rule with its number in the configuration, and the ranks that
// tags have in it: 1 is the newest.
type numbered struct {
	Rule
	number int
	ranks  map[int]int // by place in the list of tags
}

func (r *numbered) covers(t *tagNode) bool { return r.aboutTag(t.Name, t.elsewhere) }

// A decider is one Decide.
type decider struct {
	*graph
	repo  oci.Repo
	rules []numbered // that are about the repository
	since time.Time
	grace time.Duration
	now   time.Time

	families int
}

// tagPushed is when a tag was pushed or moved, or its manifest pushed again.
func (d *decider) tagPushed(t *tagNode) time.Time { return later(t.Moved, d.nodes[t.at].Again) }

// judgeTags decides about the tags that refer to nothing. Those that do follow
// what they refer to.
func (d *decider) judgeTags() {
	d.rank()
	for i := range d.tags {
		t := &d.tags[i]
		switch {
		case t.at < 0:
			t.kept, t.reason = true, "its manifest went a moment ago"
		case t.Immutable:
			t.kept, t.reason = true, "immutable (tags.immutable)"
		case t.subject >= 0:
		case d.young(d.tagPushed(t)):
			t.kept, t.reason = true, "pushed "+ago(d.now, d.tagPushed(t))+", within gc.grace"
		default:
			t.kept, t.reason = d.judge(i, t)
		}
	}
}

func (d *decider) young(at time.Time) bool { return d.now.Sub(at) < d.grace }

// rank orders the tags of each rule that keeps the newest of them. Immutable tags
// stay anyway, and tags that refer to something are no images: neither counts
// among the others.
func (d *decider) rank() {
	for r := range d.rules {
		rule := &d.rules[r]
		if rule.KeepNewest == 0 {
			continue
		}
		var images, elsewhere []int
		for i := range d.tags {
			t := &d.tags[i]
			switch {
			case t.at < 0 || t.Immutable || t.subject >= 0 || !rule.covers(t):
			case t.elsewhere:
				elsewhere = append(elsewhere, i)
			default:
				images = append(images, i)
			}
		}
		rule.ranks = make(map[int]int, len(images)+len(elsewhere))
		for _, list := range [][]int{images, elsewhere} {
			slices.SortFunc(list, d.newer)
			for at, i := range list {
				rule.ranks[i] = at + 1
			}
		}
	}
}

// newer compares tags by when they were pushed, the newest first, and those of
// one moment by their names.
func (d *decider) newer(a, b int) int {
	byTime := d.tagPushed(&d.tags[b]).Compare(d.tagPushed(&d.tags[a]))
	return cmp.Or(byTime, cmp.Compare(d.tags[b].Name.String(), d.tags[a].Name.String()))
}

// judge asks the rules about a tag.
func (d *decider) judge(i int, t *tagNode) (kept bool, reason string) {
	covered := false
	for r := range d.rules {
		rule := &d.rules[r]
		if !rule.covers(t) {
			continue
		}
		covered = true
		if why, ok := d.keeps(rule, i, t); ok {
			return true, why + rule.name()
		}
	}
	switch {
	case !covered && t.elsewhere:
		return true, "refers to something that is not in this repository"
	case !covered:
		return true, "no rule is about it"
	}
	return false, d.whyTagGoes(i, t)
}

// keeps reports whether a rule keeps a tag, and why.
func (d *decider) keeps(rule *numbered, i int, t *tagNode) (why string, ok bool) {
	if at := rule.ranks[i]; at > 0 && at <= rule.KeepNewest {
		return ordinal(at) + " newest of " + count(rule.KeepNewest), true
	}
	if at := d.tagPushed(t); d.now.Sub(at) < rule.KeepPushedWithin {
		return "pushed " + ago(d.now, at), true
	}
	if rule.KeepPulledWithin == 0 {
		return "", false
	}
	if at := d.pulled(t.at); d.now.Sub(at) < rule.KeepPulledWithin {
		return "pulled " + ago(d.now, at), true
	}
	// What was never pulled is treated as if it had been when it was pushed, or
	// when pulls began to be noted.
	if at := d.tagPushed(t); d.now.Sub(at) < rule.KeepPulledWithin {
		return "pushed " + ago(d.now, at) + ", and may still be pulled", true
	}
	if d.now.Sub(d.since) < rule.KeepPulledWithin {
		return "pulls are only known for " + span(d.now.Sub(d.since)), true
	}
	return "", false
}

// whyTagGoes says why none of the rules about a tag keeps it.
func (d *decider) whyTagGoes(i int, t *tagNode) string {
	why := "pushed " + ago(d.now, d.tagPushed(t))
	var pulls bool
	var names []int
	for r := range d.rules {
		rule := &d.rules[r]
		if !rule.covers(t) {
			continue
		}
		names = append(names, rule.number)
		if at := rule.ranks[i]; at > 0 {
			why += ", " + ordinal(at) + " newest of " + count(rule.KeepNewest)
		}
		pulls = pulls || rule.KeepPulledWithin > 0
	}
	if pulls {
		why += ", " + d.notPulled(d.pulled(t.at))
	}
	return why + ruleNames(names)
}

func (d *decider) notPulled(at time.Time) string {
	if at.IsZero() {
		return "not pulled since that is noted"
	}
	return "not pulled for " + span(d.now.Sub(at))
}
