package retention

import (
	"slices"
)

// keepTagged keeps what tags that stay lead to.
func (d *decider) keepTagged() {
	for i := range d.tags {
		if t := &d.tags[i]; t.kept && t.at >= 0 {
			d.keep(t.at, "tag "+t.Name.String())
		}
	}
}

// awaitYoung keeps what was pushed within the grace, or what a client was told
// within it that it need not push: the index that it belongs to may be on its
// way. What leads to it waits too, tags included, so that a family is never torn
// and nothing is left over of it.
func (d *decider) awaitYoung() {
	for i := range d.nodes {
		young := &d.nodes[i]
		if young.kept || !d.young(d.touched(young)) {
			continue
		}
		reason := "pushed " + ago(d.now, young.pushed()) + ", within gc.grace"
		if !d.young(young.pushed()) {
			reason = "a client that pushes may need it: it asked " + ago(d.now, d.touched(young)) + ", within gc.grace"
		}
		var all []int
		seen := map[int]bool{}
		d.above(i, func(at int) bool {
			if seen[at] || d.nodes[at].kept {
				return false
			}
			seen[at] = true
			all = append(all, at)
			return true
		})
		for _, at := range all {
			why := reason
			if at != i {
				why = "waits for " + young.Digest.String() + ", " + reason
			}
			d.keep(at, why)
			for _, tag := range d.nodes[at].tags {
				d.tags[tag].kept, d.tags[tag].reason = true, why
			}
		}
	}
}

// judgeUntagged decides about manifests that neither tags nor other manifests
// lead to, and keeps what those lead to that stay.
func (d *decider) judgeUntagged() {
	reached := make([]bool, len(d.nodes)) // by what goes
	reach := func(i int) {
		reached[i] = true
		d.below(i, func(_, to int, _ string) bool {
			if reached[to] || d.nodes[to].kept {
				return false
			}
			reached[to] = true
			return true
		})
	}
	judge := func(i int) {
		n := &d.nodes[i]
		if kept, reason := d.untagged(i); kept {
			d.keep(i, reason)
		} else {
			n.reason = reason
			reach(i)
		}
	}
	for i := range d.nodes {
		if n := &d.nodes[i]; !n.kept && len(n.tags) > 0 {
			reach(i)
		}
	}
	for i := range d.nodes {
		if n := &d.nodes[i]; !n.kept && !reached[i] && len(n.tags)+len(n.holders)+len(n.subjects) == 0 {
			judge(i)
		}
	}
	// Tags that refer to each other's manifests can make a ring that nothing leads
	// to. Whichever comes first decides for all of it.
	for i := range d.nodes {
		if !d.nodes[i].kept && !reached[i] {
			judge(i)
		}
	}
}

// untagged decides about a manifest without a tag. The rule that keeps it longest
// counts.
func (d *decider) untagged(i int) (kept bool, reason string) {
	n, pulled := &d.nodes[i], d.pulled(i)
	since, what := later(n.pushed(), n.Untagged), "pushed "
	if since.Equal(n.Untagged) {
		what = "lost its last tag "
	}
	var names []int
	for r := range d.rules {
		rule := &d.rules[r]
		if rule.UntaggedAfter > 0 {
			names = append(names, rule.number)
		}
		switch {
		case d.now.Sub(since) < rule.UntaggedAfter:
			return true, "untagged, " + what + ago(d.now, since) + rule.name()
		case d.now.Sub(pulled) < rule.KeepPulledWithin:
			return true, "untagged, pulled " + ago(d.now, pulled) + rule.name()
		case n.pushed().Before(d.since) && d.now.Sub(d.since) < rule.KeepPulledWithin:
			return true, "untagged, and pulls are only known for " + span(d.now.Sub(d.since)) + rule.name()
		}
	}
	if len(names) == 0 {
		return true, "no rule is about untagged manifests"
	}
	return false, "untagged, " + what + ago(d.now, since) + ruleNames(names)
}

// followFamilies sorts what goes into families: what leads to each other.
func (d *decider) followFamilies() {
	for i := range d.nodes {
		if d.nodes[i].kept || d.nodes[i].family >= 0 {
			continue
		}
		for open := []int{i}; len(open) > 0; {
			n := &d.nodes[open[len(open)-1]]
			open = open[:len(open)-1]
			if n.kept || n.family >= 0 {
				continue
			}
			n.family = d.families
			for _, near := range [][]int{n.parts, n.referrers, n.holders, n.subjects} {
				open = append(open, near...)
			}
		}
		d.families++
	}
}

// plan writes down what was decided.
func (d *decider) plan() Plan {
	p := Plan{Families: make([]Family, d.families)}
	d.settleReferring()
	for i := range d.tags {
		t := &d.tags[i]
		p.Decisions = append(p.Decisions, d.tagDecision(t))
		switch {
		case t.kept:
		case d.nodes[t.at].kept:
			p.Tags = append(p.Tags, t.Tag)
		default:
			f := &p.Families[d.nodes[t.at].family]
			f.Tags = append(f.Tags, t.Tag)
		}
	}
	d.explainGone()
	for i := range d.nodes {
		n := &d.nodes[i]
		if !d.followsItsTags(n) {
			p.Decisions = append(p.Decisions, Decision{
				Repo: d.repo, Digest: n.Digest, Goes: !n.kept, Reason: n.reason, Size: n.Size, Pushed: n.pushed(), Pulled: n.Pulled,
			})
		}
	}
	for _, i := range d.inOrder() {
		f := &p.Families[d.nodes[i].family]
		f.Manifests = append(f.Manifests, d.nodes[i].Digest)
		p.Bytes += d.nodes[i].Size
	}
	return p
}

func (d *decider) tagDecision(t *tagNode) Decision {
	decision := Decision{Repo: d.repo, Tag: t.Name, Digest: t.Digest, Goes: !t.kept, Reason: t.reason, Pushed: t.Moved}
	if t.at >= 0 {
		decision.Size, decision.Pushed, decision.Pulled = d.nodes[t.at].Size, d.tagPushed(t), d.pulled(t.at)
	}
	return decision
}

// settleReferring lets tags that refer to something follow it.
func (d *decider) settleReferring() {
	for i := range d.tags {
		t := &d.tags[i]
		if t.subject < 0 || t.kept {
			continue
		}
		subject := &d.nodes[t.subject]
		if t.kept = subject.kept; t.kept {
			t.reason = "refers to " + subject.Digest.String()
		} else {
			t.reason = "with its image " + subject.Digest.String()
		}
	}
}

// followsItsTags reports whether what becomes of a manifest is what becomes of
// its tags, so that nothing need be said of it.
func (d *decider) followsItsTags(n *node) bool {
	same := func(i int) bool { return d.tags[i].kept == n.kept }
	return slices.ContainsFunc(n.tags, same) || slices.ContainsFunc(n.referring, same)
}

// explainGone says of manifests that go with others what they go with.
func (d *decider) explainGone() {
	for i := range d.nodes {
		n := &d.nodes[i]
		switch {
		case n.kept || n.reason != "":
		case len(n.holders) > 0:
			n.reason = "with its index " + d.nodes[n.holders[0]].Digest.String()
		case len(n.subjects) > 0:
			n.reason = "with its image " + d.nodes[n.subjects[0]].Digest.String()
		}
	}
}

// inOrder returns what goes such that indexes come before their parts.
func (d *decider) inOrder() []int {
	var order []int
	waits := make([]int, len(d.nodes)) // for how many indexes; none of them is kept
	for i := range d.nodes {
		if waits[i] = len(d.nodes[i].holders); waits[i] == 0 && !d.nodes[i].kept {
			order = append(order, i)
		}
	}
	for at := 0; at < len(order); at++ {
		for _, part := range d.nodes[order[at]].parts {
			if waits[part]--; waits[part] == 0 && !d.nodes[part].kept {
				order = append(order, part)
			}
		}
	}
	return order
}
