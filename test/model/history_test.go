package model_test

import (
	"maps"
	"slices"
	"time"

	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
)

// setTag points a tag to a manifest that is there, or back to what it pointed to.
func (w *world) setTag() {
	tag, now := pick(w, w.pool.tags), w.now()
	k := at{pick(w, w.pool.repos), tag.String()}
	p := meta.TagSet{Repo: k.repo, Tag: tag, Cause: meta.ByRollback, Steps: w.rnd.IntN(4), By: event.Actor{Name: "alice"}}
	to, was := w.s.past(k, max(1, p.Steps)), w.s.tags[k]
	if w.chance(40) {
		p.To, p.Cause = pick(w, w.pool.manifests).digest, meta.BySet
		to = p.To.String()
	}
	expected := was
	if w.chance(30) {
		d := oci.Digest{}
		if w.chance(30) {
			d = pick(w, w.pool.manifests).digest
		} else if was != "" {
			d = mustDigest(was)
		}
		if p.From, expected = &d, ""; !d.IsZero() {
			expected = d.String()
		}
	}
	w.step("set tag %s of %s, which points to %q: to %s, %d steps back", tag, k.repo, was, p.To, p.Steps)
	m, err := w.recs.SetTag(w.t.Context(), p)
	_, there := w.s.manifests[at{k.repo, to}]
	switch {
	case expected != was:
		w.outcome(err, []oci.Code{moved})
	case to == "":
		w.outcome(err, []oci.Code{noPast})
	case !there:
		// A manifest that is in the trash comes back with its tag, if it can be whole.
		codes := []oci.Code{success, notFound, missing}
		if was != "" && w.immutable(k.repo, tag) {
			codes = append(codes, oci.Denied)
		}
		w.outcome(err, codes, func(s *state) { w.takenOut(s, k, to) })
	case was != "" && to != was && w.immutable(k.repo, tag):
		w.outcome(err, []oci.Code{oci.Denied})
	default:
		w.outcome(err, []oci.Code{success}, func(s *state) { s.point(k, to, p.Cause, now) })
		if err == nil && m.To != mustDigest(to) {
			w.fatalf("it says that the tag points to %s, want %s", m.To, to)
		}
	}
}

// takenOut makes of s what there really is, if a manifest of the trash came back
// for tag k, and nothing that was there has gone.
func (w *world) takenOut(s *state, k at, to string) {
	real := w.peek()
	known := false
	for _, e := range s.trash {
		_, has := e.manifests[to]
		known = known || has && e.repo == k.repo && !e.dropped
	}
	for m := range s.manifests {
		_, ok := real.manifests[m]
		known = known && ok
	}
	for m := range s.members {
		known = known && real.has(m)
	}
	if known && real.tags[k] == to {
		*s = real
	}
}

// trimHistory forgets the history of tags up to its last move that is old. After
// a crash, which sets the ticks back a little, that is more than what is old.
func (w *world) trimHistory() {
	age, now := pick(w, []time.Duration{time.Hour, 30 * time.Hour, tombstones}), w.now()
	w.step("forget moves of tags from before %v", age)
	_, err := w.recs.TrimHistory(w.t.Context(), age, 1_000_000)
	last := int64(0)
	for _, list := range w.s.moves {
		for _, m := range list {
			if m.noted <= now-age {
				last = max(last, m.seq)
			}
		}
	}
	w.outcome(err, []oci.Code{success}, func(s *state) {
		for k, list := range maps.Clone(s.moves) {
			list = slices.DeleteFunc(slices.Clone(list), func(m move) bool { return m.seq <= last })
			if s.moves[k] = list; len(list) == 0 {
				delete(s.moves, k)
			}
		}
	})
}

// checkHistory compares the lists of what happened to tags, read in pages.
func (w *world) checkHistory(repo oci.Repo) {
	w.t.Helper()
	for _, tag := range []oci.Tag{{}, pick(w, w.pool.tags)} {
		got := map[at][]move{}
		for before := int64(0); ; {
			list, err := w.db.TagHistory(w.t.Context(), repo, tag, before, 1+w.rnd.IntN(5))
			if err != nil {
				w.fatalf("history of %s of %s: %v", tag, repo, err)
			}
			if len(list) == 0 {
				break
			}
			for _, m := range list {
				if before != 0 && m.Seq >= before {
					w.fatalf("history of %s of %s: number %d comes behind %d", tag, repo, m.Seq, before)
				}
				before = m.Seq
				k := at{repo, ""}
				if !m.Tag.IsZero() {
					k.name = m.Tag.String()
				}
				got[k] = append(got[k], move{cause: m.Cause, from: text(m.From), to: text(m.To)})
			}
		}
		want := map[at][]move{}
		for k, list := range w.s.moves {
			if k.repo == repo && (tag.IsZero() || k.name == "" || k.name == tag.String()) {
				for _, m := range slices.Backward(list) {
					m.noted, m.seq = 0, 0
					want[k] = append(want[k], m)
				}
			}
		}
		if d := diff(w.pool, "history", want, got); len(d) > 0 {
			w.fatalf("history of %q of %s:\n%v", tag, repo, d)
		}
	}
}

func text(d oci.Digest) string {
	if d.IsZero() {
		return ""
	}
	return d.String()
}
