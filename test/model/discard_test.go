package model_test

import (
	"slices"
	"time"

	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
)

// discard lets go of tags and manifests of a repository as retention does, who
// decided about them a moment ago: some are not any more what they were then.
func (w *world) discard() {
	d := meta.Discard{
		Repo: pick(w, w.pool.repos), Reason: meta.ReasonRetention, Whole: w.chance(50), By: event.Actor{Name: "retention"},
	}
	for _, tag := range w.pool.tags {
		to, there := w.s.tags[at{d.Repo, tag.String()}]
		switch {
		case there && w.chance(40):
			d.Tags = append(d.Tags, meta.Tag{Name: tag, Digest: mustDigest(to)})
		case w.chance(3):
			d.Tags = append(d.Tags, meta.Tag{Name: tag, Digest: pick(w, w.pool.manifests).digest})
		}
	}
	for _, m := range w.pool.manifests {
		if _, there := w.s.manifests[at{d.Repo, m.digest.String()}]; there && w.chance(50) || w.chance(3) {
			d.Manifests = append(d.Manifests, m.digest)
		}
	}
	w.rnd.Shuffle(len(d.Manifests), func(i, j int) { d.Manifests[i], d.Manifests[j] = d.Manifests[j], d.Manifests[i] })

	now, after := w.now(), w.s.clone()
	tags, manifests := after.discard(w, d, now)
	w.step("let go of %d tags and %d manifests of %s, all or none %v", len(d.Tags), len(d.Manifests), d.Repo, d.Whole)
	done, err := w.recs.Discard(w.t.Context(), d)
	if err == nil && (len(done.Tags) != tags || len(done.Manifests) != manifests) {
		w.fatalf("%d tags and %d manifests went, want %d and %d", len(done.Tags), len(done.Manifests), tags, manifests)
	}
	if d.Whole && w.known(d.Repo) && (tags < len(d.Tags) || manifests < len(d.Manifests)) {
		w.outcome(err, []oci.Code{moved})
		return
	}
	w.outcome(err, []oci.Code{success}, func(s *state) { *s = after })
}

// known reports whether there ever was anything in a repository.
func (w *world) known(repo oci.Repo) (known bool) {
	name := ""
	w.rows(`SELECT name FROM repos WHERE trash = 0`, func() { known = known || name == repo.String() }, &name)
	return known
}

// discard is what a meta.Discard does, and how much went: a tag that points where
// it did and may go; a manifest that no tag points to then and that nothing needs
// which stays.
func (s *state) discard(w *world, d meta.Discard, now time.Duration) (tags, manifests int) {
	kind := meta.TrashTag
	if len(d.Manifests) > 0 {
		kind = meta.TrashManifest
	}
	e := newEntry(kind, d.Reason, d.Repo, now)
	for _, tag := range d.Tags {
		k := at{d.Repo, tag.Name.String()}
		if s.tags[k] == tag.Digest.String() && !w.immutable(d.Repo, tag.Name) {
			e.tags[k.name] = s.tags[k]
			s.point(k, "", meta.ByRetention, now)
			tags++
		}
	}
	open := slices.Clone(d.Manifests)
	for again := true; again; {
		again = false
		open = slices.DeleteFunc(open, func(m oci.Digest) bool {
			k := at{d.Repo, m.String()}
			if _, there := s.manifests[k]; !there || len(s.tagsOf(k)) > 0 || len(s.holders(w.pool, d.Repo, k.name)) > 0 {
				return false
			}
			s.take(w.pool, e, k, meta.ByRetention, now)
			manifests++
			again = true
			return true
		})
	}
	if tags+manifests > 0 {
		s.throw(e, w.keep)
	}
	return tags, manifests
}
