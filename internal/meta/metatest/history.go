package metatest

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
)

func historyTests() []test {
	return []test{
		{name: "a tag is made, moved and removed", run: historyOfTag},
		{name: "what changes nothing is not noted", run: historyUnchanged},
		{name: "what fails is not noted", run: historyOfFailure},
		{name: "tags that go with their manifest", run: historyWithManifest},
		{name: "what registry:2 did", run: historyOfRegistry2},
		{name: "the history of a repository", run: historyOfRepo},
		{name: "setting a tag", run: historySet},
		{name: "rolling a tag back", run: historyBack},
		{name: "rolling back what was deleted", run: historyBackDeleted},
		{name: "rolling back to what is gone", run: historyBackGone, trash: true},
		{name: "rolling back to what is in the trash", run: historyBackTrash, trash: true},
		{name: "rolling back in a repository that was deleted", run: historyBackRepo, trash: true},
		{name: "a tag that moved meanwhile is not rolled back", run: historyMoved},
		{name: "old moves are forgotten", run: historyTrim},
		{name: "the history survives", run: historyReopen},
	}
}

// images returns n manifests of the one blob that each test pushes.
func (f *fixture) images(repo oci.Repo, n int) []oci.Manifest {
	f.Helper()
	f.push(repo, "layer")
	list := make([]oci.Manifest, n)
	for i := range list {
		list[i] = f.manifest(shape{parts: []string{"layer"}, note: fmt.Sprint(i)})
	}
	return list
}

// history returns what happened to a tag, the newest first, as lines in which
// images have the names of their places.
func (f *fixture) history(repo oci.Repo, tag string, images []oci.Manifest) []string {
	f.Helper()
	var t oci.Tag
	if tag != "" {
		t = f.tag(tag)
	}
	list, err := f.TagHistory(f.ctx, repo, t, 0, 100)
	f.ok(err)
	name := func(d oci.Digest) string {
		for i, m := range images {
			if digest(m) == d {
				return fmt.Sprint(i)
			}
		}
		return strings.TrimPrefix(d.String(), "sha256:")
	}
	lines := []string{}
	for _, m := range list {
		lines = append(lines, fmt.Sprintf("%s %s>%s %s by %s", m.Tag, name(m.From), name(m.To), m.Cause, m.By.Name))
	}
	return lines
}

func historyOfTag(f *fixture) {
	a := f.repo("a")
	m := f.images(a, 2)
	f.equal("at first", f.history(a, "v1", m), []string{})
	f.put(a, m[0], "v1")
	f.pass(time.Minute)
	by := event.Actor{Name: "bob", Via: "proxy", Addr: "192.0.2.7:1", UserAgent: "not kept"}
	_, err := f.PutManifest(f.ctx, meta.ManifestPut{Repo: a, Digest: digest(m[1]), Manifest: m[1], Tags: f.tags("v1"), By: by})
	f.ok(err)
	f.ok(f.DeleteTag(f.ctx, a, f.tag("v1"), event.Actor{Name: "carol"}))
	f.equal("history", f.history(a, "v1", m), []string{"v1 1> delete by carol", "v1 0>1 push by bob", "v1 >0 push by alice"})
	list, err := f.TagHistory(f.ctx, a, f.tag("v1"), 0, 10)
	f.ok(err)
	by.UserAgent = ""
	f.equal("who", list[1].By, by)
	f.equal("when", list[1].At.Sub(list[2].At), time.Minute)

	older, err := f.TagHistory(f.ctx, a, f.tag("v1"), list[0].Seq, 1)
	f.ok(err)
	f.equal("the next page", older, list[1:2])
	f.equal("of another tag", f.history(a, "v2", m), []string{})
	f.equal("of another repository", f.history(f.repo("b"), "v1", m), []string{})
}

func historyUnchanged(f *fixture) {
	a := f.repo("a")
	m := f.images(a, 2)
	f.put(a, m[0], "v1")
	f.put(a, m[0], "v1")
	f.put(a, m[1])
	f.ok(f.DeleteManifest(f.ctx, a, digest(m[1]), event.Actor{}))
	f.put(a, m[0], "v1", "v2") // in a transaction, since v2 is new
	other := m[0]
	other.MediaType = "application/x.other"
	f.put(a, other, "v1") // replaces the manifest and leaves the tag
	f.equal("history", f.history(a, "v1", m), []string{"v1 >0 push by alice"})
}

func historyOfFailure(f *fixture) {
	a := f.repo("a")
	m := f.images(a, 1)
	f.put(a, m[0], "v1")
	f.is(f.DeleteTag(f.ctx, a, f.tag("v2"), event.Actor{}), meta.ErrNotFound)
	index := f.manifest(shape{children: m})
	f.put(a, index, "index")
	if err := f.DeleteManifest(f.ctx, a, digest(m[0]), event.Actor{}); err == nil {
		f.Error("a child of an index was deleted")
	}
	_, err := f.PutManifest(f.ctx, meta.ManifestPut{Repo: a, Digest: digest(index), Manifest: index, Tags: f.tags("new", "v1"), KeepTags: true})
	if _, ok := errors.AsType[*meta.TagTakenError](err); !ok {
		f.Errorf("got %v, want a TagTakenError", err)
	}
	f.equal("history", f.history(a, "", m[:1]), []string{"index >" + digest(index).Hex() + " push by alice", "v1 >0 push by alice"})
}

func historyWithManifest(f *fixture) {
	a := f.repo("a")
	m := f.images(a, 1)
	f.put(a, m[0], "v2", "v1")
	f.ok(f.DeleteManifest(f.ctx, a, digest(m[0]), event.Actor{Name: "bob"}))
	f.equal("v1", f.history(a, "v1", m), []string{"v1 0> delete by bob", "v1 >0 push by alice"})
	f.equal("v2", f.history(a, "v2", m), []string{"v2 0> delete by bob", "v2 >0 push by alice"})
}

func historyOfRegistry2(f *fixture) {
	p, m := f.take("a")
	f.takeRepo(p)
	f.takeRepo(p)
	list, err := f.TagHistory(f.ctx, p.Repo, f.tag("v1"), 0, 10)
	f.ok(err)
	if len(list) != 1 {
		f.Fatalf("got %d moves, want 1", len(list))
	}
	f.equal("when", list[0].At.UnixMicro(), written().UnixMicro())
	f.takeRepo(meta.RepoTake{Repo: p.Repo, Gone: []meta.Link{p.Tags[0].Link}})
	f.takeRepo(p)
	f.takeRepo(meta.RepoTake{Repo: p.Repo, Gone: []meta.Link{p.Manifests[0].Link}}) // its tag goes with it
	f.equal("history", f.history(p.Repo, "v1", []oci.Manifest{m}),
		[]string{"v1 0> registry2 by ", "v1 >0 registry2 by ", "v1 0> registry2 by ", "v1 >0 registry2 by "})
}

func historyOfRepo(f *fixture) {
	a := f.repo("a")
	m := f.images(a, 3)
	f.put(a, m[0], "v1")
	f.put(a, m[1], "v2")
	f.put(a, m[2], "v1")
	f.push(f.repo("b"), "layer")
	f.put(f.repo("b"), m[0], "v1")
	f.equal("history", f.history(a, "", m), []string{"v1 0>2 push by alice", "v2 >1 push by alice", "v1 >0 push by alice"})
}

func (f *fixture) setTag(p meta.TagSet) meta.TagMove {
	f.Helper()
	p.By.Name = "op"
	plan, err := f.PlanTag(f.ctx, p)
	f.ok(err)
	m, err := f.SetTag(f.ctx, p)
	f.ok(err)
	f.equal("the plan", plan, m)
	return m
}

func historySet(f *fixture) {
	a := f.repo("a")
	m := f.images(a, 2)
	f.put(a, m[0], "v1")
	f.put(a, m[1])
	f.setTag(meta.TagSet{Repo: a, Tag: f.tag("v1"), To: digest(m[1]), Cause: meta.BySet})
	f.setTag(meta.TagSet{Repo: a, Tag: f.tag("new"), To: digest(m[1]), From: &oci.Digest{}, Cause: meta.BySet})
	same := f.setTag(meta.TagSet{Repo: a, Tag: f.tag("new"), To: digest(m[1]), Cause: meta.BySet})
	f.equal("nothing moved", same.From, same.To)
	f.equal("history", f.history(a, "", m), []string{"new >1 set by op", "v1 0>1 set by op", "v1 >0 push by alice"})
	f.equal("what it is", f.manifestAt(a, "v1"), digest(m[1]))

	for _, p := range []meta.TagSet{
		{Repo: a, Tag: f.tag("v1"), To: digestOf("no manifest")},
		{Repo: a, Tag: f.tag("v1"), To: digestOf("layer")},
		{Repo: f.repo("b"), Tag: f.tag("v1"), To: digest(m[0])},
	} {
		_, err := f.SetTag(f.ctx, p)
		f.is(err, meta.ErrNotFound)
		_, err = f.PlanTag(f.ctx, p)
		f.is(err, meta.ErrNotFound)
	}
}

// manifestAt returns what a tag points to; zero if there is no such tag.
func (f *fixture) manifestAt(repo oci.Repo, tag string) oci.Digest {
	f.Helper()
	m, err := f.FindManifest(f.ctx, repo, oci.Ref{Tag: f.tag(tag)})
	if !errors.Is(err, meta.ErrNotFound) {
		f.ok(err)
	}
	return m.Digest
}

func historyBack(f *fixture) {
	a := f.repo("a")
	m := f.images(a, 3)
	for _, image := range m {
		f.put(a, image, "v1")
	}
	p := meta.TagSet{Repo: a, Tag: f.tag("v1"), Cause: meta.ByRollback}
	f.equal("once", f.setTag(p).To, digest(m[1]))
	f.equal("the rollback undone", f.setTag(p).To, digest(m[2]))
	p.Steps = 4 // 2, 1, 2, 1, 0
	f.equal("several", f.setTag(p).To, digest(m[0]))
	f.equal("what it is", f.manifestAt(a, "v1"), digest(m[0]))
	p.Steps = 6
	_, err := f.SetTag(f.ctx, p)
	if _, ok := errors.AsType[*meta.NoPastError](err); !ok {
		f.Errorf("to before there was one: got %v, want a NoPastError", err)
	}
	p.Steps = 60
	_, err = f.SetTag(f.ctx, p)
	f.is(err, meta.ErrNotFound)
	p.Tag = f.tag("v2")
	_, err = f.SetTag(f.ctx, p)
	f.is(err, meta.ErrNotFound)
	f.equal("history", f.history(a, "v1", m), []string{"v1 2>0 rollback by op", "v1 1>2 rollback by op", "v1 2>1 rollback by op",
		"v1 1>2 push by alice", "v1 0>1 push by alice", "v1 >0 push by alice"})
}

func historyBackDeleted(f *fixture) {
	a := f.repo("a")
	m := f.images(a, 1)
	f.put(a, m[0], "v1")
	f.ok(f.DeleteTag(f.ctx, a, f.tag("v1"), event.Actor{}))
	f.setTag(meta.TagSet{Repo: a, Tag: f.tag("v1"), Cause: meta.ByRollback})
	f.equal("what it is", f.manifestAt(a, "v1"), digest(m[0]))
}

func historyBackGone(f *fixture) {
	a := f.repo("a")
	m := f.images(a, 2)
	f.put(a, m[0], "v1")
	f.put(a, m[1], "v1")
	f.ok(f.DeleteManifest(f.ctx, a, digest(m[0]), event.Actor{}))
	f.pass(2 * keep)
	back, err := f.SetTag(f.ctx, meta.TagSet{Repo: a, Tag: f.tag("v1"), Cause: meta.ByRollback})
	f.is(err, meta.ErrNotFound)
	f.equal("what is missing", back.To, digest(m[0]))
	f.equal("what it is", f.manifestAt(a, "v1"), digest(m[1]))
}

// historyBackTrash rolls back to an image in the trash, whose signature comes
// along, while what was deleted with it stays there.
func historyBackTrash(f *fixture) {
	a := f.repo("a")
	m := f.images(a, 3)
	signature := f.manifest(shape{parts: []string{"layer"}, subject: &m[0], kind: "signature"})
	f.put(a, m[0], "v1", "same")
	f.put(a, signature)
	f.put(a, m[2])
	f.put(a, m[1], "v1")
	done, err := f.Discard(f.ctx, meta.Discard{Repo: a, Tags: []meta.Tag{{Name: f.tag("same"), Digest: digest(m[0])}},
		Manifests: []oci.Digest{digest(m[0]), digest(signature), digest(m[2])}, Reason: meta.ReasonRetention})
	f.ok(err)
	f.equal("discarded", len(done.Manifests), 3)
	f.pass(keep / 2)
	f.collect()
	back := f.setTag(meta.TagSet{Repo: a, Tag: f.tag("v1"), Cause: meta.ByRollback})
	f.equal("taken from", back.Trash, done.Entry)
	f.equal("what it is", f.manifestAt(a, "v1"), digest(m[0]))
	f.equal("the signature", f.hasManifest(a, digest(signature).String()), true)
	f.equal("another that went with it", f.hasManifest(a, digest(m[2]).String()), false)
	f.equal("history", f.history(a, "v1", m), []string{"v1 1>0 rollback by op", "v1 0>1 push by alice", "v1 >0 push by alice"})
	rest, err := f.Restore(f.ctx, meta.Restore{ID: done.Entry})
	f.ok(err)
	f.equal("the rest comes back", fmt.Sprint(rest.Manifests, rest.Tags), fmt.Sprint(1, []meta.Tag{{Name: f.tag("same"), Digest: digest(m[0])}}))
}

// historyBackRepo brings a tag back from a repository that was deleted.
func historyBackRepo(f *fixture) {
	a := f.repo("a")
	m := f.images(a, 2)
	f.put(a, m[0], "v1")
	f.put(a, m[1], "v2")
	entry, err := f.DeleteRepo(f.ctx, a, event.Actor{Name: "bob"})
	f.ok(err)
	back := f.setTag(meta.TagSet{Repo: a, Tag: f.tag("v1"), Cause: meta.ByRollback})
	f.equal("taken from", back.Trash, entry)
	f.equal("v1", f.manifestAt(a, "v1"), digest(m[0]))
	f.equal("v2", f.manifestAt(a, "v2"), oci.Digest{})
	f.equal("history", f.history(a, "v1", m), []string{"v1 >0 restore by op", " > delete by bob", "v1 >0 push by alice"})
	f.put(a, m[1], "v1")
	f.equal("v1 moves on", f.setTag(meta.TagSet{Repo: a, Tag: f.tag("v1"), Cause: meta.ByRollback}).To, digest(m[0]))
}

func historyMoved(f *fixture) {
	a := f.repo("a")
	m := f.images(a, 2)
	f.put(a, m[0], "v1")
	f.put(a, m[1], "v1")
	saw := digest(m[0])
	p := meta.TagSet{Repo: a, Tag: f.tag("v1"), From: &saw, Cause: meta.ByRollback}
	for range 2 {
		_, err := f.SetTag(f.ctx, p)
		moved, ok := errors.AsType[*meta.TagMovedError](err)
		if !ok || moved.Now != digest(m[1]) || !errors.Is(err, meta.ErrConflict) {
			f.Fatalf("got %v, want that it points to the other", err)
		}
		p.From = &oci.Digest{} // nor is it missing
	}
	f.equal("history", len(f.history(a, "v1", m)), 2)
}

func historyTrim(f *fixture) {
	a := f.repo("a")
	m := f.images(a, 2)
	for i := range 5 {
		f.put(a, m[i%2], "v1")
	}
	f.pass(time.Hour)
	f.put(a, m[1], "v1")
	f.jump.Add(int64(1000 * time.Hour)) // which makes nothing old
	for _, want := range []int{2, 2, 1, 0} {
		n, err := f.TrimHistory(f.ctx, time.Hour, 2)
		f.ok(err)
		f.equal("trimmed", n, want)
	}
	f.equal("history", f.history(a, "v1", m), []string{"v1 0>1 push by alice"})
	f.equal("it can still be undone", f.setTag(meta.TagSet{Repo: a, Tag: f.tag("v1")}).To, digest(m[0]))
}

func historyReopen(f *fixture) {
	a := f.repo("a")
	m := f.images(a, 1)
	f.put(a, m[0], "v1")
	before, err := f.TagHistory(f.ctx, a, f.tag("v1"), 0, 10)
	f.ok(err)
	f.reopen()
	after, err := f.TagHistory(f.ctx, a, f.tag("v1"), 0, 10)
	f.ok(err)
	f.equal("history", after, before)
}
