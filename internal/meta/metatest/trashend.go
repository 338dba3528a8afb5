package metatest

import (
	"fmt"
	"slices"
	"time"

	"berth/internal/blob"
	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
)

func trashPruned(f *fixture) {
	a := f.repo("a")
	child := f.image(a, "x")
	index := f.manifest(shape{children: []oci.Manifest{child}})
	f.put(a, index)
	f.pass(time.Second)
	for len(f.pruneAll(a, f.env.Now(), 1)) > 0 {
	}
	list := f.entries(a)
	f.equal("entries", len(list), 2)
	f.equal("reason", []any{list[0].Reason, list[0].Kind}, []any{meta.ReasonUntagged, meta.TrashManifest})
	f.pass(grace)
	f.collect()
	f.restore(meta.Restore{ID: list[1].ID})
	f.equal("there", []bool{f.hasManifest(a, digest(index).String()), f.hasManifest(a, digest(child).String()), f.has(a, "x")}, []bool{true, true, true})
}

func trashDiscard(f *fixture) {
	a := f.repo("a")
	child := f.image(a, "child")
	index := f.manifest(shape{children: []oci.Manifest{child}})
	f.put(a, index, "multi")
	signature := f.manifest(shape{subject: &index, note: "signature"})
	f.put(a, signature)
	kept, needed := f.image(a, "kept", "one", "two"), f.image(a, "needed")
	f.put(a, f.manifest(shape{children: []oci.Manifest{needed}, note: "holder"}))
	before := f.pointsTo(a)
	tags := []meta.Tag{{Name: f.tag("multi"), Digest: digest(index)}, {Name: f.tag("one"), Digest: digest(kept)}, {Name: f.tag("two"), Digest: digest(index)},
		{Name: f.tag("none"), Digest: digest(index)}}
	never := f.manifest(shape{note: "never"})
	got, err := f.Discard(f.ctx, meta.Discard{
		Repo: a, Tags: tags, Reason: meta.ReasonRetention,
		Manifests: []oci.Digest{digest(child), digest(needed), digest(kept), digest(index), digest(signature), digest(never)},
	})
	f.ok(err)
	f.equal("tags", got.Tags, tags[:2])
	slices.SortFunc(got.Manifests, byDigest)
	f.equal("manifests", got.Manifests, digests(child, index, signature))
	e := f.entry(a)
	f.equal("entry", []any{e.ID, e.Kind, e.Reason, e.Digest, e.TagCount, e.Manifests}, []any{got.Entry, meta.TrashManifest, meta.ReasonRetention, oci.Digest{}, 2, 3})
	f.pass(grace)
	f.collect()
	f.restore(meta.Restore{ID: got.Entry})
	f.equal("tags", f.pointsTo(a), before)
	for _, m := range []oci.Manifest{child, index, signature} {
		f.equal("there", f.hasManifest(a, digest(m).String()), true)
	}
	got, err = f.Discard(f.ctx, meta.Discard{Repo: a, Tags: tags[2:], Reason: meta.ReasonRetention})
	f.ok(err)
	f.equal("nothing", got, meta.Discarded{})
	got, err = f.Discard(f.ctx, meta.Discard{Repo: f.repo("none"), Tags: tags, Reason: meta.ReasonRetention})
	f.ok(err)
	f.equal("nothing of nothing", got, meta.Discarded{})
	f.equal("entries", len(f.entries(a)), 0)
}

func trashListed(f *fixture) {
	a, b := f.repo("a"), f.repo("b")
	for i, repo := range []oci.Repo{a, b, a, b, a} {
		f.delete(repo, f.image(repo, fmt.Sprint(i), fmt.Sprintf("t%d", i)))
		f.pass(time.Second)
	}
	f.equal("of all", len(f.entries(oci.Repo{})), 5)
	var names []string
	for before := int64(0); ; {
		page, err := f.TrashEntries(f.ctx, a, before, 2)
		f.ok(err)
		for _, e := range page {
			names = append(names, e.Tags[0].Name.String())
			before = e.ID
		}
		if len(page) < 2 {
			break
		}
	}
	f.equal("of a", names, []string{"t4", "t2", "t0"})
	for _, w := range []meta.TrashWhat{{ID: 99}, {Repo: a}, {Repo: a, Ref: oci.Ref{Tag: f.tag("t1")}}, {Repo: b, Ref: oci.Ref{Digest: digestOf("0")}}} {
		_, err := f.FindTrash(f.ctx, w)
		f.is(err, meta.ErrNotFound)
	}
	m := f.manifest(shape{parts: []string{"1"}})
	e, err := f.FindTrash(f.ctx, meta.TrashWhat{Repo: b, Ref: oci.Ref{Digest: digest(m)}})
	f.ok(err)
	f.equal("found", e.Tags[0].Name, f.tag("t1"))
}

func trashExpires(f *fixture) {
	a := f.repo("a")
	key := f.push(a, "x").Key
	m := f.manifest(shape{parts: []string{"x"}})
	f.put(a, m, "v1")
	f.delete(a, m)
	id := f.entry(a).ID
	f.pass(keep - 1)
	f.collect()
	f.expire(1)
	f.equal("entries", len(f.entries(a)), 1)
	f.jump.Add(int64(1000 * keep)) // the wall clock means nothing
	f.expire(1)
	f.equal("entries", len(f.entries(a)), 1)
	f.pass(1)
	f.equal("over before it is taken apart", len(f.entries(a)), 0)
	_, err := f.Restore(f.ctx, meta.Restore{ID: id})
	f.is(err, meta.ErrNotFound)
	f.expire(1)
	f.pass(delay)
	f.equal("garbage", f.condemned(), []blob.Key{key})
	n, err := f.ExpireTrash(f.ctx, 1)
	f.ok(err)
	f.equal("left to do", n, 0)
}

func trashDropped(f *fixture) {
	a, b := f.repo("a"), f.repo("b")
	f.image(b, "shared")
	key := f.push(a, "x").Key
	f.ok(f.LinkBlob(f.ctx, b, a, digestOf("shared"), event.Actor{}))
	m := f.manifest(shape{parts: []string{"x", "shared"}})
	f.put(a, m)
	f.delete(a, m)
	e := f.entry(a)
	f.pass(grace)
	f.collect()
	f.equal("what its end frees", []int64{e.Bytes - e.Alone, f.entry(a).Bytes - f.entry(a).Alone}, []int64{7, 6})
	f.ok(f.DropTrash(f.ctx, e.ID, 12345))
	f.equal("entries", len(f.entries(a)), 0)
	f.expire(1)
	f.pass(delay)
	f.equal("garbage", f.condemned(), []blob.Key{key})
	f.equal("what others have", f.has(b, "shared"), true)
	f.image(a, "x", "v1") // pushing it again works
}

func trashNone(f *fixture) {
	a := f.repo("a")
	m := f.image(a, "x", "v1", "v2")
	f.push(a, "y")
	f.ok(f.DeleteTag(f.ctx, a, f.tag("v1"), event.Actor{}))
	f.delete(a, m)
	f.ok(f.UnlinkBlob(f.ctx, a, digestOf("y"), event.Actor{}))
	f.pass(delay)
	f.equal("garbage", len(f.condemned()), 1)
	f.image(a, "z", "v1")
	f.pass(1)
	f.put(a, f.manifest(shape{note: "untagged"}))
	f.pass(1)
	f.equal("pruned", len(f.pruneAll(a, f.env.Now(), 10)), 1)
	id, err := f.DeleteRepo(f.ctx, a, event.Actor{})
	f.ok(err)
	f.equal("entry", id, 0)
	f.equal("entries", len(f.entries(a)), 0)
	f.expire(1)
	f.equal("there", []bool{f.has(a, "x"), f.has(a, "z"), f.hasManifest(a, "v1")}, []bool{false, false, false})
	f.pass(delay)
	f.equal("garbage", len(f.condemned()), 3)
}

func trashShorter(f *fixture) {
	a := f.repo("a")
	f.delete(a, f.image(a, "x"))
	f.pass(time.Hour)
	f.ok(f.SaveClock(f.ctx))
	f.env.Trash = time.Hour
	f.reopen()
	f.equal("entries", len(f.entries(a)), 0)
	f.env.Trash = 2 * time.Hour
	f.reopen()
	f.equal("entries", len(f.entries(a)), 1)
}

func trashEvents(f *fixture) {
	a := f.repo("a")
	seq, err := f.Subscribe(f.ctx, "reader", meta.NeedNews)
	f.ok(err)
	m := f.image(a, "x", "v1")
	f.delete(a, m)
	f.restore(meta.Restore{ID: f.entry(a).ID, By: event.Actor{Name: "carol"}})
	list, err := f.Events(f.ctx, seq, 100)
	f.ok(err)
	var got []string
	for _, e := range list {
		got = append(got, fmt.Sprintf("%s %s %s by %s", e.Action, e.Kind, e.Tag, e.By.Name))
	}
	f.equal("events", got, []string{"push blob  by ", "push manifest v1 by alice", "delete manifest  by bob", "delete tag v1 by bob",
		"push manifest  by carol", "push manifest v1 by carol"})
	if e := list[len(list)-1]; e.Digest != digest(m) || e.Size != int64(len(m.Body)) || e.MediaType != m.MediaType {
		f.Errorf("the last event: %+v", e)
	}
}
