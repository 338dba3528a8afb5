package metatest

import (
	"slices"
	"time"

	"berth/internal/blob"
	"berth/internal/event"
	"berth/internal/meta"
)

func uploadTests() []test {
	return []test{
		{name: "an upload is found as it was saved", run: uploadRoundTrip},
		{name: "an upload belongs to its repository", run: uploadOfOther},
		{name: "a save with an old version is a conflict", run: uploadConflict},
		{name: "a commit makes a blob and ends the upload", run: uploadCommit},
		{name: "the second of two equal blobs is garbage", run: uploadDuplicate},
		{name: "without a key there must be a blob", run: uploadWithoutKey},
		{name: "a damaged blob is healed", run: uploadHeals},
		{name: "a drop makes the key garbage", run: uploadDrop},
		{name: "idle uploads expire", run: uploadExpiry},
		{name: "a key is known until its object has gone", run: uploadKnownKey},
	}
}

func uploadRoundTrip(f *fixture) {
	u := f.upload(f.repo("a/b"))
	got, err := f.FindUpload(f.ctx, u.Repo, u.ID)
	f.ok(err)
	f.equal("new upload", got, u)

	u.Size, u.Hash, u.State, u.By = 42, []byte{0, 1, 255}, []byte("state"), ""
	f.ok(f.SaveUpload(f.ctx, u))
	u.Version++
	got, err = f.FindUpload(f.ctx, u.Repo, u.ID)
	f.ok(err)
	f.equal("saved upload", got, u)
	if u.Started.IsZero() || !got.Started.Equal(u.Started) {
		f.Errorf("started %v, want %v", got.Started, u.Started)
	}
}

func uploadOfOther(f *fixture) {
	u := f.upload(f.repo("a"))
	f.upload(f.repo("b"))
	_, err := f.FindUpload(f.ctx, f.repo("b"), u.ID)
	f.is(err, meta.ErrNotFound)
	_, err = f.FindUpload(f.ctx, f.repo("never"), u.ID)
	f.is(err, meta.ErrNotFound)

	other := u
	other.Repo = f.repo("b")
	f.is(f.SaveUpload(f.ctx, other), meta.ErrNotFound)
	_, err = f.CommitUpload(f.ctx, other, meta.Blob{Digest: digestOf("x"), Key: u.Key, Size: 1}, event.Actor{})
	f.is(err, meta.ErrNotFound)
	f.ok(f.DropUpload(f.ctx, other))
	_, err = f.FindUpload(f.ctx, u.Repo, u.ID)
	f.ok(err)
}

func uploadConflict(f *fixture) {
	u := f.upload(f.repo("a"))
	u.Size = 10
	f.ok(f.SaveUpload(f.ctx, u))
	u.Size = 20
	f.is(f.SaveUpload(f.ctx, u), meta.ErrConflict)
	got, err := f.FindUpload(f.ctx, u.Repo, u.ID)
	f.ok(err)
	f.equal("size", got.Size, 10)
	f.equal("version", got.Version, 1)
	u.ID = "none"
	f.is(f.SaveUpload(f.ctx, u), meta.ErrNotFound)
}

func uploadCommit(f *fixture) {
	u := f.upload(f.repo("a"))
	b, err := f.CommitUpload(f.ctx, u, meta.Blob{Digest: digestOf("x"), Key: "final", Size: 1}, event.Actor{})
	f.ok(err)
	f.equal("returned", b, meta.Blob{Digest: digestOf("x"), Key: "final", Size: 1, Left: grace})
	got, err := f.FindBlob(f.ctx, u.Repo, b.Digest)
	f.ok(err)
	f.equal("stored", got, b)
	_, err = f.FindUpload(f.ctx, u.Repo, u.ID)
	f.is(err, meta.ErrNotFound)
	_, err = f.CommitUpload(f.ctx, u, b, event.Actor{})
	f.is(err, meta.ErrNotFound)
	f.equal("garbage", f.condemned(), []blob.Key(nil))
}

func uploadDuplicate(f *fixture) {
	first := f.push(f.repo("a"), "x")
	u := f.upload(f.repo("b"))
	got, err := f.CommitUpload(f.ctx, u, meta.Blob{Digest: first.Digest, Key: u.Key, Size: 1}, event.Actor{})
	f.ok(err)
	f.equal("key of the record", got.Key, first.Key)
	f.equal("garbage", f.condemned(), []blob.Key{u.Key})
	f.equal("both have it", []bool{f.has(f.repo("a"), "x"), f.has(f.repo("b"), "x")}, []bool{true, true})
}

func uploadWithoutKey(f *fixture) {
	u := f.upload(f.repo("a"))
	_, err := f.CommitUpload(f.ctx, u, meta.Blob{Digest: digestOf("x"), Size: 1}, event.Actor{})
	f.is(err, meta.ErrConflict)
	_, err = f.FindUpload(f.ctx, u.Repo, u.ID)
	f.ok(err)

	first := f.push(f.repo("b"), "x")
	f.ok(f.MarkDamaged(f.ctx, first.Digest, first.Key))
	_, err = f.CommitUpload(f.ctx, u, meta.Blob{Digest: digestOf("x"), Size: 1}, event.Actor{})
	f.is(err, meta.ErrConflict)

	first = f.push(f.repo("b"), "x")
	got, err := f.CommitUpload(f.ctx, u, meta.Blob{Digest: digestOf("x"), Size: 1}, event.Actor{})
	f.ok(err)
	f.equal("key", got.Key, first.Key)
	f.equal("has it", f.has(u.Repo, "x"), true)
	if !slices.Contains(f.condemned(), u.Key) {
		f.Errorf("the unfinished upload's key %s is not garbage: %v", u.Key, f.condemned())
	}
}

func uploadHeals(f *fixture) {
	a, b := f.repo("a"), f.repo("b")
	old := f.push(a, "x")
	f.ok(f.LinkBlob(f.ctx, a, b, old.Digest, event.Actor{}))
	f.ok(f.MarkDamaged(f.ctx, old.Digest, "another key"))
	got, err := f.FindBlob(f.ctx, a, old.Digest)
	f.ok(err)
	f.equal("damaged under another key", got.Damaged, false)

	f.ok(f.MarkDamaged(f.ctx, old.Digest, old.Key))
	got, err = f.FindBlob(f.ctx, b, old.Digest)
	f.ok(err)
	f.equal("damaged", got.Damaged, true)
	f.is(f.LinkBlob(f.ctx, a, f.repo("c"), old.Digest, event.Actor{}), meta.ErrNotFound)

	healed := f.push(a, "x")
	got, err = f.FindBlob(f.ctx, b, old.Digest)
	f.ok(err)
	f.equal("healed in the other repository", []any{got.Damaged, got.Key}, []any{false, healed.Key})
	f.equal("garbage before the delay", f.condemned(), []blob.Key(nil))
	f.pass(delay)
	f.equal("garbage", f.condemned(), []blob.Key{old.Key})
}

func uploadDrop(f *fixture) {
	u := f.upload(f.repo("a"))
	f.ok(f.DropUpload(f.ctx, u))
	f.ok(f.DropUpload(f.ctx, u))
	f.equal("garbage", f.condemned(), []blob.Key{u.Key})
	_, err := f.FindUpload(f.ctx, u.Repo, u.ID)
	f.is(err, meta.ErrNotFound)
	f.ok(f.Forget(f.ctx, []blob.Key{u.Key, "never heard of"}))
	f.equal("garbage", f.condemned(), []blob.Key(nil))
}

func uploadExpiry(f *fixture) {
	var all []meta.Upload
	for range 5 {
		all = append(all, f.upload(f.repo("a")))
	}
	f.pass(time.Hour)
	f.ok(f.SaveUpload(f.ctx, all[2]))
	f.pass(23 * time.Hour)
	idle, err := f.IdleUploads(f.ctx, 24*time.Hour, 3)
	f.ok(err)
	f.equal("idle", []any{len(idle), idle[0].Repo, idle[0].Idle}, []any{3, all[0].Repo, 24 * time.Hour})
	for _, want := range []int{3, 1, 0} {
		n, err := f.ExpireUploads(f.ctx, 24*time.Hour, 3)
		f.ok(err)
		f.equal("expired", n, want)
	}
	for i, u := range all {
		_, err := f.FindUpload(f.ctx, u.Repo, u.ID)
		f.equal("alive", err == nil, i == 2)
	}
	f.equal("garbage", len(f.condemned()), 4)
}

func uploadKnownKey(f *fixture) {
	known := func(key blob.Key, want bool) {
		f.Helper()
		got, err := f.KnownKey(f.ctx, key)
		f.ok(err)
		f.equal("known", got, want)
	}
	u := f.upload(f.repo("a"))
	known("nobody's", false)
	known(u.Key, true)
	_, err := f.CommitUpload(f.ctx, u, meta.Blob{Digest: digestOf("x"), Key: "final", Size: 1}, event.Actor{})
	f.ok(err)
	known(u.Key, false)
	known("final", true)
	f.ok(f.UnlinkBlob(f.ctx, u.Repo, digestOf("x"), event.Actor{}))
	known("final", true)
	f.ok(f.Forget(f.ctx, []blob.Key{"final"}))
	known("final", false)
}
