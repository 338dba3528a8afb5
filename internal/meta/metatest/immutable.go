package metatest

import (
	"errors"
	"fmt"
	"time"

	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
)

// In these tests the tags that begin with v are immutable in the repositories
// that begin with fixed.
func immutableTests() []test {
	return []test{
		{name: "no door moves or removes it", run: immutableDoors, trash: true},
		{name: "what comes out of the trash does not move it", run: immutableRestore, trash: true},
		{name: "the first push and the same push again work", run: immutableSame},
		{name: "other tags and repositories move", run: immutableOthers},
		{name: "one of several tags refuses all", run: immutableTogether},
		{name: "registry:2 moves it, and that is said", run: immutableRegistry2},
		{name: "of two first pushes one wins", run: immutableRace},
	}
}

// fixed fails the test if err is not that the tag v1 is immutable.
func (f *fixture) fixed(what string, err error) {
	f.Helper()
	e, ok := errors.AsType[*meta.ImmutableTagError](err)
	if !ok || e.Repo.String() != "fixed" || e.Tag.String() != "v1" {
		f.Errorf("%s: got %v, want that v1 of fixed is immutable", what, err)
	}
}

func immutableDoors(f *fixture) {
	a := f.repo("fixed")
	m := f.images(a, 2)
	f.put(a, m[0], "latest")
	f.put(a, m[0], "v1")
	f.put(a, m[1], "latest")
	f.put(a, m[0], "latest")
	old := f.history(a, "", m)
	doors := []struct {
		name string
		open func() error
	}{
		{"put", func() error { _, err := f.tryPut(a, m[1], "v1"); return err }},
		{"put that may only make tags", func() error {
			_, err := f.PutManifest(f.ctx, meta.ManifestPut{Repo: a, Digest: digest(m[1]), Manifest: m[1], Tags: f.tags("v1")})
			return err
		}},
		{"delete the tag", func() error { return f.DeleteTag(f.ctx, a, f.tag("v1"), event.Actor{}) }},
		{"delete the manifest", func() error { return f.DeleteManifest(f.ctx, a, digest(m[0]), event.Actor{}) }},
		{"set", func() error {
			_, err := f.SetTag(f.ctx, meta.TagSet{Repo: a, Tag: f.tag("v1"), To: digest(m[1])})
			return err
		}},
		{"delete the repository", func() error { _, err := f.DeleteRepo(f.ctx, a, event.Actor{}); return err }},
		{"plan to set", func() error {
			_, err := f.PlanTag(f.ctx, meta.TagSet{Repo: a, Tag: f.tag("v1"), To: digest(m[1])})
			return err
		}},
	}
	for _, door := range doors {
		f.fixed(door.name, door.open())
	}
	done, err := f.Discard(f.ctx, meta.Discard{Repo: a, Tags: []meta.Tag{{Name: f.tag("v1"), Digest: digest(m[0])}},
		Manifests: []oci.Digest{digest(m[0])}, Reason: meta.ReasonRetention})
	f.ok(err)
	f.equal("discarded", len(done.Tags)+len(done.Manifests), 0)
	f.pass(100 * grace)
	_, err = f.Prune(f.ctx, a, f.env.Now().Add(time.Hour), 100)
	f.ok(err)
	f.collect()
	f.equal("v1", f.manifestAt(a, "v1"), digest(m[0]))
	f.equal("its layer", f.has(a, "layer"), true)
	f.equal("history", f.history(a, "", m), old)
}

func immutableRestore(f *fixture) {
	a := f.repo("fixed")
	m := f.images(a, 2)
	f.put(a, m[0], "was")
	f.ok(f.DeleteManifest(f.ctx, a, digest(m[0]), event.Actor{}))
	f.put(a, m[1], "v1")
	_, err := f.SetTag(f.ctx, meta.TagSet{Repo: a, Tag: f.tag("v1"), To: digest(m[0])})
	f.fixed("set to what is in the trash", err)
	f.equal("what is in the trash", f.hasManifest(a, digest(m[0]).String()), false)

	b := f.repo("b")
	f.push(b, "layer")
	f.put(b, m[0], "v1", "latest")
	entry, err := f.DeleteRepo(f.ctx, b, event.Actor{})
	f.ok(err)
	_, err = f.Restore(f.ctx, meta.Restore{ID: entry, As: a, Force: true})
	f.fixed("restore over it", err)
	f.equal("v1", f.manifestAt(a, "v1"), digest(m[1]))
	f.equal("latest", f.manifestAt(a, "latest"), oci.Digest{})
	done, err := f.Restore(f.ctx, meta.Restore{ID: entry, As: a})
	f.ok(err)
	f.equal("kept", done.Kept, []meta.Tag{{Name: f.tag("v1"), Digest: digest(m[1])}})
	f.equal("latest", f.manifestAt(a, "latest"), digest(m[0]))
}

func immutableSame(f *fixture) {
	a := f.repo("fixed")
	m := f.images(a, 1)
	f.put(a, m[0], "v1")
	f.put(a, m[0], "v1")
	f.put(a, m[0], "v1", "v2") // in a transaction, since v2 is new
	f.setTag(meta.TagSet{Repo: a, Tag: f.tag("v1"), To: digest(m[0])})
	f.equal("history", f.history(a, "v1", m), []string{"v1 >0 push by alice"})
	f.reopen()
	other := f.manifest(shape{parts: []string{"layer"}, note: "other"})
	_, err := f.tryPut(a, other, "v1")
	f.fixed("put after a restart", err)
}

func immutableOthers(f *fixture) {
	for _, name := range []string{"fixed", "a"} {
		repo, tag := f.repo(name), "latest"
		if name == "a" {
			tag = "v1"
		}
		m := f.images(repo, 2)
		f.put(repo, m[0], tag)
		f.put(repo, m[1], tag)
		f.setTag(meta.TagSet{Repo: repo, Tag: f.tag(tag)})
		f.ok(f.DeleteTag(f.ctx, repo, f.tag(tag), event.Actor{}))
		f.ok(f.DeleteManifest(f.ctx, repo, digest(m[1]), event.Actor{}))
	}
}

func immutableTogether(f *fixture) {
	a := f.repo("fixed")
	m := f.images(a, 2)
	f.put(a, m[0], "v1", "latest")
	_, err := f.tryPut(a, m[1], "latest", "v1", "new")
	f.fixed("put", err)
	f.equal("latest", f.manifestAt(a, "latest"), digest(m[0]))
	f.equal("new", f.manifestAt(a, "new"), oci.Digest{})
	f.equal("the manifest", f.hasManifest(a, digest(m[1]).String()), false)
}

func immutableRegistry2(f *fixture) {
	p, m := f.take("fixed")
	f.equal("overridden at first", len(f.takeRepo(p)), 0)
	other := f.manifest(shape{parts: []string{"config", "layer"}, note: "other"})
	moved := f.takeRepo(meta.RepoTake{Repo: p.Repo, Manifests: []meta.TakenManifest{takenManifest(other)},
		Tags: []meta.TakenTag{f.takenTag("v1", digest(other))}})
	if len(moved) != 1 || moved[0].From != digest(m) || moved[0].To != digest(other) || moved[0].Tag != f.tag("v1") {
		f.Errorf("got %v, want that v1 was moved", moved)
	}
	gone := f.takeRepo(meta.RepoTake{Repo: p.Repo, Gone: []meta.Link{link(meta.RevisionLink, digest(other).String(), digest(other))}})
	if len(gone) != 1 || gone[0].From != digest(other) || !gone[0].To.IsZero() {
		f.Errorf("got %v, want that v1 was removed", gone)
	}
}

func immutableRace(f *fixture) {
	a := f.repo("fixed")
	const pushes = 16
	m := f.images(a, pushes)
	errs := make(chan error, pushes)
	for i := range m {
		go func() {
			_, err := f.PutManifest(f.ctx, meta.ManifestPut{Repo: a, Digest: digest(m[i]), Manifest: m[i], Tags: []oci.Tag{f.tag("v1")}})
			if err != nil {
				err = fmt.Errorf("%d: %w", i, err)
			}
			errs <- err
		}()
	}
	won := 0
	for range m {
		err := <-errs
		if err == nil {
			won++
			continue
		}
		f.fixed("put", err)
	}
	f.equal("pushes that won", won, 1)
	f.equal("history", len(f.history(a, "v1", m)), 1)
}
