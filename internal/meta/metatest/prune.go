package metatest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
)

func pruneTests() []test {
	return []test{
		{name: "what would be collected is listed", run: pruneUnneeded},
		{name: "a tag keeps what it leads to", run: pruneUntagged},
		{name: "what was pushed lately stays", run: pruneYoung},
		{name: "manifests go in bounded steps, before their parts", run: pruneSteps},
		{name: "a tag against the prune keeps its manifest or is refused", run: pruneRace, zero: true},
	}
}

// unneeded lists all pages of n.
func (f *fixture) unneeded(n int) []meta.Member {
	f.Helper()
	var all []meta.Member
	for after := ""; ; {
		list, next, err := f.Unneeded(f.ctx, f.env.Grace, after, n)
		f.ok(err)
		if all = append(all, list...); next == "" {
			return all
		}
		after = next
	}
}

func pruneUnneeded(f *fixture) {
	a, b := f.repo("a"), f.repo("b")
	for _, s := range []string{"x", "yy", "zzz"} {
		f.push(a, s)
	}
	f.ok(f.LinkBlob(f.ctx, a, b, digestOf("zzz"), event.Actor{}))
	f.put(a, f.manifest(shape{parts: []string{"yy"}}))
	f.pass(grace - 1)
	f.equal("too early", f.unneeded(10), []meta.Member(nil))
	f.push(a, "young")
	f.pass(1)
	want := []meta.Member{{Repo: a, Digest: digestOf("x"), Size: 1, Holders: 1, Rested: grace},
		{Repo: a, Digest: digestOf("zzz"), Size: 3, Holders: 2, Rested: grace}, {Repo: b, Digest: digestOf("zzz"), Size: 3, Holders: 2, Rested: grace}}
	byRepo := func(x, y meta.Member) int {
		return slices.Compare([]string{x.Repo.String(), fmt.Sprint(x.Size)}, []string{y.Repo.String(), fmt.Sprint(y.Size)})
	}
	for _, n := range []int{1, 2, 100} {
		got := f.unneeded(n)
		slices.SortFunc(got, byRepo)
		f.equal(fmt.Sprintf("pages of %d", n), got, want)
	}
	f.equal("collected", f.collect(), len(want))
	f.equal("after", f.unneeded(10), []meta.Member(nil))
	if _, _, err := f.Unneeded(f.ctx, 0, "nonsense", 1); err == nil {
		f.Error("a place that is none was accepted")
	}
}

func byDigest(a, b oci.Digest) int { return strings.Compare(a.String(), b.String()) }

// digests returns the digests of manifests, in order.
func digests(list ...oci.Manifest) []oci.Digest {
	var all []oci.Digest
	for _, m := range list {
		all = append(all, digest(m))
	}
	slices.SortFunc(all, byDigest)
	return all
}

// untagged returns the digests of what Untagged finds.
func (f *fixture) untagged(repo oci.Repo, before time.Time) (manifests, blobs []oci.Digest) {
	f.Helper()
	m, b, err := f.Untagged(f.ctx, repo, before)
	f.ok(err)
	for _, x := range m {
		manifests = append(manifests, x.Digest)
	}
	for _, x := range b {
		blobs = append(blobs, x.Digest)
	}
	return manifests, blobs
}

func (f *fixture) pruneAll(repo oci.Repo, before time.Time, limit int) []oci.Digest {
	f.Helper()
	var all []oci.Digest
	for {
		gone, err := f.Prune(f.ctx, repo, before, limit)
		f.ok(err)
		if len(gone) == 0 {
			return all
		}
		all = append(all, gone...)
	}
}

func pruneUntagged(f *fixture) {
	a := f.repo("a")
	for _, s := range []string{"shared", "kept", "old", "child"} {
		f.push(a, s)
	}
	child := f.manifest(shape{parts: []string{"child", "shared"}})
	kept := f.manifest(shape{parts: []string{"kept", "shared"}})
	old := f.manifest(shape{parts: []string{"old", "shared"}})
	f.put(a, child)
	index := f.manifest(shape{children: []oci.Manifest{child}})
	f.put(a, index, "multi")
	f.put(a, kept, "v1")
	signature := f.manifest(shape{subject: &child, note: "signature"})
	signed := f.manifest(shape{subject: &signature, note: "of the signature"})
	orphan := f.manifest(shape{subject: &old, note: "of what goes"})
	lost := f.manifest(shape{children: []oci.Manifest{old}, note: "untagged index"})
	stray := f.manifest(shape{subject: new(f.manifest(shape{note: "never pushed"})), note: "of nothing"})
	for _, m := range []oci.Manifest{old, signature, signed, orphan, lost, stray} {
		f.put(a, m)
	}
	f.pass(grace)
	now := f.env.Now()
	manifests, blobs := f.untagged(a, now)
	f.equal("untagged", manifests, digests(old, orphan, lost, stray))
	f.equal("their blobs", blobs, []oci.Digest{digestOf("old")})
	_, _, err := f.Untagged(f.ctx, f.repo("none"), now)
	f.is(err, meta.ErrNotFound)
	_, err = f.Prune(f.ctx, f.repo("none"), now, 1)
	f.is(err, meta.ErrNotFound)

	gone := f.pruneAll(a, now, 100)
	slices.SortFunc(gone, byDigest)
	f.equal("pruned", gone, digests(old, orphan, lost, stray))
	for _, m := range []oci.Manifest{child, index, kept, signature, signed} {
		f.equal("there", f.hasManifest(a, digest(m).String()), true)
	}
	f.equal("collected before the grace", f.collect(), 0)
	f.pass(grace)
	f.equal("collected", f.collect(), 1)
	f.equal("left", []bool{f.has(a, "old"), f.has(a, "shared")}, []bool{false, true})
}

func pruneYoung(f *fixture) {
	a := f.repo("a")
	f.put(a, f.manifest(shape{note: "old"}))
	f.pass(time.Minute)
	before := f.env.Now()
	f.pass(time.Minute)
	child := f.manifest(shape{note: "child"})
	f.put(a, child)
	f.equal("pruned", len(f.pruneAll(a, before, 10)), 1)
	f.put(a, f.manifest(shape{children: []oci.Manifest{child}}), "v1")
	f.pass(time.Hour)
	f.equal("pruned", len(f.pruneAll(a, f.env.Now(), 10)), 0)
}

func pruneSteps(f *fixture) {
	a := f.repo("a")
	m := f.manifest(shape{note: "innermost"})
	var all []oci.Manifest
	for i := range 5 {
		all = append(all, m)
		f.put(a, m)
		m = f.manifest(shape{children: []oci.Manifest{m}, note: fmt.Sprint(i)})
	}
	f.pass(1 * time.Second)
	gone, err := f.Prune(f.ctx, a, f.env.Now(), 10)
	f.ok(err)
	f.equal("the outermost goes first", gone, []oci.Digest{digest(all[4])})
	f.equal("pruned", f.pruneAll(a, f.env.Now(), 1), []oci.Digest{digest(all[3]), digest(all[2]), digest(all[1]), digest(all[0])})
	repos, err := f.Repos(f.ctx, "", 10)
	f.ok(err)
	f.equal("repositories with manifests", len(repos), 0)
}

// pruneRace lets indexes of two children be pushed against the prune. Each is
// whole, or was refused.
func pruneRace(f *fixture) {
	a := f.repo("a")
	crowd(8, func(i int, chance *rand.Rand) {
		for n := range 8 {
			if i == 0 {
				if _, err := f.Prune(f.ctx, a, f.env.Now().Add(time.Hour), 2); err != nil && !errors.Is(err, meta.ErrNotFound) {
					f.Errorf("prune: %v", err)
				}
				continue
			}
			child := f.manifest(shape{note: fmt.Sprint(chance.IntN(4))})
			f.put(a, child)
			index := f.manifest(shape{children: []oci.Manifest{child}, note: fmt.Sprint(i, n)})
			_, err := f.tryPut(a, index, "latest")
			switch {
			case err == nil:
			case len(asMissing(err)) == 0:
				f.Errorf("put: %v", err)
			}
		}
	})
	if !f.hasManifest(a, "latest") {
		return // every one was refused
	}
	f.pruneAll(a, f.env.Now().Add(time.Hour), 10)
	m, err := f.FindManifest(f.ctx, a, oci.Ref{Tag: f.tag("latest")})
	f.ok(err)
	parsed, err := oci.ParseManifest(m.MediaType, m.Body)
	f.ok(err)
	for _, part := range parsed.Children {
		f.equal("the child of latest is there", f.hasManifest(a, part.Digest.String()), true)
	}
}
