package metatest

import (
	"fmt"
	"slices"
	"strings"

	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
)

func listTests() []test {
	return []test{
		{name: "repositories with a manifest are listed", run: listRepos},
		{name: "repositories are paged in byte order", run: listReposPaged},
		{name: "tags are paged in byte order", run: listTags},
		{name: "all that a repository has is listed in pages", run: listInventory},
		{name: "referrers are listed by type and paged", run: listReferrers},
	}
}

func listRepos(f *fixture) {
	a, b, c := f.repo("a"), f.repo("b"), f.repo("c")
	m := f.manifest(shape{note: "x"})
	f.put(a, m, "v1")
	f.push(b, "x")
	f.upload(c) // which is nothing yet
	f.push(f.repo("e"), "gone")
	f.ok(f.UnlinkBlob(f.ctx, f.repo("e"), digestOf("gone"), event.Actor{}))
	list := func(want ...oci.Repo) {
		f.Helper()
		got, err := f.Repos(f.ctx, "", 10)
		f.ok(err)
		f.equal("repositories", got, want)
	}
	list(a)
	f.put(b, m)
	list(a, b)
	f.ok(f.DeleteManifest(f.ctx, a, digest(m), event.Actor{}))
	list(b)
	for name, want := range map[string]bool{"a": true, "b": true, "c": false, "d": false, "e": true} {
		has, err := f.HasRepo(f.ctx, f.repo(name))
		f.ok(err)
		f.equal("has "+name, has, want)
	}
}

// page collects a list in pages of n.
func page[T any](f *fixture, n int, name func(T) string, get func(after string) ([]T, error)) []string {
	f.Helper()
	var all []string
	for after := ""; ; after = all[len(all)-1] {
		part, err := get(after)
		f.ok(err)
		if len(part) > n {
			f.Fatalf("a page of %d, want at most %d", len(part), n)
		}
		for _, x := range part {
			all = append(all, name(x))
		}
		if len(part) < n {
			return all
		}
	}
}

func listReposPaged(f *fixture) {
	names := []string{"a", "a-b", "a--b", "a.b", "a/b", "a0", "a_b", "a__b", "aa", "b/a", "b-a", "zz"}
	for _, name := range names {
		f.put(f.repo(name), f.manifest(shape{note: name}))
	}
	slices.Sort(names)
	for _, n := range []int{1, 2, len(names), 100} {
		got := page(f, n, oci.Repo.String, func(after string) ([]oci.Repo, error) { return f.Repos(f.ctx, after, n) })
		f.equal(fmt.Sprintf("pages of %d", n), got, names)
	}
	got, err := f.Repos(f.ctx, "a/zzz not there", 1)
	f.ok(err)
	f.equal("behind what is not there", got, []oci.Repo{f.repo("a0")})
	got, err = f.Repos(f.ctx, "\xff", 1)
	f.ok(err)
	f.equal("behind everything", len(got), 0)
}

func listTags(f *fixture) {
	a := f.repo("a")
	names := []string{"V1", "v1", "_x", "v1-a", "v1.a", "v1_a", "v10", "v2", "1", "latest", "LATEST", "a", "Z"}
	m := f.manifest(shape{note: "x"})
	f.put(a, m, names...)
	f.put(f.repo("a/b"), m, "other")
	slices.Sort(names)
	name := func(t meta.Tag) string { return t.Name.String() }
	for _, n := range []int{1, 3, len(names), 100} {
		got := page(f, n, name, func(after string) ([]meta.Tag, error) { return f.Tags(f.ctx, a, after, n) })
		f.equal(fmt.Sprintf("pages of %d", n), got, names)
		got = page(f, n, oci.Tag.String, func(after string) ([]oci.Tag, error) { return f.TagNames(f.ctx, a, after, n) })
		f.equal(fmt.Sprintf("names in pages of %d", n), got, names)
	}
	for after, want := range map[string]string{"v1": "v1-a", "v1!": "v1-a", "v1-": "v1-a", "v1_": "v1_a", "V": "V1", "V1\x00": "Z", "M": "V1"} {
		got, err := f.Tags(f.ctx, a, after, 1)
		f.ok(err)
		f.equal("behind "+after, got, []meta.Tag{{Name: f.tag(want), Digest: digest(m)}})
		named, err := f.TagNames(f.ctx, a, after, 1)
		f.ok(err)
		f.equal("name behind "+after, named, []oci.Tag{f.tag(want)})
	}
	for _, after := range []string{"v2", "zzz", "é", "'; DROP TABLE tags; --"} {
		got, err := f.Tags(f.ctx, a, after, 100)
		f.ok(err)
		want := 0
		for _, s := range names {
			if s > after {
				want++
			}
		}
		f.equal("behind "+after, len(got), want)
		named, err := f.TagNames(f.ctx, a, after, 100)
		f.ok(err)
		f.equal("names behind "+after, len(named), want)
	}
	got, err := f.Tags(f.ctx, f.repo("never"), "", 10)
	f.ok(err)
	f.equal("tags of nothing", len(got), 0)
	named, err := f.TagNames(f.ctx, f.repo("never"), "", 10)
	f.ok(err)
	f.equal("names of nothing", len(named), 0)
}

func listReferrers(f *fixture) {
	a := f.repo("a")
	subject := f.manifest(shape{note: "image"})
	var all, signatures []string
	for i := range 7 {
		s := shape{note: fmt.Sprint(i), subject: &subject, kind: "application/signature"}
		if i%2 == 1 {
			s.kind = "application/sbom"
		}
		m := f.manifest(s)
		f.put(a, m)
		all = append(all, digest(m).String())
		if i%2 == 0 {
			signatures = append(signatures, digest(m).String())
		}
		f.put(f.repo("b"), f.manifest(shape{note: "b" + s.note, subject: &subject}))
	}
	slices.Sort(all)
	slices.Sort(signatures)
	name := func(e oci.Entry) string { return e.Digest.String() }
	ask := func(kind, after string, n int) meta.ReferrerQuery {
		return meta.ReferrerQuery{Repo: a, Subject: digest(subject), Type: kind, After: after, Limit: n}
	}
	for _, n := range []int{1, 2, 100} {
		for kind, want := range map[string][]string{"": all, "application/signature": signatures, "application/sig": nil} {
			got := page(f, n, name, func(after string) ([]oci.Entry, error) { return f.Referrers(f.ctx, ask(kind, after, n)) })
			f.equal("referrers of type "+kind, got, want)
		}
	}
	f.ok(f.DeleteManifest(f.ctx, a, must(oci.ParseDigest(all[0])), event.Actor{}))
	m := f.manifest(shape{subject: &subject, kind: "a/b", note: strings.Repeat("ü", 3)})
	f.put(a, m)
	got, err := f.Referrers(f.ctx, ask("a/b", "", 10))
	f.ok(err)
	f.equal("descriptor", got, []oci.Entry{must(m.Descriptor(digest(m)).Entry())})
	none, err := f.Referrers(f.ctx, meta.ReferrerQuery{Repo: a, Subject: digestOf("nothing"), Limit: 10})
	f.ok(err)
	f.equal("referrers of nothing", len(none), 0)
	f.boundedReferrers(ask("", "", 100))
}

// boundedReferrers checks a page of every size in bytes.
func (f *fixture) boundedReferrers(q meta.ReferrerQuery) {
	f.Helper()
	whole, err := f.Referrers(f.ctx, q)
	f.ok(err)
	length := 0
	for _, e := range whole {
		length += len(e.JSON)
	}
	for q.Bytes = 1; q.Bytes < length+1; q.Bytes += 37 {
		got, err := f.Referrers(f.ctx, q)
		f.ok(err)
		n, size := 0, 0
		for n < len(whole) && (size <= q.Bytes || n < 2) {
			size += len(whole[n].JSON)
			n++
		}
		f.equal(fmt.Sprintf("referrers of %d bytes", q.Bytes), got, whole[:n])
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // a test's own mistake
	}
	return v
}

func listInventory(f *fixture) {
	a, b := f.repo("a"), f.repo("b")
	f.push(b, "elsewhere")
	var blobs, manifests []string
	for _, s := range []string{"x", "y", "z"} {
		f.push(a, s)
		m := f.manifest(shape{parts: []string{s}})
		f.put(a, m)
		blobs, manifests = append(blobs, digestOf(s).String()), append(manifests, digest(m).String())
	}
	slices.Sort(blobs)
	slices.Sort(manifests)
	f.equal("blobs", page(f, 2, func(b meta.Blob) string { return b.Digest.String() }, func(after string) ([]meta.Blob, error) {
		return f.RepoBlobs(f.ctx, a, after, 2)
	}), blobs)
	f.equal("manifests", page(f, 2, func(m meta.Manifest) string { return m.Digest.String() }, func(after string) ([]meta.Manifest, error) {
		return f.RepoManifests(f.ctx, a, after, 2)
	}), manifests)
	one, err := f.RepoBlobs(f.ctx, a, "", 1)
	f.ok(err)
	has, err := f.FindBlob(f.ctx, a, one[0].Digest)
	f.ok(err)
	f.equal("key and size", [2]any{one[0].Key, one[0].Size}, [2]any{has.Key, has.Size})
	m, err := f.RepoManifests(f.ctx, a, "", 1)
	f.ok(err)
	f.equal("body", oci.SHA256.FromBytes(m[0].Body), m[0].Digest)
}
