package metatest

import (
	"slices"
	"time"

	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
)

func usageTests() []test {
	return []test{
		{name: "what a repository takes, alone and with others", run: usageOfRepos},
		{name: "on what a blob is kept", run: usageOfBlobs},
		{name: "what is in the trash is no repository's", run: usageOfTrash},
		{name: "uploads, and keys that wait for their deletion", run: usageOfTheRest},
	}
}

// usage returns what repo takes.
func (f *fixture) usage(repo oci.Repo) meta.RepoUsage {
	f.Helper()
	u, err := f.RepoUsage(f.ctx, repo)
	f.ok(err)
	return u
}

func usageOfRepos(f *fixture) {
	a, b := f.repo("a"), f.repo("b")
	_, err := f.RepoUsage(f.ctx, a)
	f.is(err, meta.ErrNotFound)
	for _, s := range []string{"x", "yy", "zzz", "unused"} {
		f.push(a, s)
	}
	m := f.manifest(shape{parts: []string{"x", "yy", "zzz"}})
	f.put(a, m, "v1", "v2")
	f.put(a, f.manifest(shape{parts: []string{"x"}, note: "other"}))
	f.ok(f.LinkBlob(f.ctx, a, b, digestOf("zzz"), event.Actor{}))
	got := f.usage(a)
	if got.ManifestBytes <= int64(len(m.Body)) {
		f.Errorf("two manifests of %d bytes each and more take %d", len(m.Body), got.ManifestBytes)
	}
	got.ManifestBytes = 0
	f.equal("a", got, meta.RepoUsage{Repo: a, Tags: 2, Manifests: 2, Blobs: 4, BlobBytes: 12, UniqueBytes: 9, Waiting: 1, WaitingBytes: 6})
	f.equal("b", f.usage(b), meta.RepoUsage{Repo: b, Blobs: 1, BlobBytes: 3, Waiting: 1})

	f.ok(f.DeleteManifest(f.ctx, a, digest(m), event.Actor{}))
	got = f.usage(a)
	f.equal("blobs of a that wait when a manifest has gone", []int64{got.Tags, got.Manifests, got.Waiting}, []int64{0, 1, 3})
	c := f.repo("c")
	f.push(c, "gone")
	f.ok(f.UnlinkBlob(f.ctx, c, digestOf("gone"), event.Actor{}))
	f.equal("a repository that has nothing any more", f.usage(c), meta.RepoUsage{Repo: c})
	all, err := f.Occupied(f.ctx, "", 10)
	f.ok(err)
	f.equal("those that have anything", all, []oci.Repo{a, b})
	all, err = f.Occupied(f.ctx, "a", 1)
	f.ok(err)
	f.equal("behind a", all, []oci.Repo{b})
}

func usageOfBlobs(f *fixture) {
	a, b := f.repo("a"), f.repo("b")
	f.push(a, "needed")
	f.push(a, "waiting")
	f.put(a, f.manifest(shape{parts: []string{"needed"}}))
	f.ok(f.LinkBlob(f.ctx, a, b, digestOf("needed"), event.Actor{}))
	want := []meta.BlobUsage{{Digest: digestOf("needed"), Size: 6, Repos: 2, Claim: meta.Needed}, {Digest: digestOf("waiting"), Size: 7, Repos: 1, Claim: meta.Waiting}}
	slices.SortFunc(want, func(x, y meta.BlobUsage) int { return byDigest(x.Digest, y.Digest) })
	got, err := f.BlobUsages(f.ctx, "", 10)
	f.ok(err)
	f.equal("all", got, want)
	got, err = f.BlobUsages(f.ctx, want[0].Digest.String(), 10)
	f.ok(err)
	f.equal("the second page", got, want[1:])
}

func usageOfTheRest(f *fixture) {
	a := f.repo("a")
	u := f.upload(a)
	f.pass(time.Minute)
	u.Size = 5
	f.ok(f.SaveUpload(f.ctx, u))
	f.pass(time.Second)
	uploads, err := f.UploadUsages(f.ctx, "", 10)
	f.ok(err)
	f.equal("uploads", uploads, []meta.UploadUsage{{ID: u.ID, Repo: a, Size: 5, Idle: time.Second}})
	uploads, err = f.UploadUsages(f.ctx, u.ID, 10)
	f.ok(err)
	f.equal("uploads behind the last", uploads, []meta.UploadUsage(nil))

	first := f.push(a, "x")
	f.ok(f.UnlinkBlob(f.ctx, a, digestOf("x"), event.Actor{}))
	f.pass(delay / 4)
	keys, err := f.GarbageKeys(f.ctx, "", 10)
	f.ok(err)
	f.equal("garbage", keys, []meta.GarbageKey{{Key: first.Key, In: delay * 3 / 4}})
	keys, err = f.GarbageKeys(f.ctx, first.Key, 10)
	f.ok(err)
	f.equal("garbage behind the last", keys, []meta.GarbageKey(nil))
}

func usageOfTrash(f *fixture) {
	a, b := f.repo("a"), f.repo("b")
	for range 2 { // what two entries have counts once
		f.push(a, "xx")
		f.push(a, "shared")
		f.put(a, f.manifest(shape{parts: []string{"xx", "shared"}}), "v1")
		if !f.has(b, "shared") {
			f.ok(f.LinkBlob(f.ctx, a, b, digestOf("shared"), event.Actor{}))
		}
		_, err := f.DeleteRepo(f.ctx, a, event.Actor{})
		f.ok(err)
	}
	f.equal("a", f.usage(a), meta.RepoUsage{Repo: a, TrashBytes: 2})
	f.equal("b", f.usage(b), meta.RepoUsage{Repo: b, Blobs: 1, BlobBytes: 6, UniqueBytes: 6, Waiting: 1, WaitingBytes: 6})
	all, err := f.Occupied(f.ctx, "", 10)
	f.ok(err)
	f.equal("those that have anything", all, []oci.Repo{b})
	want := []meta.BlobUsage{{Digest: digestOf("shared"), Size: 6, Repos: 1, Claim: meta.Waiting}, {Digest: digestOf("xx"), Size: 2, Claim: meta.Trashed}}
	slices.SortFunc(want, func(x, y meta.BlobUsage) int { return byDigest(x.Digest, y.Digest) })
	got, err := f.BlobUsages(f.ctx, "", 10)
	f.ok(err)
	f.equal("blobs", got, want)
}
