package metatest

import (
	"fmt"
	"time"

	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
)

func useTests() []test {
	return []test{
		{name: "uses are recorded, and only ever later", run: useTimes},
		{name: "uses survive the end of the process", run: useClose},
		{name: "memory for uses is bounded", run: useBound},
		{name: "a push of the same is a use", run: useAgain},
		{name: "what a repository has", run: useState},
		{name: "blobs that only some manifests need", run: useNeededOnlyBy},
		{name: "a family goes whole or not, and comes back whole", run: discardWhole, trash: true},
	}
}

// state returns the state of a manifest.
func (f *fixture) state(repo oci.Repo, d oci.Digest) meta.ManifestState {
	f.Helper()
	s, err := f.RepoState(f.ctx, repo)
	f.ok(err)
	for _, m := range s.Manifests {
		if m.Digest == d {
			return m
		}
	}
	f.Fatalf("%s has no %s", repo, d)
	return meta.ManifestState{}
}

func (f *fixture) note(repo oci.Repo, d oci.Digest, u meta.Use) time.Time {
	f.Helper()
	f.NoteUse(repo, d, u)
	f.ok(f.FlushUses(f.ctx))
	return f.env.Now()
}

func useTimes(f *fixture) {
	a, m := f.repo("a"), f.manifest(shape{note: "m"})
	f.put(a, m, "x")
	other := f.repo("b")
	f.put(other, m)
	f.equal("before", f.state(a, digest(m)).Pulled, time.Time{})
	f.pass(time.Hour)
	first := f.note(a, digest(m), meta.Pulled)
	f.equal("pulled", f.state(a, digest(m)).Pulled, first)
	f.equal("pulled in another repository", f.state(other, digest(m)).Pulled, time.Time{})
	f.jump.Store(-int64(10 * time.Hour)) // the clock is set back
	f.note(a, digest(m), meta.Pulled)
	f.equal("after a pull in the past", f.state(a, digest(m)).Pulled, first)
	f.jump.Store(0)
	f.pass(time.Hour)
	second := f.note(a, digest(m), meta.Pulled)
	f.pass(time.Hour)
	third := f.note(a, digest(m), meta.Seen)
	s := f.state(a, digest(m))
	f.equal("pulled again", s.Pulled, second)
	f.equal("seen", s.Seen, third)
	f.equal("pushed again", s.Again, time.Time{})

	// What has gone has no times, and what is pushed anew begins with none.
	f.NoteUse(a, digestOf("nothing"), meta.Pulled)
	f.NoteUse(f.repo("never"), digest(m), meta.Pulled)
	f.NoteUse(a, digest(m), meta.Pulled)
	f.ok(f.DeleteManifest(f.ctx, a, digest(m), event.Actor{}))
	f.ok(f.FlushUses(f.ctx))
	f.put(a, m)
	f.equal("pushed anew", f.state(a, digest(m)).Pulled, time.Time{})
}

func useClose(f *fixture) {
	a, m := f.repo("a"), f.manifest(shape{note: "m"})
	f.put(a, m)
	since, err := f.UsesSince(f.ctx)
	f.ok(err)
	f.equal("since", since, f.env.Now())
	f.pass(time.Hour)
	f.NoteUse(a, digest(m), meta.Pulled)
	at := f.env.Now()
	f.reopen() // closing records them
	f.equal("pulled", f.state(a, digest(m)).Pulled, at)
	again, err := f.UsesSince(f.ctx)
	f.ok(err)
	f.equal("since, opened again", again, since)
}

func useBound(f *fixture) {
	a, m := f.repo("a"), f.manifest(shape{note: "m"})
	f.put(a, m)
	f.NoteUse(a, digest(m), meta.Pulled)
	n := 0
	for ; f.DroppedUses() == 0; n++ {
		if n > 1e6 {
			f.Fatal("the memory for uses has no bound")
		}
		f.NoteUse(a, digestOf(fmt.Sprint(n)), meta.Pulled)
	}
	select {
	case <-f.UsesWaiting():
	default:
		f.Error("nobody was told that there is much to record")
	}
	f.pass(time.Hour)
	f.NoteUse(a, digest(m), meta.Pulled) // what is known is kept
	f.equal("dropped", f.DroppedUses(), int64(1))
	f.ok(f.FlushUses(f.ctx))
	f.equal("pulled", f.state(a, digest(m)).Pulled, f.env.Now())
	f.NoteUse(a, digestOf("another"), meta.Pulled)
	f.equal("dropped, once there is room", f.DroppedUses(), int64(1))
}

func useAgain(f *fixture) {
	a, m := f.repo("a"), f.manifest(shape{note: "m"})
	f.put(a, m, "x")
	pushed := f.env.Now()
	f.pass(time.Hour)
	f.put(a, m, "x") // changes nothing
	f.ok(f.FlushUses(f.ctx))
	s := f.state(a, digest(m))
	f.equal("pushed", s.Pushed, pushed)
	f.equal("pushed again", s.Again, f.env.Now())
}

func useState(f *fixture) {
	a := f.repo("a")
	none, err := f.RepoState(f.ctx, a)
	f.ok(err)
	f.equal("of nothing", fmt.Sprint(none.Tags, none.Manifests), "[] []")
	one, two := f.manifest(shape{note: "one"}), f.manifest(shape{note: "two"})
	f.put(a, one, "old")
	f.put(a, two, "keep", "fixed")
	f.pass(time.Hour)
	index := f.manifest(shape{children: []oci.Manifest{one, two}})
	f.put(a, index, "old")
	moved := f.env.Now()
	sig := f.manifest(shape{note: "sig", subject: &one})
	f.put(a, sig)
	f.put(f.repo("b"), one, "elsewhere")
	s, err := f.RepoState(f.ctx, a)
	f.ok(err)
	var tags []string
	for _, t := range s.Tags {
		tags = append(tags, fmt.Sprint(t.Name, " ", t.Moved.Equal(moved), " ", t.Digest == digest(index)))
	}
	f.equal("tags", tags, []string{"fixed false false", "keep false false", "old true true"})
	f.equal("manifests", len(s.Manifests), 4)
	i, o, r := f.state(a, digest(index)), f.state(a, digest(one)), f.state(a, digest(sig))
	f.equal("parts", len(i.Parts), 2)
	f.equal("no parts", len(o.Parts), 0)
	f.equal("size", o.Size, len(one.Body))
	f.equal("subject", r.Subject, digest(one))
	f.equal("no subject", o.Subject.IsZero(), true)
	f.equal("lost its tag", o.Untagged, moved)
	f.equal("lost none", f.state(a, digest(two)).Untagged, time.Time{})
}

func useNeededOnlyBy(f *fixture) {
	a, b := f.repo("a"), f.repo("b")
	for _, s := range []string{"base", "one", "two", "both"} {
		f.push(a, s)
	}
	f.ok(f.LinkBlob(f.ctx, a, b, digestOf("one"), event.Actor{}))
	m1, m2, m3 := f.manifest(shape{parts: []string{"base", "one", "both"}}), f.manifest(shape{parts: []string{"base", "two", "both"}}), f.manifest(shape{parts: []string{"base"}})
	for _, m := range []oci.Manifest{m1, m2, m3} {
		f.put(a, m)
	}
	needed := func(list ...oci.Digest) string {
		f.Helper()
		blobs, err := f.NeededOnlyBy(f.ctx, a, list)
		f.ok(err)
		total := int64(0)
		for _, b := range blobs {
			total += b.Size * 10
			total += int64(b.Holders)
		}
		return fmt.Sprint(len(blobs), " ", total)
	}
	f.equal("none", needed(), "0 0")
	f.equal("one", needed(digest(m1)), "1 32")              // held by two
	f.equal("two", needed(digest(m1), digest(m2)), "3 104") // 3, 3 and 4 bytes
	f.equal("unknown", needed(digestOf("nothing")), "0 0")
}

func discardWhole(f *fixture) {
	a := f.repo("a")
	for i := range 8 { // the parts have smaller digests than their index, and larger ones
		name := fmt.Sprint("v", i)
		part := f.manifest(shape{note: fmt.Sprint("part ", i)})
		f.put(a, part)
		index := f.manifest(shape{children: []oci.Manifest{part}})
		sig := f.manifest(shape{note: fmt.Sprint("sig ", i), subject: &index})
		f.put(a, index, name)
		f.put(a, sig)
		whole := meta.Discard{
			Repo: a, Tags: []meta.Tag{{Name: f.tag(name), Digest: digest(index)}}, Manifests: []oci.Digest{digest(index), digest(part), digest(sig)},
			Reason: meta.ReasonRetention, Whole: true,
		}
		f.put(a, index, "other")
		_, err := f.Discard(f.ctx, whole)
		f.is(err, meta.ErrConflict)
		f.equal("all of it stays", []bool{f.hasManifest(a, name), f.hasManifest(a, digest(part).String()), f.hasManifest(a, digest(sig).String())}, []bool{true, true, true})
		f.ok(f.DeleteTag(f.ctx, a, f.tag("other"), event.Actor{}))
		done, err := f.Discard(f.ctx, whole)
		f.ok(err)
		f.equal("goes", []int{len(done.Tags), len(done.Manifests)}, []int{1, 3})
		if i%2 == 1 {
			f.put(a, part) // is pushed again meanwhile
		}
		_, err = f.Restore(f.ctx, meta.Restore{ID: done.Entry})
		f.ok(err)
		f.equal("all of it is back", []bool{f.hasManifest(a, name), f.hasManifest(a, digest(part).String()), f.hasManifest(a, digest(sig).String())}, []bool{true, true, true})
		f.equal("what it needs", len(f.state(a, digest(index)).Parts), 1)
	}
}
