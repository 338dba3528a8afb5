package metatest

import (
	"fmt"

	"berth/internal/blob"
	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
)

func trashTests() []test {
	return []test{
		{name: "a manifest comes back with its tags and its parts", run: trashManifest, trash: true},
		{name: "a tag comes back, with its manifest if that went too", run: trashTag, trash: true},
		{name: "a tag that moved on stays, unless forced", run: trashMoved, trash: true},
		{name: "a blob comes back", run: trashBlob, trash: true},
		{name: "an index comes back with its children, or is refused", run: trashIndex, trash: true},
		{name: "what was pushed again is not in the way", run: trashAgain, trash: true},
		{name: "pruned manifests are one entry", run: trashPruned, trash: true},
		{name: "a discard takes what may go", run: trashDiscard, trash: true},
		{name: "entries are listed, the newest first", run: trashListed, trash: true},
		{name: "an entry ends with its time, and frees what it had", run: trashExpires, trash: true},
		{name: "a dropped entry frees what it had", run: trashDropped, trash: true},
		{name: "without a trash what is deleted is gone", run: trashNone},
		{name: "a shorter time counts for what is in it", run: trashShorter, trash: true},
		{name: "events tell what came back", run: trashEvents, trash: true},
	}
}

// entries returns the entries of repo, the newest first.
func (f *fixture) entries(repo oci.Repo) []meta.TrashEntry {
	f.Helper()
	list, err := f.TrashEntries(f.ctx, repo, 0, 100)
	f.ok(err)
	return list
}

// entry returns the newest entry of repo.
func (f *fixture) entry(repo oci.Repo) meta.TrashEntry {
	f.Helper()
	list := f.entries(repo)
	if len(list) == 0 {
		f.Fatalf("%s has nothing in the trash", repo)
	}
	return list[0]
}

// restore restores an entry, in as many steps as it takes.
func (f *fixture) restore(p meta.Restore) meta.Restored {
	f.Helper()
	var all meta.Restored
	for {
		r, err := f.Restore(f.ctx, p)
		f.ok(err)
		all.Repo = r.Repo
		all.Tags = append(all.Tags, r.Tags...)
		all.Kept = append(all.Kept, r.Kept...)
		all.Manifests += r.Manifests
		all.TagCount += r.TagCount
		if !r.More {
			return all
		}
	}
}

// expire takes apart what is over, limit records at a time.
func (f *fixture) expire(limit int) {
	f.Helper()
	for {
		n, err := f.ExpireTrash(f.ctx, limit)
		f.ok(err)
		if n == 0 {
			return
		}
	}
}

// image pushes an image of one layer, named by its content, under tags.
func (f *fixture) image(repo oci.Repo, layer string, tags ...string) oci.Manifest {
	f.Helper()
	f.push(repo, layer)
	m := f.manifest(shape{parts: []string{layer}})
	f.put(repo, m, tags...)
	return m
}

// delete deletes a manifest.
func (f *fixture) delete(repo oci.Repo, m oci.Manifest) {
	f.Helper()
	f.ok(f.DeleteManifest(f.ctx, repo, digest(m), event.Actor{Name: "bob", Addr: "192.0.2.1", Via: "token"}))
}

// pointsTo returns what the tags of repo point to, as text.
func (f *fixture) pointsTo(repo oci.Repo) string {
	f.Helper()
	list, err := f.Tags(f.ctx, repo, "", 1000)
	f.ok(err)
	return fmt.Sprint(list)
}

func trashManifest(f *fixture) {
	a := f.repo("a")
	m := f.image(a, "x", "v1", "v2")
	before := f.pointsTo(a)
	f.delete(a, m)
	f.equal("hidden", []bool{f.hasManifest(a, digest(m).String()), f.hasManifest(a, "v1")}, []bool{false, false})
	repos, err := f.Repos(f.ctx, "", 10)
	f.ok(err)
	f.equal("repositories", len(repos), 0)
	f.is(f.DeleteManifest(f.ctx, a, digest(m), event.Actor{}), meta.ErrNotFound)
	f.pass(grace)
	f.equal("collected", f.collect(), 1)
	f.equal("the blob is no member any more", f.has(a, "x"), false)
	f.pass(delay)
	f.equal("garbage", f.condemned(), []blob.Key(nil))
	if _, err := f.tryPut(a, m); len(asMissing(err)) != 1 {
		f.Errorf("pushing it again without its blob: got %v", err)
	}

	e := f.entry(a)
	f.equal("entry", []any{e.Kind, e.Reason, e.Digest, e.Tags, e.TagCount, e.Manifests, e.Bytes, e.Alone, e.By.Name, e.By.Addr, e.By.Via, e.Left},
		[]any{meta.TrashManifest, meta.ReasonDeleted, digest(m), []meta.Tag{{Name: f.tag("v1"), Digest: digest(m)}, {Name: f.tag("v2"), Digest: digest(m)}}, 2, 1,
			int64(len(m.Body)) + 1, int64(len(m.Body)) + 1, "bob", "192.0.2.1", "token", keep - grace - delay})
	r := f.restore(meta.Restore{ID: e.ID})
	f.equal("restored", []any{r.Repo, len(r.Tags), r.TagCount, r.Manifests, len(r.Kept)}, []any{a, 2, 2, 1, 0})
	f.equal("tags", f.pointsTo(a), before)
	f.equal("its blob", f.has(a, "x"), true)
	f.equal("the trash", len(f.entries(a)), 0)
	_, err = f.Restore(f.ctx, meta.Restore{ID: e.ID})
	f.is(err, meta.ErrNotFound)
	f.expire(1)
	f.pass(grace)
	f.equal("collected", f.collect(), 0)
}

func trashTag(f *fixture) {
	a := f.repo("a")
	m := f.image(a, "x", "v1")
	before := f.pointsTo(a)
	f.ok(f.DeleteTag(f.ctx, a, f.tag("v1"), event.Actor{}))
	f.equal("the manifest", f.hasManifest(a, digest(m).String()), true)
	e := f.entry(a)
	f.equal("entry", []any{e.Kind, e.Digest, e.TagCount, e.Manifests, e.Bytes}, []any{meta.TrashTag, digest(m), 1, 0, 0})
	f.restore(meta.Restore{ID: e.ID})
	f.equal("tags", f.pointsTo(a), before)

	f.ok(f.DeleteTag(f.ctx, a, f.tag("v1"), event.Actor{}))
	f.delete(a, m)
	f.equal("entries", len(f.entries(a)), 2)
	found, err := f.FindTrash(f.ctx, meta.TrashWhat{Repo: a, Ref: oci.Ref{Tag: f.tag("v1")}})
	f.ok(err)
	f.equal("the tag's", found.Kind, meta.TrashTag)
	f.restore(meta.Restore{ID: found.ID})
	f.equal("tags", f.pointsTo(a), before)
	f.equal("what was taken from is gone, too", len(f.entries(a)), 0)
}

func trashMoved(f *fixture) {
	a := f.repo("a")
	old := f.image(a, "old", "latest", "v1")
	f.delete(a, old)
	next := f.image(a, "next", "latest")
	r := f.restore(meta.Restore{ID: f.entry(a).ID})
	f.equal("kept", r.Kept, []meta.Tag{{Name: f.tag("latest"), Digest: digest(next)}})
	f.equal("restored", r.Tags, []meta.Tag{{Name: f.tag("v1"), Digest: digest(old)}})
	f.delete(a, old)
	f.delete(a, next)
	e := f.entries(a)
	f.restore(meta.Restore{ID: e[0].ID})
	f.ok(f.DeleteTag(f.ctx, a, f.tag("latest"), event.Actor{}))
	f.put(a, next, "v1")
	r = f.restore(meta.Restore{ID: e[1].ID, Force: true})
	f.equal("kept", len(r.Kept), 0)
	f.equal("tags", f.pointsTo(a), fmt.Sprint([]meta.Tag{{Name: f.tag("v1"), Digest: digest(old)}}))
}

func trashBlob(f *fixture) {
	a, b := f.repo("a"), f.repo("b")
	f.push(a, "x")
	f.ok(f.UnlinkBlob(f.ctx, a, digestOf("x"), event.Actor{}))
	f.equal("there", f.has(a, "x"), false)
	holders, err := f.Holders(f.ctx, digestOf("x"), 10)
	f.ok(err)
	f.equal("holders", len(holders), 0)
	f.is(f.LinkBlob(f.ctx, a, b, digestOf("x"), event.Actor{}), meta.ErrNotFound)
	f.pass(2 * grace)
	f.equal("collected", f.collect(), 0)
	e, err := f.FindTrash(f.ctx, meta.TrashWhat{Repo: a, Ref: oci.Ref{Digest: digestOf("x")}})
	f.ok(err)
	f.equal("entry", []any{e.Kind, e.Bytes, e.Alone}, []any{meta.TrashBlob, 1, 1})
	f.restore(meta.Restore{ID: e.ID})
	f.equal("there", f.has(a, "x"), true)
	f.put(a, f.manifest(shape{parts: []string{"x"}}))
}

func trashIndex(f *fixture) {
	a := f.repo("a")
	one, two := f.image(a, "one"), f.image(a, "two")
	index := f.manifest(shape{children: []oci.Manifest{one, two}})
	f.put(a, index, "multi")
	f.delete(a, index)
	id := f.entry(a).ID
	f.delete(a, one)
	f.delete(a, two)
	f.pass(grace)
	f.collect()
	f.restore(meta.Restore{ID: id})
	for _, ref := range []string{"multi", digest(one).String(), digest(two).String()} {
		f.equal(ref, f.hasManifest(a, ref), true)
	}
	f.equal("its blobs", []bool{f.has(a, "one"), f.has(a, "two")}, []bool{true, true})
	f.equal("entries", len(f.entries(a)), 0)

	f.delete(a, index)
	id = f.entry(a).ID
	f.delete(a, one)
	f.ok(f.DropTrash(f.ctx, f.entry(a).ID))
	_, err := f.Restore(f.ctx, meta.Restore{ID: id})
	f.equal("missing", asMissing(err), []oci.Digest{digest(one)})
	f.equal("nothing has changed", []bool{f.hasManifest(a, "multi"), f.hasManifest(a, digest(one).String())}, []bool{false, false})
	f.expire(1)
	_, err = f.Restore(f.ctx, meta.Restore{ID: id})
	f.equal("missing", asMissing(err), []oci.Digest{digest(one)})
	f.push(a, "one")
	f.put(a, one)
	f.restore(meta.Restore{ID: id})
	f.equal("multi", f.hasManifest(a, "multi"), true)

	sparse := f.manifest(shape{children: []oci.Manifest{f.manifest(shape{note: "never"})}})
	f.put(a, sparse)
	f.delete(a, sparse)
	f.restore(meta.Restore{ID: f.entry(a).ID})
	f.equal("what never was is not missed", f.hasManifest(a, digest(sparse).String()), true)
}

func trashAgain(f *fixture) {
	a := f.repo("a")
	m := f.image(a, "x", "v1")
	f.delete(a, m)
	first := f.entry(a).ID
	f.image(a, "x")
	f.equal("entries", len(f.entries(a)), 1)
	r := f.restore(meta.Restore{ID: first})
	f.equal("restored", []any{r.Manifests, len(r.Tags)}, []any{0, 1})
	f.equal("v1", f.hasManifest(a, "v1"), true)
	f.delete(a, m)
	f.image(a, "x")
	f.delete(a, m)
	f.equal("entries", len(f.entries(a)), 2)
	f.restore(meta.Restore{ID: f.entries(a)[1].ID})
	f.restore(meta.Restore{ID: f.entries(a)[0].ID})
	f.expire(10)
	f.equal("the blob", f.has(a, "x"), true)
}
