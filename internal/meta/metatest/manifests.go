package metatest

import (
	"errors"

	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
)

func asInUse(err error) (*meta.InUseError, bool) { return errors.AsType[*meta.InUseError](err) }

func manifestTests() []test {
	return []test{
		{name: "a manifest is found by tag and by digest", run: manifestFind},
		{name: "deleting a manifest takes its tags along", run: manifestDelete},
		{name: "an index keeps its children", run: manifestInUse},
		{name: "a subject is not a need", run: manifestSubject},
		{name: "deleting a tag leaves the manifest", run: manifestDeleteTag},
		{name: "a tag that moved leaves the old manifest", run: manifestMovedTag},
		{name: "repositories are apart", run: manifestOtherRepo},
	}
}

func manifestFind(f *fixture) {
	a := f.repo("a/b/c")
	m := f.manifest(shape{note: "x"})
	f.put(a, m, "latest", "V1")
	for _, ref := range []oci.Ref{{Tag: f.tag("latest")}, {Tag: f.tag("V1")}, {Digest: digest(m)}} {
		got, err := f.FindManifest(f.ctx, a, ref)
		f.ok(err)
		got.Verified = false // an implementation may leave that to others
		f.equal("manifest", got, meta.Manifest{Digest: digest(m), MediaType: m.MediaType, Body: m.Body, Pushed: f.env.Now()})
	}
	for _, ref := range []string{"v1", "lates", digestOf("x").String()} {
		f.equal(ref, f.hasManifest(a, ref), false)
	}
	_, err := f.FindManifest(f.ctx, f.repo("a/b"), oci.Ref{Tag: f.tag("latest")})
	f.is(err, meta.ErrNotFound)
}

func manifestDelete(f *fixture) {
	a := f.repo("a")
	f.push(a, "x")
	m, other := f.manifest(shape{parts: []string{"x"}}), f.manifest(shape{note: "other"})
	f.put(a, m, "v1", "v2")
	f.put(a, other, "v3")
	f.is(f.DeleteManifest(f.ctx, a, digestOf("no manifest"), event.Actor{}), meta.ErrNotFound)
	f.is(f.DeleteManifest(f.ctx, f.repo("b"), digest(m), event.Actor{}), meta.ErrNotFound)
	f.ok(f.DeleteManifest(f.ctx, a, digest(m), event.Actor{}))
	f.is(f.DeleteManifest(f.ctx, a, digest(m), event.Actor{}), meta.ErrNotFound)
	for ref, want := range map[string]bool{"v1": false, "v2": false, "v3": true, digest(m).String(): false} {
		f.equal(ref, f.hasManifest(a, ref), want)
	}
	tags, err := f.Tags(f.ctx, a, "", 10)
	f.ok(err)
	f.equal("tags", tags, []meta.Tag{{Name: f.tag("v3"), Digest: digest(other)}})

	f.put(a, m, "v1") // its tombstone is no obstacle
	f.equal("again", f.hasManifest(a, "v1"), true)
}

func manifestInUse(f *fixture) {
	a := f.repo("a")
	child := f.manifest(shape{note: "child"})
	f.put(a, child)
	index := f.manifest(shape{children: []oci.Manifest{child}})
	f.equal("dangling", f.put(a, index, "multi").Dangling, []oci.Digest(nil))
	e, ok := asInUse(f.DeleteManifest(f.ctx, a, digest(child), event.Actor{}))
	if !ok || e.Holder != digest(index) {
		f.Errorf("got %v, want in use by %s", e, digest(index))
	}
	f.ok(f.DeleteManifest(f.ctx, a, digest(index), event.Actor{}))
	f.ok(f.DeleteManifest(f.ctx, a, digest(child), event.Actor{}))
}

func manifestSubject(f *fixture) {
	a := f.repo("a")
	m := f.manifest(shape{note: "image"})
	f.put(a, m)
	sig := f.manifest(shape{note: "signature", subject: &m})
	f.equal("dangling", f.put(a, sig).Dangling, []oci.Digest(nil))
	got, err := f.FindManifest(f.ctx, a, oci.Ref{Digest: digest(sig)})
	f.ok(err)
	f.equal("subject", got.Subject, digest(m))
	f.ok(f.DeleteManifest(f.ctx, a, digest(m), event.Actor{}))
	f.equal("signature stays", f.hasManifest(a, digest(sig).String()), true)
}

func manifestDeleteTag(f *fixture) {
	a := f.repo("a")
	m := f.manifest(shape{note: "x"})
	f.put(a, m, "v1", "v2")
	f.is(f.DeleteTag(f.ctx, a, f.tag("v3"), event.Actor{}), meta.ErrNotFound)
	f.is(f.DeleteTag(f.ctx, f.repo("b"), f.tag("v1"), event.Actor{}), meta.ErrNotFound)
	f.ok(f.DeleteTag(f.ctx, a, f.tag("v1"), event.Actor{}))
	f.is(f.DeleteTag(f.ctx, a, f.tag("v1"), event.Actor{}), meta.ErrNotFound)
	f.ok(f.DeleteTag(f.ctx, a, f.tag("v2"), event.Actor{}))
	f.equal("manifest", f.hasManifest(a, digest(m).String()), true)
}

func manifestMovedTag(f *fixture) {
	a := f.repo("a")
	one, two := f.manifest(shape{note: "1"}), f.manifest(shape{note: "2"})
	f.put(a, one, "latest")
	f.put(a, two, "latest")
	got, err := f.FindManifest(f.ctx, a, oci.Ref{Tag: f.tag("latest")})
	f.ok(err)
	f.equal("latest", got.Digest, digest(two))
	f.equal("old one", f.hasManifest(a, digest(one).String()), true)
	f.ok(f.DeleteManifest(f.ctx, a, digest(one), event.Actor{}))
	f.equal("latest stays", f.hasManifest(a, "latest"), true)
}

func manifestOtherRepo(f *fixture) {
	a, b := f.repo("a"), f.repo("b")
	f.push(a, "x")
	m := f.manifest(shape{parts: []string{"x"}})
	f.put(a, m, "v1")
	f.equal("in the other", f.hasManifest(b, digest(m).String()), false)
	f.equal("dangling in the other", f.put(b, m, "v1").Dangling, []oci.Digest{digestOf("x")})
	f.ok(f.DeleteManifest(f.ctx, b, digest(m), event.Actor{}))
	f.equal("still in the first", f.hasManifest(a, "v1"), true)
	if _, ok := asInUse(f.UnlinkBlob(f.ctx, a, digestOf("x"), event.Actor{})); !ok {
		f.Error("the first repository's manifest lost its layer with the second's")
	}
}
