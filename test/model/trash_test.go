package model_test

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
)

// An entry is one deletion that can be undone.
type entry struct {
	kind      meta.TrashKind
	reason    meta.TrashReason
	repo      oci.Repo
	dropped   bool                     // it can't be undone, and is being taken apart
	deleted   time.Duration            // ticks
	tags      map[string]string        // that went, and what they pointed to
	manifests map[string]bool          // whether the body is sound
	members   map[string]member        // of a repository with its grace, which goes on
	lost      map[string]time.Duration // the tombstones that a whole repository had
}

func newEntry(kind meta.TrashKind, reason meta.TrashReason, repo oci.Repo, now time.Duration) entry {
	return entry{
		kind: kind, reason: reason, repo: repo, deleted: now, tags: map[string]string{},
		manifests: map[string]bool{}, members: map[string]member{}, lost: map[string]time.Duration{},
	}
}

// has reports whether e holds d.
func (e entry) has(d string) bool {
	_, ok := e.manifests[d]
	_, has := e.members[d]
	return ok || has
}

// holds reports whether a manifest of e needs d.
func (e entry) holds(p *pool, d string) bool {
	for m := range e.manifests {
		if slices.ContainsFunc(p.byDigest[mustDigest(m)].parts(), func(part oci.Descriptor) bool { return part.Digest.String() == d }) {
			return true
		}
	}
	return false
}

// collected is e after a collection: what nothing in it needs and whose grace is
// over is gone.
func (e entry) collected(p *pool, now, grace time.Duration) entry {
	if e.kind != meta.TrashRepo {
		return e
	}
	e.members, e.lost = maps.Clone(e.members), maps.Clone(e.lost)
	for d, m := range e.members {
		switch {
		case !m.candidate || grace > 0 && m.touched > now-grace:
		case e.holds(p, d):
			e.members[d] = member{m.touched, false}
		default:
			delete(e.members, d)
			e.lost[d] = now
		}
	}
	return e
}

// throw adds an entry, if anything is kept.
func (s *state) throw(e entry, keep time.Duration) {
	if e.dropped = keep == 0; e.dropped && e.kind != meta.TrashRepo {
		return
	}
	s.lastEntry++
	s.trash[s.lastEntry] = e
}

// had reports whether a repository lost d: there is a tombstone, or d is in what
// the repository was.
func (s state) had(k at) bool {
	_, ok := s.lost[k]
	for _, e := range s.trash {
		if e.kind == meta.TrashRepo && e.repo == k.repo {
			_, buried := e.lost[k.name]
			ok = ok || buried || e.has(k.name)
		}
	}
	return ok
}

// take moves manifest k out of sight into e: its tags go, its parts are on their
// way out, and e keeps those that there are.
func (s *state) take(p *pool, e entry, k at, cause meta.TagCause, now time.Duration) {
	for _, part := range p.byDigest[mustDigest(k.name)].parts() {
		if d := part.Digest.String(); s.has(at{k.repo, d}) {
			e.members[d] = member{}
		}
	}
	s.release(p, k, now)
	e.manifests[k.name] = s.manifests[k]
	delete(s.manifests, k)
	for _, t := range s.tagsOf(k) {
		e.tags[t.name] = k.name
		s.point(t, "", cause, now)
	}
	s.lost[k] = now
}

func (s state) has(k at) bool { _, ok := s.members[k]; return ok }

// peekTrash reads what was deleted.
func (w *world) peekTrash(s *state) {
	w.t.Helper()
	s.trash = make(map[int64]entry)
	var id, n, ticks int64
	var kind, reason, repo, name, more string
	var body []byte
	w.rows(`SELECT id, kind, reason, repo, dropped, deleted FROM trash`, func() {
		e := newEntry(meta.TrashKind(kind), meta.TrashReason(reason), w.repo(repo), time.Duration(ticks))
		e.dropped = n != 0
		s.trash[id] = e
	}, &id, &kind, &reason, &repo, &n, &ticks)
	w.rows(`SELECT entry, name, digest FROM trash_tags UNION ALL
		SELECT r.trash, t.name, t.digest FROM tags t JOIN repos r ON r.id = t.repo_id WHERE r.trash <> 0`, func() { s.trash[id].tags[name] = more }, &id, &name, &more)
	w.rows(`SELECT id, tags, digest FROM trash`, func() {
		for tag := range strings.FieldsSeq(name) {
			s.trash[id].tags[tag] = more
		}
	}, &id, &name, &more)
	w.rows(`SELECT r.trash, m.digest, m.body FROM manifests m JOIN repos r ON r.id = m.repo_id WHERE r.trash <> 0`, func() {
		s.trash[id].manifests[name] = mustDigest(name).Algorithm().FromBytes(body).String() == name
	}, &id, &name, &body)
	w.rows(`SELECT r.trash, m.digest, m.touched, m.candidate FROM repo_blobs m JOIN repos r ON r.id = m.repo_id WHERE r.trash <> 0`, func() {
		if s.trash[id].members[name] = (member{}); s.trash[id].kind == meta.TrashRepo {
			s.trash[id].members[name] = member{time.Duration(ticks), n != 0}
		}
	}, &id, &name, &ticks, &n)
	w.rows(`SELECT r.trash, l.digest, l.lost FROM losses l JOIN repos r ON r.id = l.repo_id WHERE r.trash <> 0`, func() {
		s.trash[id].lost[name] = time.Duration(ticks)
	}, &id, &name, &ticks)
	w.rows(`SELECT seq FROM sqlite_sequence WHERE name = 'trash'`, func() { s.lastEntry = id }, &id)
}

// deleteRepo deletes a repository, of which nothing is left but its uploads.
func (w *world) deleteRepo() {
	repo, now := pick(w, w.pool.repos), w.now()
	var tags []at
	empty := true
	for k := range w.s.manifests {
		empty = empty && k.repo != repo
	}
	for k := range w.s.members {
		empty = empty && k.repo != repo
	}
	for k := range w.s.tags {
		if k.repo == repo {
			tags = append(tags, k)
		}
	}
	w.step("delete repository %s", repo)
	_, err := w.recs.DeleteRepo(w.t.Context(), repo, event.Actor{Name: "alice"})
	switch {
	case empty:
		w.outcome(err, []oci.Code{notFound})
	case slices.ContainsFunc(tags, func(k at) bool { return w.immutable(k.repo, mustTag(k.name)) }):
		w.outcome(err, []oci.Code{oci.Denied})
	default:
		w.outcome(err, []oci.Code{success}, func(s *state) {
			e := newEntry(meta.TrashRepo, meta.ReasonDeleted, repo, now)
			move := func(k at) bool { return k.repo == repo }
			for k, sound := range s.manifests {
				if move(k) {
					e.manifests[k.name] = sound
				}
			}
			for k, m := range s.members {
				if move(k) {
					e.members[k.name] = m
				}
			}
			for k, d := range s.tags {
				if move(k) {
					e.tags[k.name] = d
				}
			}
			for k, lost := range s.lost {
				if move(k) {
					e.lost[k.name] = lost
				}
			}
			maps.DeleteFunc(s.manifests, func(k at, _ bool) bool { return move(k) })
			maps.DeleteFunc(s.members, func(k at, _ member) bool { return move(k) })
			maps.DeleteFunc(s.tags, func(k at, _ string) bool { return move(k) })
			maps.DeleteFunc(s.lost, func(k at, _ time.Duration) bool { return move(k) })
			s.note(at{repo: repo}, wholeMove(meta.ByDelete, now))
			s.throw(e, w.keep)
		})
	}
}

// wholeMove is what happens to a repository as a whole.
func wholeMove(cause meta.TagCause, now time.Duration) move { return move{cause: cause, noted: now} }

// restorable lists the entries that can be undone, oldest first.
func (w *world) restorable() []int64 {
	var list []int64
	for _, id := range slices.Sorted(maps.Keys(w.s.trash)) {
		if e := w.s.trash[id]; !e.dropped && e.deleted > w.now()-w.keep {
			list = append(list, id)
		}
	}
	return list
}

// restore undoes a deletion, or tries to.
func (w *world) restore() {
	all := slices.Sorted(maps.Keys(w.s.trash))
	if len(all) == 0 {
		return
	}
	p := meta.Restore{ID: pick(w, all), Force: w.chance(30), By: event.Actor{Name: "alice"}}
	e, there := w.s.trash[p.ID], slices.Contains(w.restorable(), p.ID)
	to := e.repo
	if w.chance(20) {
		p.As = pick(w, w.pool.repos)
		to = p.As
	}
	var wanted map[string]bool // of a repository: these manifests, if it is not all of them
	if e.kind == meta.TrashRepo && len(e.manifests) > 0 && w.chance(30) {
		d := pick(w, slices.Sorted(maps.Keys(e.manifests)))
		p.Only, wanted = oci.Ref{Digest: mustDigest(d)}, map[string]bool{d: true}
	}
	for {
		w.step("restore %s %d of %s to %s, only %s, force %v", e.kind, p.ID, e.repo, to, p.Only, p.Force)
		before := w.s.clone()
		done, err := w.recs.Restore(w.t.Context(), p)
		var codes []oci.Code
		switch {
		case !there:
			codes = []oci.Code{notFound}
		default:
			codes = []oci.Code{success}
			if w.incomplete(e, to) {
				codes = append(codes, missing)
			}
			if p.Force && slices.ContainsFunc(slices.Sorted(maps.Keys(e.tags)), func(t string) bool { return w.immutable(to, mustTag(t)) }) {
				codes = append(codes, oci.Denied)
			}
		}
		var wrong []string
		fired := w.faults.fired
		w.outcome(err, codes, func(s *state) {
			real := w.peek()
			if wrong = restored(w.pool, before, real, restoring{Restore: p, entry: e, to: to, wanted: wanted, more: err != nil || done.More}); len(wrong) == 0 {
				*s = real
			} else if err == nil {
				w.fatalf("after it was restored:\n\t%s", strings.Join(wrong, "\n\t"))
			}
		})
		if err != nil || !done.More || fired {
			return
		}
	}
}

// incomplete reports whether something that e needs to be whole can't be had any
// more.
func (w *world) incomplete(e entry, to oci.Repo) bool {
	seen := map[string]bool{}
	var whole func(d string) bool
	// there says whether d can be had, as a blob or a manifest.
	there := func(d string) (blob, manifest bool) {
		_, manifest = w.s.manifests[at{to, d}]
		blob = w.s.has(at{to, d})
		for _, o := range w.s.trash {
			if o.repo == e.repo && !o.dropped {
				_, m := o.manifests[d]
				_, b := o.members[d]
				blob, manifest = blob || b, manifest || m
			}
		}
		return blob && !w.s.contents[d].damaged, manifest
	}
	whole = func(d string) bool {
		blob, manifest := there(d)
		m := w.pool.byDigest[mustDigest(d)]
		_, live := w.s.manifests[at{to, d}]
		live = live || w.s.has(at{to, d}) && !w.s.contents[d].damaged
		if live || m == nil || !manifest || seen[d] { // else it comes as a manifest, even if there is a blob of the same bytes
			return blob || manifest
		}
		seen[d] = true
		return !slices.ContainsFunc(m.parts(), func(part oci.Descriptor) bool { return !whole(part.Digest.String()) })
	}
	for _, d := range e.tags {
		_, live := w.s.manifests[at{to, d}]
		if blob, _ := there(d); blob && !live || !whole(d) { // a tag has no use for a blob of the same bytes
			return true
		}
	}
	return slices.ContainsFunc(slices.Sorted(maps.Keys(e.had())), func(d string) bool { return !whole(d) })
}

// A restoring is a meta.Restore, and what it is to do.
type restoring struct {
	meta.Restore
	entry  entry
	to     oci.Repo
	wanted map[string]bool // nil: everything
	more   bool            // it has not come to its end
}

// restored lists what is wrong with what a restoring made of before: everything
// that was there is there, what was deleted is there again as it was, and nothing
// else has changed.
func restored(p *pool, before, after state, r restoring) []string {
	var wrong []string
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	fromTrash := func(k at) bool { // whether the trash had it, for the repository that it was in
		for _, e := range before.trash {
			if k.repo == r.to && e.repo == r.entry.repo && !e.dropped && e.has(k.name) {
				return true
			}
		}
		return false
	}
	for k, sound := range before.manifests {
		if now, ok := after.manifests[k]; !ok || sound && !now {
			say("manifest %s of %s was there", p.name(mustDigest(k.name)), k.repo)
		}
	}
	for k := range after.manifests {
		if _, ok := before.manifests[k]; !ok && !fromTrash(k) {
			say("manifest %s of %s comes from nowhere", p.name(mustDigest(k.name)), k.repo)
		}
	}
	for k := range before.members {
		if !after.has(k) {
			say("blob %s of %s was there", p.name(mustDigest(k.name)), k.repo)
		}
	}
	for k := range after.members {
		if !before.has(k) && !fromTrash(k) {
			say("blob %s of %s comes from nowhere", p.name(mustDigest(k.name)), k.repo)
		}
	}
	wrong = append(wrong, r.tags(before, after)...)
	wrong = append(wrong, r.left(p, before, after)...)
	if !r.more {
		wrong = append(wrong, r.back(p, before, after)...)
	}
	return wrong
}

// tags lists what is wrong with the tags.
func (r restoring) tags(before, after state) (wrong []string) {
	for k, d := range before.tags {
		back := k.repo == r.to && r.Force && r.entry.tags[k.name] == after.tags[k]
		if after.tags[k] != d && !back {
			wrong = append(wrong, fmt.Sprintf("tag %s of %s pointed to %s, and points to %q", k.name, k.repo, d, after.tags[k]))
		}
	}
	for k, d := range after.tags {
		known := before.tags[k] == d
		for _, e := range before.trash {
			known = known || k.repo == r.to && e.repo == r.entry.repo && e.tags[k.name] == d
		}
		if !known {
			wrong = append(wrong, fmt.Sprintf("tag %s of %s points to %s, and comes from nowhere", k.name, k.repo, d))
		}
	}
	for k, list := range after.moves {
		old := before.moves[k]
		for i, m := range list {
			switch {
			case i < len(old) && m == old[i]:
			case i < len(old) || m.cause != meta.ByRestore || k.name != "" && (m.from != before.tags[k] || m.to != after.tags[k]):
				wrong = append(wrong, fmt.Sprintf("history of %s of %s: %+v", k.name, k.repo, m))
			}
		}
	}
	return wrong
}

// left lists what is wrong with what is left in the trash, and with tombstones.
func (r restoring) left(p *pool, before, after state) (wrong []string) {
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	for id, e := range before.trash {
		now, ok := after.trash[id]
		if !ok && id != r.ID && !e.dropped && e.repo != r.entry.repo {
			say("entry %d is gone", id)
		}
		for d := range e.manifests {
			_, kept := now.manifests[d]
			_, live := after.manifests[at{r.to, d}]
			if !kept && !(live && e.repo == r.entry.repo) {
				say("manifest %s of entry %d is neither here nor there", p.name(mustDigest(d)), id)
			}
		}
	}
	for d := range r.entry.had() {
		k := at{r.entry.repo, d}
		if _, ok := after.manifests[k]; !ok && !after.has(k) && !after.had(k) {
			say("that %s had %s is forgotten", r.entry.repo, p.name(mustDigest(d)))
		}
	}
	return wrong
}

// had is all of which the repository of e is to remember that it had it.
func (e entry) had() map[string]bool {
	all := maps.Clone(e.manifests)
	for d := range e.members {
		all[d] = true
	}
	return all
}

// back lists what was to come back, and did not.
func (r restoring) back(p *pool, before, after state) (wrong []string) {
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	wanted := r.wanted
	if wanted == nil {
		wanted = map[string]bool{}
		for d := range r.entry.manifests {
			wanted[d] = true
		}
		for t, d := range r.entry.tags {
			if was, ok := before.tags[at{r.to, t}]; (!ok || r.Force) && after.tags[at{r.to, t}] != d {
				say("tag %s is not back: it points to %q, pointed to %q, and was %s", t, after.tags[at{r.to, t}], was, d)
			}
		}
		for d := range r.entry.members {
			if _, ok := after.manifests[at{r.to, d}]; r.entry.kind != meta.TrashManifest && !ok && !after.has(at{r.to, d}) {
				say("blob %s is not back", p.name(mustDigest(d)))
			}
		}
		if e, ok := after.trash[r.ID]; ok && !e.dropped {
			say("the entry is still there")
		}
	}
	for d := range wanted {
		if _, ok := after.manifests[at{r.to, d}]; !ok {
			say("manifest %s is not back", p.name(mustDigest(d)))
		}
		for _, part := range p.byDigest[mustDigest(d)].parts() {
			k := at{r.to, part.Digest.String()}
			if _, ok := after.manifests[k]; !ok && !after.has(k) && r.entry.has(k.name) {
				say("part %s of %s is not back", p.name(part.Digest), p.name(mustDigest(d)))
			}
		}
	}
	for d := range r.entry.manifests { // what refers to what came back comes along
		m := p.byDigest[mustDigest(d)]
		if m.Subject != nil && wanted[m.Subject.Digest.String()] {
			if _, ok := after.manifests[at{r.to, d}]; !ok {
				say("%s, which refers to %s, is not back", p.name(mustDigest(d)), p.name(m.Subject.Digest))
			}
		}
	}
	return wrong
}

// dropTrash gives some entries up.
func (w *world) dropTrash() {
	list := w.restorable()
	if len(list) == 0 {
		return
	}
	id := pick(w, list)
	w.step("drop entry %d of the trash", id)
	err := w.recs.DropTrash(w.t.Context(), id)
	w.outcome(err, []oci.Code{success}, func(s *state) {
		e := s.trash[id]
		e.dropped = true
		s.trash[id] = e
	})
}

// expireTrash takes apart what can't be had back any more.
func (w *world) expireTrash() {
	now := w.now()
	for range 10_000 {
		limit := pick(w, []int{1, 2, 3, 100})
		w.step("expire the trash, %d records", limit)
		n, err := w.recs.ExpireTrash(w.t.Context(), limit)
		over := func(e entry) bool { return e.dropped || e.deleted <= now-w.keep }
		w.outcome(err, []oci.Code{success}, func(s *state) { w.expired(s, over) })
		if err != nil {
			return
		}
		if n == 0 {
			first := slices.Min(append(slices.Collect(maps.Keys(w.s.trash)), math.MaxInt64))
			for id, e := range w.s.trash { // one whose time a kill has set back waits for those before it
				if over(e) && (e.dropped || id == first) {
					w.fatalf("entry %d is still there: %+v", id, e)
				}
			}
			return
		}
	}
	w.fatalf("the trash does not come to an end of expiring")
}

// expired makes of s what there really is, if all that has changed is that some of
// the entries that are over have less.
func (w *world) expired(s *state, over func(entry) bool) {
	real := w.peek()
	for id, e := range s.trash {
		now, ok := real.trash[id]
		switch {
		case !over(e) || ok && !now.dropped:
			continue
		case !ok:
			delete(s.trash, id)
		default:
			s.trash[id] = now
		}
		for d := range e.had() {
			_, wasLost := s.lost[at{e.repo, d}]
			lost, isLost := real.lost[at{e.repo, d}]
			if e.kind == meta.TrashRepo && !wasLost && (!now.has(d) || isLost && lost == e.deleted) {
				s.lost[at{e.repo, d}] = e.deleted
			}
		}
		for d := range e.lost {
			if _, kept := now.lost[d]; !kept {
				if _, wasLost := s.lost[at{e.repo, d}]; !wasLost {
					s.lost[at{e.repo, d}] = e.deleted
				}
			}
		}
	}
}

// checkTrash compares the list of what can be had back.
func (w *world) checkTrash() {
	w.t.Helper()
	var got []int64
	for before := int64(0); ; {
		list, err := w.db.TrashEntries(w.t.Context(), oci.Repo{}, before, 1+w.rnd.IntN(4))
		if err != nil {
			w.fatalf("list the trash: %v", err)
		}
		if len(list) == 0 {
			break
		}
		for _, e := range list {
			got, before = append(got, e.ID), e.ID
			want := w.s.trash[e.ID]
			if e.Kind != want.kind || e.Repo != want.repo || e.Reason != want.reason || e.Manifests != len(want.manifests) ||
				e.TagCount != len(want.tags) || e.Left != w.keep-(w.now()-want.deleted) {
				w.fatalf("the trash lists %+v, want %+v", e, want)
			}
		}
	}
	slices.Reverse(got)
	if want := w.restorable(); !slices.Equal(got, want) {
		w.fatalf("the trash lists %v, want %v", got, want)
	}
}
