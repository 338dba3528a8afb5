package metatest

import (
	"time"

	"berth/internal/blob"
	"berth/internal/event"
	"berth/internal/meta"
)

func blobTests() []test {
	return []test{
		{name: "a blob is seen through its repositories only", run: blobMembership},
		{name: "a link needs a holder", run: blobLink},
		{name: "an unlink leaves the others alone", run: blobUnlink},
		{name: "a blob in use stays", run: blobInUse},
		{name: "the grace left is counted", run: blobLeft},
		{name: "a key that two digests share is kept for the second", run: blobSharedKey},
	}
}

func blobMembership(f *fixture) {
	a := f.repo("a")
	b := f.push(a, "x")
	_, err := f.FindBlob(f.ctx, f.repo("b"), b.Digest)
	f.is(err, meta.ErrNotFound)
	f.upload(f.repo("b"))
	_, err = f.FindBlob(f.ctx, f.repo("b"), b.Digest)
	f.is(err, meta.ErrNotFound)
	_, err = f.FindBlob(f.ctx, a, digestOf("y"))
	f.is(err, meta.ErrNotFound)
	_, err = f.FindContent(f.ctx, digestOf("y"))
	f.is(err, meta.ErrNotFound)
	got, err := f.FindContent(f.ctx, b.Digest)
	f.ok(err)
	f.equal("key", got.Key, b.Key)
}

func blobLink(f *fixture) {
	a, b := f.repo("a"), f.repo("b")
	x := f.push(a, "x")
	f.is(f.LinkBlob(f.ctx, b, f.repo("c"), x.Digest, event.Actor{}), meta.ErrNotFound)
	f.is(f.LinkBlob(f.ctx, a, b, digestOf("y"), event.Actor{}), meta.ErrNotFound)
	if has, err := f.HasRepo(f.ctx, b); err != nil || has {
		f.Errorf("a failed link made the repository: %v, %v", has, err)
	}
	f.ok(f.LinkBlob(f.ctx, a, b, x.Digest, event.Actor{}))
	f.ok(f.LinkBlob(f.ctx, a, b, x.Digest, event.Actor{}))
	f.ok(f.LinkBlob(f.ctx, a, a, x.Digest, event.Actor{}))
	f.equal("linked", f.has(b, "x"), true)
	holders, err := f.Holders(f.ctx, x.Digest, 10)
	f.ok(err)
	f.equal("holders", len(holders), 2)
	holders, err = f.Holders(f.ctx, x.Digest, 1)
	f.ok(err)
	f.equal("holders", len(holders), 1)
	holders, err = f.Holders(f.ctx, digestOf("y"), 1)
	f.ok(err)
	f.equal("holders", len(holders), 0)
}

func blobUnlink(f *fixture) {
	a, b := f.repo("a"), f.repo("b")
	x := f.push(a, "x")
	f.ok(f.LinkBlob(f.ctx, a, b, x.Digest, event.Actor{}))
	f.is(f.UnlinkBlob(f.ctx, f.repo("c"), x.Digest, event.Actor{}), meta.ErrNotFound)
	f.ok(f.UnlinkBlob(f.ctx, a, x.Digest, event.Actor{}))
	f.is(f.UnlinkBlob(f.ctx, a, x.Digest, event.Actor{}), meta.ErrNotFound)
	f.equal("left", []bool{f.has(a, "x"), f.has(b, "x")}, []bool{false, true})
	f.pass(delay)
	f.equal("garbage", f.condemned(), []blob.Key(nil))

	f.ok(f.UnlinkBlob(f.ctx, b, x.Digest, event.Actor{}))
	_, err := f.FindContent(f.ctx, x.Digest)
	f.is(err, meta.ErrNotFound)
	f.equal("garbage before the delay", f.condemned(), []blob.Key(nil))
	f.pass(delay)
	f.equal("garbage", f.condemned(), []blob.Key{x.Key})

	again := f.push(a, "x")
	if again.Key == x.Key {
		f.Error("a condemned key is in use again")
	}
}

func blobInUse(f *fixture) {
	a := f.repo("a")
	f.push(a, "config")
	f.push(a, "layer")
	m := f.manifest(shape{parts: []string{"config", "layer"}})
	f.put(a, m, "v1")
	for _, s := range []string{"config", "layer"} {
		err := f.UnlinkBlob(f.ctx, a, digestOf(s), event.Actor{})
		e, ok := asInUse(err)
		if !ok || e.Holder != digest(m) {
			f.Errorf("unlink %s: %v, want in use by %s", s, err, digest(m))
		}
	}
	f.ok(f.DeleteTag(f.ctx, a, f.tag("v1"), event.Actor{}))
	if _, ok := asInUse(f.UnlinkBlob(f.ctx, a, digestOf("layer"), event.Actor{})); !ok {
		f.Error("a manifest without a tag no longer needs its layer")
	}
	f.ok(f.DeleteManifest(f.ctx, a, digest(m), event.Actor{}))
	f.ok(f.UnlinkBlob(f.ctx, a, digestOf("layer"), event.Actor{}))
}

func blobLeft(f *fixture) {
	a := f.repo("a")
	x := f.push(a, "x")
	left := func(want time.Duration) {
		f.Helper()
		b, err := f.FindBlob(f.ctx, a, x.Digest)
		f.ok(err)
		f.equal("left", b.Left, want)
	}
	left(grace)
	f.pass(grace / 4)
	left(grace * 3 / 4)
	f.ok(f.TouchBlob(f.ctx, a, x.Digest))
	left(grace)
	f.pass(2 * grace)
	left(0)
	f.is(f.TouchBlob(f.ctx, f.repo("b"), x.Digest), meta.ErrNotFound)
	f.is(f.TouchBlob(f.ctx, a, digestOf("y")), meta.ErrNotFound)

	m := f.manifest(shape{parts: []string{"x"}})
	f.put(a, m)
	f.equal("collected", f.collect(), 0)
	left(meta.Forever)
	f.ok(f.TouchBlob(f.ctx, a, x.Digest))
	f.ok(f.DeleteManifest(f.ctx, a, digest(m), event.Actor{}))
	left(grace)
}

func blobSharedKey(f *fixture) {
	a := f.repo("a")
	for _, s := range []string{"one digest", "another"} {
		u := f.upload(a)
		_, err := f.CommitUpload(f.ctx, u, meta.Blob{Digest: digestOf(s), Key: "shared", Size: 1}, event.Actor{})
		f.ok(err)
	}
	f.ok(f.UnlinkBlob(f.ctx, a, digestOf("one digest"), event.Actor{}))
	f.pass(delay)
	f.equal("garbage", f.condemned(), []blob.Key(nil))
	f.ok(f.UnlinkBlob(f.ctx, a, digestOf("another"), event.Actor{}))
	f.pass(delay)
	f.equal("garbage", f.condemned(), []blob.Key{"shared"})
}
