package metatest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
)

func trashRepoTests() []test {
	return []test{
		{name: "a repository comes back whole", run: repoWhole, trash: true},
		{name: "a push under way is refused, never incomplete", run: repoPush, trash: true},
		{name: "it comes back into what was pushed meanwhile", run: repoMerge, trash: true},
		{name: "it comes back under another name", run: repoAs, trash: true},
		{name: "one image of it comes back, with its signatures", run: repoOnly, trash: true},
		{name: "it can be deleted and restored again and again", run: repoAgain, trash: true},
		{name: "what expires leaves tombstones, and nothing else", run: repoExpires, trash: true},
		{name: "events tell of all of it, in order", run: repoEvents, trash: true},
		{name: "registry:2's links follow", run: repoShadow, trash: true},
		{name: "pushes, deletions and restores at once", run: repoRace, trash: true},
		{name: "what came back elsewhere is not forgotten", run: repoElsewhere, trash: true},
	}
}

func (f *fixture) deleteRepo(repo oci.Repo) int64 {
	f.Helper()
	id, err := f.DeleteRepo(f.ctx, repo, event.Actor{Name: "bob"})
	f.ok(err)
	return id
}

// contents says all that clients can see of a repository.
func (f *fixture) contents(repo oci.Repo) string {
	f.Helper()
	manifests, err := f.RepoManifests(f.ctx, repo, "", 1000)
	f.ok(err)
	var list []string
	for _, m := range manifests {
		referrers, err := f.Referrers(f.ctx, meta.ReferrerQuery{Repo: repo, Subject: m.Digest, Limit: 100})
		f.ok(err)
		list = append(list, fmt.Sprint(m.Digest, " ", m.MediaType, " ", string(m.Body), " ", len(referrers)))
	}
	blobs, err := f.RepoBlobs(f.ctx, repo, "", 1000)
	f.ok(err)
	for _, b := range blobs {
		list = append(list, fmt.Sprint(b.Digest, " ", b.Size))
	}
	return fmt.Sprint(f.pointsTo(repo), list)
}

// product pushes images, an index of two, and signatures.
func (f *fixture) product(repo oci.Repo) (index oci.Manifest) {
	f.Helper()
	one, two := f.image(repo, "one"), f.image(repo, "two")
	index = f.manifest(shape{children: []oci.Manifest{one, two}})
	f.put(repo, index, "multi", "latest")
	f.image(repo, "single", "v1")
	f.push(repo, "sig")
	signature := f.manifest(shape{parts: []string{"sig"}, subject: &index, kind: "application/signature"})
	f.put(repo, signature)
	f.put(repo, f.manifest(shape{subject: &signature, note: "of the signature"}))
	return index
}

func repoWhole(f *fixture) {
	a, b := f.repo("a"), f.repo("a/b")
	f.product(a)
	f.image(b, "other", "v1")
	before := f.contents(a)
	id := f.deleteRepo(a)
	repos, err := f.Repos(f.ctx, "", 10)
	f.ok(err)
	f.equal("repositories", repos, []oci.Repo{b})
	has, err := f.HasRepo(f.ctx, a)
	f.ok(err)
	f.equal("has", has, false)
	f.equal("contents", f.contents(a), "[][]")
	_, err = f.DeleteRepo(f.ctx, a, event.Actor{})
	f.is(err, meta.ErrNotFound)
	_, err = f.DeleteRepo(f.ctx, f.repo("none"), event.Actor{})
	f.is(err, meta.ErrNotFound)
	holders, err := f.Holders(f.ctx, digestOf("one"), 10)
	f.ok(err)
	f.equal("holders", len(holders), 0)
	f.pass(2 * grace)
	f.equal("collected", f.collect(), 0)

	e, err := f.FindTrash(f.ctx, meta.TrashWhat{Repo: a})
	f.ok(err)
	f.equal("entry", []any{e.ID, e.Kind, e.TagCount, len(e.Tags), e.Manifests, e.By.Name}, []any{id, meta.TrashRepo, 3, 0, 6, "bob"})
	r := f.restore(meta.Restore{ID: id})
	f.equal("restored", []any{r.Repo, r.Manifests, r.TagCount}, []any{a, 6, 3})
	f.equal("contents", f.contents(a), before)
	f.equal("entries", len(f.entries(a)), 0)
	f.expire(1)
	f.equal("contents", f.contents(a), before)
	repos, err = f.Repos(f.ctx, "", 10)
	f.ok(err)
	f.equal("repositories", repos, []oci.Repo{a, b})
}

// repoPush lets uploads, mounts and manifests go on while the repository goes.
func repoPush(f *fixture) {
	a, b := f.repo("a"), f.repo("b")
	f.push(a, "checked")
	u := f.upload(a)
	old := f.image(a, "old", "v1")
	f.deleteRepo(a)
	f.is(f.LinkBlob(f.ctx, a, b, digestOf("checked"), event.Actor{}), meta.ErrNotFound)
	_, err := f.FindUpload(f.ctx, a, u.ID)
	f.ok(err)
	_, err = f.CommitUpload(f.ctx, u, meta.Blob{Digest: digestOf("new"), Key: u.Key, Size: 3}, event.Actor{})
	f.ok(err)
	m := f.manifest(shape{parts: []string{"new", "checked"}})
	_, err = f.tryPut(a, m, "v2")
	f.equal("missing", asMissing(err), []oci.Digest{digestOf("checked")})
	_, err = f.tryPut(a, f.manifest(shape{children: []oci.Manifest{old}}), "v2")
	f.equal("missing", asMissing(err), []oci.Digest{digest(old)})
	f.push(a, "checked")
	f.put(a, m, "v2")
	f.equal("v2", f.hasManifest(a, "v2"), true)
}

// repoElsewhere brings a repository back into another one that has something. Its
// name still had all that, but for what it never had.
func repoElsewhere(f *fixture) {
	a, b := f.repo("a"), f.repo("b")
	old := f.image(a, "old", "v1")
	f.put(a, f.manifest(shape{parts: []string{"old", "never"}}))
	f.push(a, "loose")
	f.image(b, "there", "v1")
	id := f.deleteRepo(a)
	for more := true; more; {
		more = f.restore(meta.Restore{ID: id, As: b}).More
	}
	f.equal("old", f.hasManifest(b, digest(old).String()), true)
	for _, part := range []string{"old", "loose"} {
		_, err := f.tryPut(a, f.manifest(shape{parts: []string{part}}), "v2")
		f.equal("missing", asMissing(err), []oci.Digest{digestOf(part)})
	}
	_, err := f.tryPut(a, f.manifest(shape{children: []oci.Manifest{old}}), "v2")
	f.equal("missing", asMissing(err), []oci.Digest{digest(old)})
	res := f.put(a, f.manifest(shape{parts: []string{"never"}}), "v2")
	f.equal("dangling", res.Dangling, []oci.Digest{digestOf("never")})
}

func repoMerge(f *fixture) {
	a := f.repo("a")
	index := f.product(a)
	for i := range 250 { // more than one step
		f.put(a, f.manifest(shape{note: fmt.Sprint(i)}), fmt.Sprintf("n%d", i))
	}
	f.push(a, "loose")
	id := f.deleteRepo(a)
	next := f.image(a, "next", "latest", "n7")
	r := f.restore(meta.Restore{ID: id})
	f.equal("restored", []any{r.Manifests, r.TagCount, len(r.Kept)}, []any{256, 251, 2})
	f.equal("latest stays", r.Kept[0].Digest, digest(next))
	for _, ref := range []string{"multi", "v1", "n0", "n249", digest(index).String()} {
		f.equal(ref, f.hasManifest(a, ref), true)
	}
	f.equal("blobs", []bool{f.has(a, "loose"), f.has(a, "one"), f.has(a, "sig"), f.has(a, "next")}, []bool{true, true, true, true})
	referrers, err := f.Referrers(f.ctx, meta.ReferrerQuery{Repo: a, Subject: digest(index), Limit: 10})
	f.ok(err)
	f.equal("referrers", len(referrers), 1)
	f.equal("entries", len(f.entries(a)), 0)
	f.expire(10)
	f.pass(grace)
	f.equal("collected", f.collect(), 1) // the loose one
}

func repoAs(f *fixture) {
	a, b := f.repo("a"), f.repo("b")
	index := f.product(a)
	before := f.contents(a)
	id := f.deleteRepo(a)
	r := f.restore(meta.Restore{ID: id, As: b})
	f.equal("restored", []any{r.Repo, r.Manifests}, []any{b, 6})
	f.equal("contents", f.contents(b), before)
	f.equal("contents", f.contents(a), "[][]")
	_, err := f.tryPut(a, f.manifest(shape{children: []oci.Manifest{index}}))
	f.equal("what a had is still missed there", asMissing(err), []oci.Digest{digest(index)})
	f.delete(b, index)
	_, err = f.Restore(f.ctx, meta.Restore{ID: f.entry(b).ID, As: a})
	f.equal("the children of an index stayed where they were", len(asMissing(err)), 2)
	f.equal("multi", f.hasManifest(a, "multi"), false)
	f.restore(meta.Restore{ID: f.entry(b).ID})
	f.equal("contents", f.contents(b), before)
}

func repoOnly(f *fixture) {
	a := f.repo("a")
	index := f.product(a)
	id := f.deleteRepo(a)
	ref := oci.Ref{Tag: f.tag("multi")}
	e, err := f.FindTrash(f.ctx, meta.TrashWhat{Repo: a, Ref: ref})
	f.ok(err)
	f.equal("found", e.ID, id)
	r := f.restore(meta.Restore{ID: id, Only: ref})
	f.equal("restored", []any{r.Manifests, r.TagCount}, []any{5, 2})
	f.equal("there", []bool{f.hasManifest(a, "latest"), f.hasManifest(a, digest(index).String()), f.has(a, "two"), f.has(a, "sig"), f.hasManifest(a, "v1")},
		[]bool{true, true, true, true, false})
	_, err = f.Restore(f.ctx, meta.Restore{ID: id, Only: ref})
	f.is(err, meta.ErrNotFound)
	f.equal("the rest", f.entry(a).Manifests, 1)
	f.restore(meta.Restore{ID: id})
	f.equal("v1", []bool{f.hasManifest(a, "v1"), f.has(a, "single")}, []bool{true, true})
}

func repoAgain(f *fixture) {
	a := f.repo("a")
	f.product(a)
	before := f.contents(a)
	for range 3 {
		id := f.deleteRepo(a)
		f.restore(meta.Restore{ID: id})
		f.equal("contents", f.contents(a), before)
	}
	first := f.deleteRepo(a)
	f.image(a, "two", "v2")
	second := f.deleteRepo(a)
	f.restore(meta.Restore{ID: first})
	f.restore(meta.Restore{ID: second})
	f.equal("both", []bool{f.hasManifest(a, "multi"), f.hasManifest(a, "v2")}, []bool{true, true})
	f.expire(3)
	f.equal("both", []bool{f.hasManifest(a, "multi"), f.hasManifest(a, "v2"), f.has(a, "two")}, []bool{true, true, true})
}

func repoExpires(f *fixture) {
	a := f.repo("a")
	index := f.product(a)
	f.ok(f.DeleteTag(f.ctx, a, f.tag("v1"), event.Actor{}))
	f.deleteRepo(a)
	f.push(a, "new")
	f.pass(keep)
	for {
		_, err := f.tryPut(a, f.manifest(shape{parts: []string{"new"}, children: nil, note: "x"}))
		f.ok(err)
		_, err = f.tryPut(a, f.manifest(shape{children: []oci.Manifest{index}}))
		f.equal("missing, however far it is taken apart", asMissing(err), []oci.Digest{digest(index)})
		_, err = f.tryPut(a, f.manifest(shape{parts: []string{"one"}}))
		f.equal("missing, however far it is taken apart", asMissing(err), []oci.Digest{digestOf("one")})
		n, err := f.ExpireTrash(f.ctx, 2)
		f.ok(err)
		if n == 0 {
			break
		}
	}
	f.equal("entries", len(f.entries(oci.Repo{})), 0)
	f.pass(delay)
	f.equal("garbage", len(f.condemned()), 4)
}

func repoEvents(f *fixture) {
	a := f.repo("a")
	index := f.product(a)
	for i := range 150 {
		f.put(a, f.manifest(shape{note: fmt.Sprint(i)}))
	}
	seq, err := f.Subscribe(f.ctx, "reader", meta.NeedNews)
	f.ok(err)
	news := func() map[string]int {
		found := map[string]int{}
		for {
			list, err := f.Events(f.ctx, seq, 1000)
			f.ok(err)
			for _, e := range list {
				seq = e.Seq
				found[fmt.Sprintf("%s %s %s", e.Action, e.Kind, e.By.Name)]++
				if e.Digest == digest(index) && e.Kind == event.Tag {
					found[e.Tag.String()]++
				}
			}
			if len(list) == 0 {
				return found
			}
		}
	}
	id := f.deleteRepo(a)
	f.equal("the first ones come with it", news()["delete manifest bob"], 100)
	for n := 1; n > 0; {
		n, err = f.RecordRepo(f.ctx, 7)
		f.ok(err)
	}
	f.equal("the others follow", news()["delete manifest bob"], 56)
	f.restore(meta.Restore{ID: id, By: event.Actor{Name: "carol"}})
	id = f.deleteRepo(a)
	news()
	r, err := f.Restore(f.ctx, meta.Restore{ID: id, By: event.Actor{Name: "carol"}})
	f.ok(err)
	f.equal("first the rest of the deletion", []any{r.More, f.hasManifest(a, "multi")}, []any{true, false})
	got := news()
	f.equal("no push before", []int{got["delete manifest bob"], got["push manifest carol"]}, []int{56, 0})
	f.restore(meta.Restore{ID: id, By: event.Actor{Name: "carol"}})
	f.expire(50)
	f.equal("of all that came back, one for each tag", news()["push manifest carol"], 157)
}

func repoShadow(f *fixture) {
	f.StartShadow()
	a := f.repo("a")
	m := f.image(a, "x", "v1")
	layer, revision := "1"+short(digestOf("x")), "2"+short(digest(m))
	f.write()
	id := f.deleteRepo(a)
	f.equal("links go", f.unwritten(), []string{layer + "false", revision + "false", "3v1false"})
	list, err := f.Unwritten(f.ctx, 100)
	f.ok(err)
	f.restore(meta.Restore{ID: id})
	f.ok(f.Intend(f.ctx, list))
	f.ok(f.Written(f.ctx, writtenAll(list))) // the shadow was slow: what it wrote is noted anew
	f.equal("links come back", f.unwritten(), []string{layer + "true", revision + "true", "3v1true"})
	f.write()
	f.delete(a, m)
	f.write()
	f.restore(meta.Restore{ID: f.entry(a).ID})
	got := f.unwritten()
	f.equal("a manifest's, too", []bool{slices.Contains(got, revision+"true"), slices.Contains(got, "3v1true")}, []bool{true, true})
	f.write()

	f.image(a, "y", "v2")
	list, err = f.Unwritten(f.ctx, 100)
	f.ok(err)
	f.deleteRepo(a)
	f.ok(f.Intend(f.ctx, list))
	f.ok(f.Written(f.ctx, writtenAll(list))) // links of what has just gone
	f.equal("they go, too", slices.Contains(f.unwritten(), "3v2false"), true)
	f.write()
	links, err := f.LinkedRepos(f.ctx, "", 10)
	f.ok(err)
	f.equal("nobody else has links", links, []oci.Repo(nil))
}

// repoRace lets a repository be deleted and restored while images are pushed to
// it. Whatever has a tag in the end is whole.
func repoRace(f *fixture) {
	a := f.repo("a")
	crowd(8, func(i int, chance *rand.Rand) {
		for range 8 {
			switch chance.IntN(4) {
			case 0:
				if _, err := f.DeleteRepo(f.ctx, a, event.Actor{}); err != nil && !errors.Is(err, meta.ErrNotFound) {
					f.Errorf("delete: %v", err)
				}
			case 1:
				e, err := f.FindTrash(f.ctx, meta.TrashWhat{Repo: a})
				if err == nil {
					_, err = f.Restore(f.ctx, meta.Restore{ID: e.ID})
				}
				if err != nil && !errors.Is(err, meta.ErrNotFound) {
					f.Errorf("restore: %v", err)
				}
			case 2:
				if _, err := f.ExpireTrash(f.ctx, 3); err != nil {
					f.Errorf("expire: %v", err)
				}
			default:
				s := fmt.Sprint(chance.IntN(3))
				f.push(a, s)
				if _, err := f.tryPut(a, f.manifest(shape{parts: []string{s}}), "t"+s); err != nil && len(asMissing(err)) == 0 {
					f.Errorf("put: %v", err)
				}
			}
		}
	})
	f.pass(grace)
	f.collect()
	for i := range 3 {
		s := fmt.Sprint(i)
		if f.hasManifest(a, "t"+s) {
			f.equal("the blob of t"+s, f.has(a, s), true)
		}
	}
}
