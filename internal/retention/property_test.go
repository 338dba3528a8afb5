package retention_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/internal/meta"
	"berth/internal/oci"
	"berth/internal/retention"
)

// randomWorld makes a repository of everything at once: indexes of indexes,
// referrers of both kinds, parts that are shared, tags on all of them.
func randomWorld(t testing.TB, r *rand.Rand) *world {
	w := newWorld(t)
	if r.IntN(3) == 0 {
		w.state.UsesSince = now().Add(-time.Duration(r.IntN(60)) * day)
	}
	n := 1 + r.IntN(14)
	when := func() time.Duration { return time.Duration(r.IntN(100*24)) * time.Hour }
	for i := range n {
		var options []option
		for range r.IntN(3) {
			if j := r.IntN(i + 1); j < i && r.IntN(2) == 0 {
				options = append(options, parts(fmt.Sprint(j)))
			}
		}
		if j := r.IntN(i + 2); r.IntN(4) == 0 {
			options = append(options, subject(fmt.Sprint([]int{j, 99}[r.IntN(2)])))
		}
		for _, o := range []func(time.Duration) option{pulled, again, seen, untagged} {
			if r.IntN(4) == 0 {
				options = append(options, o(when()))
			}
		}
		w.push(fmt.Sprint(i), when(), options...)
	}
	for i := range r.IntN(12) {
		name := fmt.Sprintf("%c%d", "abv"[r.IntN(3)], i)
		if r.IntN(4) == 0 {
			name = referring(fmt.Sprint(r.IntN(n+1)), []string{"", ".sig", ".att", ".sbom"}[r.IntN(4)])
		}
		if slices.ContainsFunc(w.state.Tags, func(t meta.TagState) bool { return t.Name.String() == name }) {
			continue
		}
		w.tag(name, fmt.Sprint(r.IntN(n)), when())
	}
	for i := range w.state.Tags {
		w.state.Tags[i].Immutable = r.IntN(8) == 0
	}
	return w
}

func randomRules(t testing.TB, r *rand.Rand) (list []rule) {
	for range r.IntN(4) {
		var rl rule
		for _, p := range []string{"a*", "b*", "v*", "sha256-*"} {
			if r.IntN(4) == 0 {
				rl.Tags = append(rl.Tags, patterns(t, p)...)
			}
		}
		span := func() time.Duration { return time.Duration(r.IntN(2)*r.IntN(60)) * day }
		rl.KeepNewest = r.IntN(2) * r.IntN(4)
		rl.KeepPushedWithin, rl.KeepPulledWithin, rl.UntaggedAfter = span(), span(), span()
		list = append(list, rl)
	}
	return list
}

// TestProperties holds, for random repositories and rules, what must be true of
// every plan.
func TestProperties(t *testing.T) {
	for seed := range uint64(8_000) {
		r := rand.New(rand.NewPCG(seed, 1))
		w := randomWorld(t, r)
		list := randomRules(t, r)
		c := newCheck(w, list, w.decide(list...))
		if problem := c.all(); problem != "" {
			t.Errorf("seed %d: %s\nrules %+v", seed, problem, list)
			for _, m := range w.state.Manifests {
				var ps []string
				for _, d := range m.Parts {
					ps = append(ps, w.name(d))
				}
				t.Logf("manifest %s parts %v subject %s pushed %v again %v seen %v", w.name(m.Digest), ps, w.name(m.Subject), now().Sub(m.Pushed), now().Sub(m.Again), now().Sub(m.Seen))
			}
			for _, d := range c.plan.Decisions {
				t.Logf("%s %s goes %v: %s", w.tagName(d.Tag), w.name(d.Digest), d.Goes, d.Reason)
			}
			return
		}
	}
}

// A check holds a plan against the repository that it was made for.
type check struct {
	w     *world
	rules []rule
	plan  retention.Plan

	manifests map[oci.Digest]bool // that go
	tags      map[string]bool
}

func newCheck(w *world, rules []rule, p retention.Plan) *check {
	c := &check{w: w, rules: rules, plan: p, manifests: map[oci.Digest]bool{}, tags: map[string]bool{}}
	for _, f := range p.Families {
		for _, d := range f.Manifests {
			c.manifests[d] = true
		}
		for _, tag := range f.Tags {
			c.tags[tag.Name.String()] = true
		}
	}
	for _, tag := range p.Tags {
		c.tags[tag.Name.String()] = true
	}
	return c
}

func (c *check) all() string {
	for _, f := range []func() string{c.needs, c.protected, c.young, c.newest, c.decisions, c.order, c.again} {
		if problem := f(); problem != "" {
			return problem
		}
	}
	return ""
}

// refersTo is what a manifest refers to: by its subject and by its tags.
func refersTo(s meta.RepoState) map[oci.Digest][]oci.Digest {
	to := map[oci.Digest][]oci.Digest{} // by subject, who refers to it
	for _, m := range s.Manifests {
		if !m.Subject.IsZero() {
			to[m.Subject] = append(to[m.Subject], m.Digest)
		}
	}
	for _, t := range s.Tags {
		if hex, ok := strings.CutPrefix(t.Name.String(), "sha256-"); ok {
			d, _ := oci.ParseDigest("sha256:" + hex[:64])
			to[d] = append(to[d], t.Digest)
		}
	}
	return to
}

// reach returns everything that the given manifests lead to.
func reach(s meta.RepoState, from []oci.Digest) map[oci.Digest]bool {
	referrers := refersTo(s)
	all := map[oci.Digest]meta.ManifestState{}
	for _, m := range s.Manifests {
		all[m.Digest] = m
	}
	seen := map[oci.Digest]bool{}
	for open := slices.Clone(from); len(open) > 0; {
		d := open[0]
		open = open[1:]
		m, there := all[d]
		if !there || seen[d] {
			continue
		}
		seen[d] = true
		open = append(append(open, m.Parts...), referrers[d]...)
	}
	return seen
}

// tagged returns what tags point to that refer to nothing here.
func tagged(s meta.RepoState, gone map[string]bool) (list []oci.Digest) {
	here := map[oci.Digest]bool{}
	for _, m := range s.Manifests {
		here[m.Digest] = true
	}
	for _, t := range s.Tags {
		hex, refers := strings.CutPrefix(t.Name.String(), "sha256-")
		if refers {
			d, _ := oci.ParseDigest("sha256:" + hex[:64])
			refers = here[d] && !t.Immutable
		}
		if !refers && !gone[t.Name.String()] {
			list = append(list, t.Digest)
		}
	}
	return list
}

// needs: nothing goes that a tag which stays leads to, and nothing is left over of
// what a tag led to before.
func (c *check) needs() string {
	after := reach(c.w.state, tagged(c.w.state, c.tags))
	for d := range after {
		if c.manifests[d] {
			return "a tag that stays needs " + c.w.name(d)
		}
	}
	for _, t := range c.w.state.Tags {
		if !c.tags[t.Name.String()] && c.manifests[t.Digest] {
			return "the manifest of a tag that stays goes: " + t.Name.String()
		}
	}
	before := reach(c.w.state, tagged(c.w.state, nil))
	var loose []oci.Digest
	for _, m := range c.w.state.Manifests {
		if !before[m.Digest] {
			loose = append(loose, m.Digest)
		}
	}
	held := reach(c.w.state, loose)
	for _, m := range c.w.state.Manifests {
		if !c.manifests[m.Digest] && !after[m.Digest] && !held[m.Digest] {
			return "nothing leads to it, and it is left over: " + c.w.name(m.Digest)
		}
	}
	return ""
}

// protected: immutable tags and tags that no rule is about stay.
func (c *check) protected() string {
	for _, t := range c.w.state.Tags {
		if !c.tags[t.Name.String()] {
			continue
		}
		if t.Immutable {
			return "an immutable tag goes: " + t.Name.String()
		}
		covered := strings.HasPrefix(t.Name.String(), "sha256-")
		for _, r := range c.rules {
			keeps := r.KeepNewest > 0 || r.KeepPushedWithin > 0 || r.KeepPulledWithin > 0
			covered = covered || keeps && (len(r.Tags) == 0 || slices.ContainsFunc(r.Tags, func(p oci.TagPattern) bool { return p.Match(t.Name) }))
		}
		if !covered {
			return "no rule is about a tag that goes: " + t.Name.String()
		}
	}
	return ""
}

// young: nothing goes that was pushed within the grace.
func (c *check) young() string {
	for _, m := range c.w.state.Manifests {
		for _, at := range []time.Time{m.Pushed, m.Again, m.Seen} {
			if c.manifests[m.Digest] && now().Sub(at) < grace {
				return "too young to go: " + c.w.name(m.Digest)
			}
		}
	}
	for _, t := range c.w.state.Tags {
		if c.manifests[t.Digest] && now().Sub(t.Moved) < grace {
			return "too young to go: " + t.Name.String()
		}
	}
	return ""
}

// newest: of the tags that a rule is about, as many stay as it keeps.
func (c *check) newest() string {
	for i, r := range c.rules {
		var all, stay int
		for _, t := range c.w.state.Tags {
			if strings.HasPrefix(t.Name.String(), "sha256-") || t.Immutable {
				continue
			}
			if len(r.Tags) > 0 && !slices.ContainsFunc(r.Tags, func(p oci.TagPattern) bool { return p.Match(t.Name) }) {
				continue
			}
			all++
			if !c.tags[t.Name.String()] {
				stay++
			}
		}
		if stay < min(r.KeepNewest, all) {
			return fmt.Sprintf("rule %d keeps %d tags, not %d", i+1, stay, r.KeepNewest)
		}
	}
	return ""
}

// decisions: every tag has one, and they say what happens.
func (c *check) decisions() string {
	tags := map[string]bool{}
	for _, d := range c.plan.Decisions {
		switch name := d.Tag.String(); {
		case d.Reason == "":
			return "no reason for " + c.w.tagName(d.Tag) + c.w.name(d.Digest)
		case d.Tag.IsZero() && d.Goes != c.manifests[d.Digest]:
			return "the decision about " + c.w.name(d.Digest) + " is another"
		case d.Tag.IsZero():
		case tags[name] || d.Goes != c.tags[name]:
			return "the decision about " + name + " is another, or there are two"
		default:
			tags[name] = true
		}
	}
	if len(tags) != len(c.w.state.Tags) {
		return "there are tags without a decision"
	}
	return ""
}

// order: what others need comes behind them, and everything goes once.
func (c *check) order() string {
	seen := map[oci.Digest]bool{}
	states := map[oci.Digest]meta.ManifestState{}
	for _, m := range c.w.state.Manifests {
		states[m.Digest] = m
	}
	for _, f := range c.plan.Families {
		for _, d := range f.Manifests {
			if seen[d] {
				return "goes twice: " + c.w.name(d)
			}
			for _, part := range states[d].Parts {
				if seen[part] {
					return c.w.name(part) + " goes before its index " + c.w.name(d)
				}
			}
			seen[d] = true
		}
		if len(f.Manifests) == 0 {
			return "an empty family"
		}
	}
	return ""
}

// again: once that is done there is nothing to do.
func (c *check) again() string {
	next := meta.RepoState{UsesSince: c.w.state.UsesSince}
	for _, m := range c.w.state.Manifests {
		if c.manifests[m.Digest] {
			continue
		}
		for _, t := range c.w.state.Tags {
			if t.Digest == m.Digest && c.tags[t.Name.String()] {
				m.Untagged = now()
			}
		}
		m.Parts = slices.DeleteFunc(slices.Clone(m.Parts), func(d oci.Digest) bool { return c.manifests[d] })
		next.Manifests = append(next.Manifests, m)
	}
	for _, t := range c.w.state.Tags {
		if !c.tags[t.Name.String()] {
			next.Tags = append(next.Tags, t)
		}
	}
	p := retention.Decide(repo(c.w.t, "team/app"), next, retention.Policy{Rules: c.rules, Grace: grace}, now())
	if p.Goes() {
		return "a second time this goes: " + c.w.gone(p)
	}
	return ""
}
