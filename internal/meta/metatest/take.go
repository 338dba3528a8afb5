package metatest

import (
	"slices"
	"strings"
	"time"

	"berth/internal/blob"
	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
)

func takeTests() []test {
	return []test{
		{name: "what was found is there", run: takeAll},
		{name: "taking twice changes nothing", run: takeTwice},
		{name: "what has gone is gone", run: takeGone},
		{name: "a tag that moved meanwhile stays", run: takeGoneMoved},
		{name: "the bytes that are there stay", run: takeKnown},
		{name: "damage is recorded and mended", run: takeDamaged},
		{name: "garbage that is found again is none", run: takeGarbage},
		{name: "held bytes are not collected before the end", run: takeHeld},
		{name: "an upload of another size replaces the record", run: takeWrongSize},
		{name: "the state of the tree", run: takeState},
	}
}

// written is when the links of these tests were.
func written() time.Time { return time.Unix(1700000000, 123456789) }

func link(kind meta.LinkKind, name string, target oci.Digest) meta.Link {
	return meta.Link{LinkName: meta.LinkName{Kind: kind, Name: name}, Target: target, ModTime: written()}
}

// adopted is the key of registry:2's file of content s.
func adopted(s string) blob.Key { return blob.Key("adopted/sha256/" + digestOf(s).Hex() + "/1-2-3") }

func takenBlob(s string) meta.TakenBlob {
	d := digestOf(s)
	return meta.TakenBlob{Blob: meta.Blob{Digest: d, Key: adopted(s), Size: int64(len(s))}, Link: link(meta.LayerLink, d.String(), d), Held: true}
}

func takenManifest(m oci.Manifest) meta.TakenManifest {
	d := digest(m)
	return meta.TakenManifest{Digest: d, Manifest: m, Pushed: written(), Link: link(meta.RevisionLink, d.String(), d)}
}

func (f *fixture) takenTag(name string, d oci.Digest) meta.TakenTag {
	f.Helper()
	return meta.TakenTag{Tag: meta.Tag{Name: f.tag(name), Digest: d}, Moved: written(), Link: link(meta.TagLink, name, d)}
}

// take is a repository with two layers, a manifest and a tag.
func (f *fixture) take(repo string) (meta.RepoTake, oci.Manifest) {
	f.Helper()
	m := f.manifest(shape{parts: []string{"config", "layer"}})
	return meta.RepoTake{
		Repo:      f.repo(repo),
		Blobs:     []meta.TakenBlob{takenBlob("config"), takenBlob("layer")},
		Manifests: []meta.TakenManifest{takenManifest(m)},
		Tags:      []meta.TakenTag{f.takenTag("v1", digest(m))},
	}, m
}

// links returns what is remembered, sorted.
func (f *fixture) links(repo oci.Repo) []meta.Link {
	f.Helper()
	list, err := f.Links(f.ctx, repo)
	f.ok(err)
	slices.SortFunc(list, func(a, b meta.Link) int {
		if a.Kind != b.Kind {
			return int(a.Kind - b.Kind)
		}
		return strings.Compare(a.Name, b.Name)
	})
	return list
}

// takeRepo records p and returns the immutable tags that it has changed.
func (f *fixture) takeRepo(p meta.RepoTake) []meta.TagMove {
	f.Helper()
	overridden, err := f.TakeRepo(f.ctx, p)
	f.ok(err)
	return overridden
}

func takeAll(f *fixture) {
	p, m := f.take("a")
	f.takeRepo(p)
	got, err := f.FindManifest(f.ctx, p.Repo, oci.Ref{Tag: f.tag("v1")})
	f.ok(err)
	f.equal("manifest", string(got.Body), string(m.Body))
	f.equal("pushed", got.Pushed, written().UTC().Truncate(time.Microsecond))
	b, err := f.FindBlob(f.ctx, p.Repo, digestOf("layer"))
	f.ok(err)
	f.equal("key", b.Key, adopted("layer"))
	repos, err := f.Repos(f.ctx, "", 10)
	f.ok(err)
	f.equal("repositories", repos, []oci.Repo{p.Repo})
	linked, err := f.LinkedRepos(f.ctx, "", 10)
	f.ok(err)
	f.equal("linked", linked, []oci.Repo{p.Repo})
	linked, err = f.LinkedRepos(f.ctx, "a", 10)
	f.ok(err)
	f.equal("linked behind a", len(linked), 0)
	want := []meta.Link{p.Blobs[0].Link, p.Blobs[1].Link, p.Manifests[0].Link, p.Tags[0].Link}
	slices.SortFunc(want[:2], func(a, b meta.Link) int { return strings.Compare(a.Name, b.Name) })
	f.equal("links", f.links(p.Repo), want)
	if err := f.UnlinkBlob(f.ctx, p.Repo, digestOf("layer"), event.Actor{}); err == nil {
		f.Error("a layer that the manifest needs could be deleted")
	}
}

func takeTwice(f *fixture) {
	p, m := f.take("a")
	f.takeRepo(p)
	before := f.links(p.Repo)
	f.takeRepo(p)
	f.equal("links", f.links(p.Repo), before)
	f.equal("manifest", f.hasManifest(p.Repo, digest(m).String()), true)
	p.Blobs, p.Manifests, p.Tags = nil, nil, nil
	later := link(meta.TagLink, "v1", digest(m))
	later.ModTime = written().Add(time.Second)
	p.Seen = []meta.Link{later}
	f.takeRepo(p)
	f.equal("the tag's link", f.links(p.Repo)[3], later)
}

func takeGone(f *fixture) {
	p, m := f.take("a")
	f.takeRepo(p)
	gone := meta.RepoTake{Repo: p.Repo, Gone: []meta.Link{p.Blobs[1].Link, p.Manifests[0].Link, p.Tags[0].Link}}
	f.takeRepo(gone)
	f.equal("manifest", f.hasManifest(p.Repo, digest(m).String()), false)
	f.equal("tag", f.hasManifest(p.Repo, "v1"), false)
	f.equal("layer", f.has(p.Repo, "layer"), false)
	f.equal("config", f.has(p.Repo, "config"), true)
	f.equal("links", f.links(p.Repo), []meta.Link{p.Blobs[0].Link})
	f.takeRepo(gone)
}

func takeGoneMoved(f *fixture) {
	p, _ := f.take("a")
	f.takeRepo(p)
	newer := f.manifest(shape{note: "newer"})
	f.put(p.Repo, newer, "v1")
	f.takeRepo(meta.RepoTake{Repo: p.Repo, Gone: []meta.Link{p.Tags[0].Link}})
	f.equal("tag", f.hasManifest(p.Repo, "v1"), true)
	f.equal("links", len(f.links(p.Repo)), 3)
}

func takeKnown(f *fixture) {
	b := f.push(f.repo("other"), "layer")
	p, _ := f.take("a")
	f.takeRepo(p)
	got, err := f.FindBlob(f.ctx, p.Repo, digestOf("layer"))
	f.ok(err)
	f.equal("key", got.Key, b.Key)
}

func takeDamaged(f *fixture) {
	p, _ := f.take("a")
	p.Blobs[1].Damaged, p.Blobs[1].Size = true, 2
	f.takeRepo(p)
	isDamaged := func(want bool) meta.Blob {
		f.Helper()
		b, err := f.FindBlob(f.ctx, p.Repo, digestOf("layer"))
		f.ok(err)
		f.equal("damaged", b.Damaged, want)
		return b
	}
	isDamaged(true)
	good := meta.RepoTake{Repo: f.repo("b"), Blobs: []meta.TakenBlob{takenBlob("layer")}}
	f.takeRepo(good)
	f.equal("size", isDamaged(false).Size, int64(5))
	f.takeRepo(p) // a manifest that says more than the other repository knew
	isDamaged(true)
	b := f.push(p.Repo, "layer")
	f.equal("key", isDamaged(false).Key, b.Key)
	f.takeRepo(p)
	f.equal("key of the pushed one", isDamaged(false).Key, b.Key)
}

func takeGarbage(f *fixture) {
	a := f.repo("a")
	b := f.push(a, "layer")
	f.ok(f.UnlinkBlob(f.ctx, a, b.Digest, event.Actor{}))
	f.pass(delay)
	f.equal("garbage", f.condemned(), []blob.Key{b.Key})
	again := takenBlob("layer")
	again.Key, again.Held = b.Key, false
	f.takeRepo(meta.RepoTake{Repo: a, Blobs: []meta.TakenBlob{again}})
	f.equal("garbage", f.condemned(), []blob.Key(nil))
	f.equal("there", f.has(a, "layer"), true)
}

func takeHeld(f *fixture) {
	p, m := f.take("a")
	p.Blobs = append(p.Blobs, takenBlob("loose"))
	f.takeRepo(p)
	f.push(p.Repo, "ours")
	f.ok(f.DeleteManifest(f.ctx, p.Repo, digest(m), event.Actor{}))
	f.pass(grace)
	list, _, err := f.Unneeded(f.ctx, f.env.Grace, "", 10)
	f.ok(err)
	f.equal("unneeded", len(list), 1)
	f.equal("collected", f.collect(), 1)
	f.equal("there", f.has(p.Repo, "ours"), false)
	f.equal("there", f.has(p.Repo, "loose"), true)
	f.equal("there", f.has(p.Repo, "layer"), true)

	keys, err := f.AdoptedKeys(f.ctx, "adopted/", "", 2)
	f.ok(err)
	f.equal("keys", len(keys), 2)
	more, err := f.AdoptedKeys(f.ctx, "adopted/", keys[1], 2)
	f.ok(err)
	f.equal("more keys", len(more), 1)
	own := blob.NewKey()
	f.ok(f.Rekey(f.ctx, adopted("loose"), own))
	b, err := f.FindBlob(f.ctx, p.Repo, digestOf("loose"))
	f.ok(err)
	f.equal("key", b.Key, own)

	f.ok(f.FinishRepo(f.ctx, p.Repo))
	f.equal("links", len(f.links(p.Repo)), 0)
	f.equal("collected", f.collect(), 0)
	f.pass(grace)
	f.equal("collected", f.collect(), 3)
}

func takeWrongSize(f *fixture) {
	p, _ := f.take("a")
	p.Blobs[1].Size = 2
	f.takeRepo(p)
	u := f.upload(p.Repo)
	_, err := f.CommitUpload(f.ctx, u, meta.Blob{Digest: digestOf("layer"), Size: 5}, event.Actor{})
	f.is(err, meta.ErrConflict)
	b, err := f.CommitUpload(f.ctx, u, meta.Blob{Digest: digestOf("layer"), Key: u.Key, Size: 5}, event.Actor{})
	f.ok(err)
	f.equal("key", b.Key, u.Key)
}

func takeState(f *fixture) {
	for _, want := range []meta.TreeState{meta.TreeNone, meta.TreeAdopting, meta.TreeAdopted} {
		if want != meta.TreeNone {
			f.ok(f.SetTree(f.ctx, want))
		}
		got, err := f.Tree(f.ctx)
		f.ok(err)
		f.equal("state", got, want)
	}
	f.reopen()
	got, err := f.Tree(f.ctx)
	f.ok(err)
	f.equal("state", got, meta.TreeAdopted)
}
