package metatest

import (
	"errors"

	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
)

func putTests() []test {
	return []test{
		{name: "what was never there dangles", run: putDangling},
		{name: "what was never there can be refused", run: putRefuse},
		{name: "what was lost is missing", run: putLost},
		{name: "what is damaged is missing until it is healed", run: putDamaged},
		{name: "a deleted manifest is missing", run: putLostManifest},
		{name: "a wrong size is refused", run: putSize},
		{name: "a part may be a manifest", run: putManifestAsPart},
		{name: "tags move all or not at all", run: putTagsTogether},
		{name: "tags that must stay do", run: putKeepTags},
		{name: "a put again changes nothing", run: putAgain},
		{name: "another media type replaces", run: putOtherType},
		{name: "a put protects its parts from then on", run: putProtects},
	}
}

func asMissing(err error) []oci.Digest {
	if e, ok := errors.AsType[*meta.MissingError](err); ok {
		return e.Digests
	}
	return nil
}

func putDangling(f *fixture) {
	a := f.repo("a")
	f.push(a, "here")
	f.push(f.repo("b"), "elsewhere")
	child := f.manifest(shape{note: "child"})
	m := f.manifest(shape{parts: []string{"nowhere", "here", "elsewhere", "nowhere"}})
	index := f.manifest(shape{children: []oci.Manifest{child, m}})
	for range 2 { // the second time nothing changes
		f.equal("dangling", f.put(a, m, "v1").Dangling, []oci.Digest{digestOf("nowhere"), digestOf("elsewhere")})
		f.equal("dangling", f.put(a, index, "v2").Dangling, []oci.Digest{digest(child)})
	}
	f.equal("no membership from it", f.has(a, "elsewhere"), false)
	f.is(f.UnlinkBlob(f.ctx, a, digestOf("nowhere"), event.Actor{}), meta.ErrNotFound)
	f.is(f.DeleteManifest(f.ctx, a, digest(child), event.Actor{}), meta.ErrNotFound)

	f.push(a, "nowhere")
	f.equal("dangling", f.put(a, m, "v1").Dangling, []oci.Digest{digestOf("elsewhere")})
	f.pass(2 * grace)
	f.equal("collected", f.collect(), 1) // elsewhere, in b, where nothing needs it
	f.equal("a late part is kept too", f.has(a, "nowhere"), true)
}

func putRefuse(f *fixture) {
	a := f.repo("a")
	f.push(a, "here")
	m := f.manifest(shape{parts: []string{"here", "nowhere"}})
	p := meta.ManifestPut{Repo: a, Digest: digest(m), Manifest: m, Tags: f.tags("v1"), RefuseMissing: true}
	_, err := f.PutManifest(f.ctx, p)
	f.equal("missing", asMissing(err), []oci.Digest{digestOf("nowhere")})
	required := p
	required.RefuseMissing, required.Require = false, []oci.Digest{digestOf("nowhere")}
	_, err = f.PutManifest(f.ctx, required)
	f.equal("missing of those required", asMissing(err), []oci.Digest{digestOf("nowhere")})
	f.equal("stored", f.hasManifest(a, "v1"), false)
	f.put(a, m, "v1")
	_, err = f.PutManifest(f.ctx, required) // also when it is stored already
	f.equal("missing of those required", asMissing(err), []oci.Digest{digestOf("nowhere")})
	required.Require = []oci.Digest{digestOf("here")}
	_, err = f.PutManifest(f.ctx, required)
	f.ok(err)
	_, err = f.PutManifest(f.ctx, p) // also when it is stored already
	f.equal("missing", asMissing(err), []oci.Digest{digestOf("nowhere")})
	f.push(a, "nowhere")
	_, err = f.PutManifest(f.ctx, p)
	f.ok(err)
}

func putLost(f *fixture) {
	a := f.repo("a")
	f.push(a, "x")
	f.push(a, "y")
	m := f.manifest(shape{parts: []string{"x", "y"}})
	f.ok(f.UnlinkBlob(f.ctx, a, digestOf("y"), event.Actor{}))
	_, err := f.tryPut(a, m, "v1")
	f.equal("unlinked", asMissing(err), []oci.Digest{digestOf("y")})

	f.pass(grace)
	f.equal("collected", f.collect(), 1)
	_, err = f.tryPut(a, m, "v1")
	f.equal("collected too", asMissing(err), []oci.Digest{digestOf("x"), digestOf("y")})

	f.push(a, "x")
	f.push(f.repo("b"), "y")
	f.ok(f.LinkBlob(f.ctx, f.repo("b"), a, digestOf("y"), event.Actor{}))
	f.equal("both again", f.put(a, m, "v1").Dangling, []oci.Digest(nil))
}

func putDamaged(f *fixture) {
	a := f.repo("a")
	x := f.push(a, "x")
	m := f.manifest(shape{parts: []string{"x"}})
	f.put(a, m, "v1")
	f.ok(f.MarkDamaged(f.ctx, x.Digest, x.Key))
	for _, tag := range []string{"v1", "v2"} { // nothing would change, and something
		_, err := f.tryPut(a, m, tag)
		f.equal("missing", asMissing(err), []oci.Digest{x.Digest})
	}
	f.push(a, "x")
	f.put(a, m, "v1", "v2")
}

func putLostManifest(f *fixture) {
	a := f.repo("a")
	child := f.manifest(shape{note: "child"})
	f.put(a, child)
	f.ok(f.DeleteManifest(f.ctx, a, digest(child), event.Actor{}))
	index := f.manifest(shape{children: []oci.Manifest{child}})
	_, err := f.tryPut(a, index, "v1")
	f.equal("missing", asMissing(err), []oci.Digest{digest(child)})
	f.put(a, child)
	f.put(a, index, "v1")
}

func putSize(f *fixture) {
	a := f.repo("a")
	f.push(a, "layer")
	m := f.manifest(shape{parts: []string{"layer", "nowhere"}, sizes: map[string]int64{"layer": 6, "nowhere": 99}})
	_, err := f.tryPut(a, m, "v1")
	e, ok := errors.AsType[*meta.SizeError](err)
	if !ok || *e != (meta.SizeError{Digest: digestOf("layer"), Says: 6, Has: 5}) {
		f.Fatalf("got %v, want a SizeError: 6 instead of 5", err)
	}
	f.equal("stored", f.hasManifest(a, "v1"), false)

	body := `{"blobs":[{"digest":"` + digestOf("layer").String() + `"}]}`
	m, err = oci.ParseManifest("application/x-strange", []byte(body))
	f.ok(err)
	f.put(a, m, "v2") // says no size
}

func putManifestAsPart(f *fixture) {
	a := f.repo("a")
	inner := f.manifest(shape{note: "inner"})
	f.put(a, inner)
	m := f.manifest(shape{parts: []string{string(inner.Body)}})
	f.equal("dangling", f.put(a, m, "v1").Dangling, []oci.Digest(nil))
	if _, ok := asInUse(f.DeleteManifest(f.ctx, a, digest(inner), event.Actor{})); !ok {
		f.Error("a manifest that is another one's layer can be deleted")
	}

	f.push(a, "cache layer") // an index may name blobs, as buildkit's cache does
	body := `{"schemaVersion":2,"manifests":[{"mediaType":"x/y","digest":"` + digestOf("cache layer").String() + `","size":11}]}`
	cache, err := oci.ParseManifest(oci.MediaTypeIndex, []byte(body))
	f.ok(err)
	f.equal("dangling", f.put(a, cache, "cache").Dangling, []oci.Digest(nil))
	f.pass(2 * grace)
	f.equal("collected", f.collect(), 0)
}

func putTagsTogether(f *fixture) {
	a := f.repo("a")
	good := f.manifest(shape{note: "good"})
	f.put(a, good, "v1")
	f.push(a, "x")
	f.ok(f.UnlinkBlob(f.ctx, a, digestOf("x"), event.Actor{}))
	bad := f.manifest(shape{parts: []string{"x"}})
	if _, err := f.tryPut(a, bad, "v1", "v2", "v3"); asMissing(err) == nil {
		f.Fatalf("got %v, want a MissingError", err)
	}
	tags, err := f.Tags(f.ctx, a, "", 10)
	f.ok(err)
	f.equal("tags", tags, []meta.Tag{{Name: f.tag("v1"), Digest: digest(good)}})
	other := f.manifest(shape{note: "other"})
	f.put(a, other, "v1", "v2", "v2")
	tags, err = f.Tags(f.ctx, a, "", 10)
	f.ok(err)
	f.equal("tags", tags, []meta.Tag{{Name: f.tag("v1"), Digest: digest(other)}, {Name: f.tag("v2"), Digest: digest(other)}})
}

// keep is a put that may make tags and not move them.
func (f *fixture) keep(repo oci.Repo, m oci.Manifest, tags ...string) error {
	f.Helper()
	_, err := f.PutManifest(f.ctx, meta.ManifestPut{Repo: repo, Digest: digest(m), Manifest: m, Tags: f.tags(tags...), KeepTags: true})
	return err
}

func putKeepTags(f *fixture) {
	a := f.repo("a")
	first, second := f.manifest(shape{note: "first"}), f.manifest(shape{note: "second"})
	f.ok(f.keep(a, first, "v1", "latest"))
	f.ok(f.keep(a, first, "v1")) // which changes nothing
	f.ok(f.keep(a, first, "v1", "v1.0"))
	for _, tags := range [][]string{{"v1"}, {"latest"}, {"v2", "v1"}, {"v1", "v2"}} {
		err := f.keep(a, second, tags...)
		if e, ok := errors.AsType[*meta.TagTakenError](err); !ok || e.Tag.String() == "v2" {
			f.Errorf("%v: got %v, want a TagTakenError about the one that exists", tags, err)
		}
	}
	f.equal("the manifest of a refused put", f.hasManifest(a, digest(second).String()), false)
	f.equal("a new tag of a refused put", f.hasManifest(a, "v2"), false)
	f.ok(f.keep(f.repo("b"), second, "v1")) // another repository's tags are others
	f.ok(f.keep(a, second, "v2"))
	f.ok(f.keep(a, second)) // by digest alone
	tags, err := f.Tags(f.ctx, a, "", 10)
	f.ok(err)
	f.equal("tags", tags, []meta.Tag{{Name: f.tag("latest"), Digest: digest(first)}, {Name: f.tag("v1"), Digest: digest(first)},
		{Name: f.tag("v1.0"), Digest: digest(first)}, {Name: f.tag("v2"), Digest: digest(second)}})
	f.ok(f.DeleteTag(f.ctx, a, f.tag("v1"), event.Actor{}))
	f.ok(f.keep(a, second, "v1")) // it is a new one again
}

func putAgain(f *fixture) {
	a := f.repo("a")
	f.push(a, "x")
	m := f.manifest(shape{parts: []string{"x"}})
	f.put(a, m, "v1")
	pushed := f.env.Now()
	f.pass(2 * grace)
	f.put(a, m, "v1")
	f.put(a, m)
	f.put(a, m, "v1", "v2")
	got, err := f.FindManifest(f.ctx, a, oci.Ref{Tag: f.tag("v2")})
	f.ok(err)
	f.equal("pushed", got.Pushed, pushed)
	f.equal("collected", f.collect(), 0)
	f.ok(f.DeleteManifest(f.ctx, a, digest(m), event.Actor{}))
	repos, err := f.Repos(f.ctx, "", 10)
	f.ok(err)
	f.equal("it was counted once", len(repos), 0)
}

func putOtherType(f *fixture) {
	a := f.repo("a")
	f.push(a, "x")
	body := []byte(`{"layers":[{"digest":"` + digestOf("x").String() + `","size":1,"mediaType":"x/y"}]}`)
	for _, mediaType := range []string{"application/x-one", "application/x-two"} {
		m, err := oci.ParseManifest(mediaType, body)
		f.ok(err)
		f.put(a, m, "v1")
		got, err := f.FindManifest(f.ctx, a, oci.Ref{Tag: f.tag("v1")})
		f.ok(err)
		f.equal("media type", got.MediaType, mediaType)
	}
	f.pass(2 * grace)
	f.equal("collected", f.collect(), 0)
	f.ok(f.DeleteManifest(f.ctx, a, oci.SHA256.FromBytes(body), event.Actor{}))
	f.pass(grace)
	f.equal("collected", f.collect(), 1)
}

func putProtects(f *fixture) {
	a := f.repo("a")
	f.push(a, "x")
	f.push(a, "loose")
	f.pass(grace) // both are due
	m := f.manifest(shape{parts: []string{"x"}})
	f.put(a, m)
	f.equal("collected", f.collect(), 1)
	f.equal("kept", f.has(a, "x"), true)
	f.ok(f.DeleteManifest(f.ctx, a, digest(m), event.Actor{}))
	f.equal("collected", f.collect(), 0) // its grace has begun anew
	f.pass(grace)
	f.equal("collected", f.collect(), 1)
}
