package metatest

import (
	"fmt"
	"slices"

	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
)

func shadowTests() []test {
	return []test{
		{name: "nothing is noted without a shadow", run: shadowOff},
		{name: "every change is noted", run: shadowNotes},
		{name: "what is written is struck off", run: shadowWritten},
		{name: "a change while it is being written is noted", run: shadowMeanwhile},
		{name: "an intention is remembered", run: shadowIntends},
		{name: "a comparison finds every difference", run: shadowCompares},
		{name: "what comes from the tree is not written to it", run: shadowTakes},
	}
}

// unwritten lists the links to be written as kind, name and whether there shall
// be one.
func (f *fixture) unwritten() []string {
	f.Helper()
	list, err := f.Unwritten(f.ctx, 100)
	f.ok(err)
	var names []string
	for _, w := range list {
		name := w.Name
		if d, err := oci.ParseDigest(name); err == nil {
			name = d.Hex()[:4]
		}
		names = append(names, fmt.Sprint(w.Kind, name, !w.Target.IsZero()))
	}
	slices.Sort(names)
	n, err := f.CountUnwritten(f.ctx)
	f.ok(err)
	f.equal("count", n, len(list))
	return names
}

// write strikes everything off, as a shadow does.
func (f *fixture) write() {
	f.Helper()
	list, err := f.Unwritten(f.ctx, 100)
	f.ok(err)
	f.ok(f.Intend(f.ctx, list))
	f.ok(f.Written(f.ctx, writtenAll(list)))
}

func writtenAll(list []meta.LinkWant) []meta.LinkWritten {
	var done []meta.LinkWritten
	for _, w := range list {
		done = append(done, meta.LinkWritten{LinkWant: w, ModTime: written()})
	}
	return done
}

func short(d oci.Digest) string { return d.Hex()[:4] }

func shadowOff(f *fixture) {
	a := f.repo("a")
	f.push(a, "x")
	f.put(a, f.manifest(shape{parts: []string{"x"}}), "v1")
	f.equal("noted", len(f.unwritten()), 0)
}

func shadowNotes(f *fixture) {
	f.StartShadow()
	a, b := f.repo("a"), f.repo("b")
	x := f.push(a, "x")
	m := f.manifest(shape{parts: []string{"x"}})
	f.put(a, m, "v1", "v2")
	layer, revision := "1"+short(x.Digest)+"true", "2"+short(digest(m))+"true"
	f.equal("noted", f.unwritten(), []string{layer, revision, "3v1true", "3v2true"})
	f.write()
	f.equal("noted", len(f.unwritten()), 0)

	f.ok(f.LinkBlob(f.ctx, a, b, x.Digest, event.Actor{}))
	f.equal("after a mount", f.unwritten(), []string{layer})
	f.write()
	f.ok(f.UnlinkBlob(f.ctx, b, x.Digest, event.Actor{}))
	f.equal("after a deletion", f.unwritten(), []string{"1" + short(x.Digest) + "false"})
	f.write()
	f.ok(f.DeleteTag(f.ctx, a, f.tag("v2"), event.Actor{}))
	f.equal("after the deletion of a tag", f.unwritten(), []string{"3v2false"})
	f.write()
	f.ok(f.DeleteManifest(f.ctx, a, digest(m), event.Actor{}))
	f.equal("after the deletion of a manifest", f.unwritten(), []string{"2" + short(digest(m)) + "false", "3v1false"})
	f.write()
	f.pass(grace)
	f.collect()
	f.equal("after a collection", f.unwritten(), []string{"1" + short(x.Digest) + "false"})
	f.write()
	f.equal("links", len(f.links(a)), 0)
}

func shadowWritten(f *fixture) {
	f.StartShadow()
	a := f.repo("a")
	x := f.push(a, "x")
	m := f.manifest(shape{parts: []string{"x"}})
	f.put(a, m, "v1")
	list, err := f.Unwritten(f.ctx, 100)
	f.ok(err)
	for _, w := range list {
		switch w.Kind {
		case meta.LayerLink:
			f.equal("bytes", []any{w.Target, w.Key, w.Size}, []any{x.Digest, x.Key, int64(1)})
		case meta.RevisionLink:
			f.equal("body", string(w.Body), string(m.Body))
		case meta.TagLink:
			f.equal("target", w.Target, digest(m))
		}
		f.equal("repository", w.Repo, a)
		f.equal("remembered", w.Was.Target.IsZero(), true)
	}
	one, err := f.Unwritten(f.ctx, 1)
	f.ok(err)
	f.equal("limit", len(one), 1)
	f.ok(f.Written(f.ctx, writtenAll(list)))
	f.equal("links", f.links(a), []meta.Link{
		link(meta.LayerLink, x.Digest.String(), x.Digest), link(meta.RevisionLink, digest(m).String(), digest(m)), link(meta.TagLink, "v1", digest(m)),
	})
}

func shadowMeanwhile(f *fixture) {
	f.StartShadow()
	a := f.repo("a")
	first, second := f.manifest(shape{note: "1"}), f.manifest(shape{note: "2"})
	f.put(a, first, "v1")
	list, err := f.Unwritten(f.ctx, 100)
	f.ok(err)
	f.put(a, second, "v1")
	f.ok(f.Written(f.ctx, writtenAll(list)))
	f.equal("noted", f.unwritten(), []string{"2" + short(digest(second)) + "true", "3v1true"})
}

func shadowIntends(f *fixture) {
	f.StartShadow()
	a := f.repo("a")
	m := f.manifest(shape{note: "1"})
	f.put(a, m, "v1")
	list, err := f.Unwritten(f.ctx, 100)
	f.ok(err)
	f.ok(f.Intend(f.ctx, list))
	for _, l := range f.links(a) {
		f.equal("intention", []any{l.Target.IsZero(), l.Changing, l.Next}, []any{true, true, digest(m)})
	}
	f.write()
	f.ok(f.DeleteManifest(f.ctx, a, digest(m), event.Actor{}))
	list, err = f.Unwritten(f.ctx, 100)
	f.ok(err)
	f.equal("remembered", list[0].Was.Target, digest(m))
	f.ok(f.Intend(f.ctx, list))
	for _, l := range f.links(a) {
		f.equal("intention", []any{l.Target, l.Changing, l.Next.IsZero()}, []any{digest(m), true, true})
	}
	f.takeRepo(meta.RepoTake{Repo: a, Gone: f.links(a)})
	f.equal("links", len(f.links(a)), 0)
}

func shadowCompares(f *fixture) {
	a := f.repo("a")
	x := f.push(a, "x")
	m := f.manifest(shape{parts: []string{"x"}})
	f.put(a, m, "v1")
	f.StartShadow()
	f.ok(f.Compare(f.ctx, f.repo("unknown")))
	f.ok(f.Compare(f.ctx, a))
	all := []string{"1" + short(x.Digest) + "true", "2" + short(digest(m)) + "true", "3v1true"}
	f.equal("noted", f.unwritten(), all)
	f.write()
	f.ok(f.Compare(f.ctx, a))
	f.equal("noted again", len(f.unwritten()), 0)
	other := digestOf("another manifest")
	f.takeRepo(meta.RepoTake{Repo: a, Seen: []meta.Link{
		link(meta.TagLink, "v1", other), link(meta.TagLink, "v2", other),
		link(meta.RevisionLink, other.String(), other), link(meta.LayerLink, other.String(), other),
	}})
	f.ok(f.Compare(f.ctx, a))
	f.equal("noted", f.unwritten(), []string{"1" + short(other) + "false", "2" + short(other) + "false", "3v1true", "3v2false"})
}

func shadowTakes(f *fixture) {
	f.StartShadow()
	p, m := f.take("a")
	f.takeRepo(p)
	f.ok(f.Compare(f.ctx, p.Repo))
	f.equal("noted", f.unwritten(), []string(nil))
	f.takeRepo(meta.RepoTake{Repo: p.Repo, Gone: []meta.Link{p.Manifests[0].Link}})
	f.ok(f.Compare(f.ctx, p.Repo))
	f.equal("a tag without its manifest", f.unwritten(), []string{"3v1false"})
	f.equal("manifest", f.hasManifest(p.Repo, digest(m).String()), false)
}
