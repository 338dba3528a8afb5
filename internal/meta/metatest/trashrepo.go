package metatest

import (
	"fmt"

	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
)

func trashRepoTests() []test {
	return []test{
		{name: "a repository comes back whole", run: repoWhole, trash: true},
		{name: "a push under way is refused, never incomplete", run: repoPush, trash: true},
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
		referrers, err := f.Referrers(f.ctx, repo, m.Digest, "", "", 100)
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
