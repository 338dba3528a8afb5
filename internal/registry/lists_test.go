package registry_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"berth/internal/oci"
	"berth/internal/registry"
)

// pages walks a list with pages of limit and checks that all but the last are
// full.
func pages[T any](t *testing.T, limit int, page func(registry.Page) (registry.List[T], error)) []T {
	t.Helper()
	var all []T
	for p := (registry.Page{Limit: limit}); ; {
		list, err := page(p)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, list.Items...)
		if list.Next == "" {
			return all
		}
		if len(list.Items) != limit {
			t.Errorf("a page that isn't the last has %d items, want %d", len(list.Items), limit)
		}
		if list.Next <= p.After {
			t.Fatalf("the next page begins behind %q, this one behind %q", list.Next, p.After)
		}
		p.After = list.Next
	}
}

// TestRepos is about a catalog of which a caller may see a part.
func TestRepos(t *testing.T) {
	e := newEnv(t)
	var names []string
	for i := range 12 {
		name := fmt.Sprintf("r%02d", i)
		names = append(names, name)
		e.put(repo(t, name), e.image(repo(t, name), ""), "x")
	}
	e.push(repo(t, "r005"), randomBytes(1)) // without a manifest it isn't listed
	for name, readable := range map[string]func(oci.Repo) bool{
		"all":     nil,
		"none":    func(oci.Repo) bool { return false },
		"even":    func(r oci.Repo) bool { return strings.ContainsAny(r.String()[2:], "02468") },
		"last":    func(r oci.Repo) bool { return r.String() == "r11" },
		"first":   func(r oci.Repo) bool { return r.String() == "r00" },
		"not one": func(r oci.Repo) bool { return r.String() != "r05" },
	} {
		var want []string
		for _, s := range names {
			if readable == nil || readable(repo(t, s)) {
				want = append(want, s)
			}
		}
		for limit := 1; limit <= 13; limit++ {
			var got []string
			for _, r := range pages(t, limit, func(p registry.Page) (registry.List[oci.Repo], error) {
				return e.core.Repos(t.Context(), p, readable)
			}) {
				got = append(got, r.String())
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s in pages of %d: got %v, want %v", name, limit, got, want)
			}
		}
	}
	list, err := e.core.Repos(t.Context(), registry.Page{After: "r095", Limit: 2}, nil)
	if err != nil || fmt.Sprint(list.Items) != "[r10 r11]" || list.Next != "" {
		t.Errorf("behind a name that isn't there: got %v, %v", list, err)
	}
}

// A looks counts what is asked for of lists of repositories.
type looks struct {
	registry.Records
	calls, repos int
}

func (l *looks) Holders(ctx context.Context, d oci.Digest, limit int) ([]oci.Repo, error) {
	list, err := l.Records.Holders(ctx, d, limit)
	l.calls++
	l.repos += len(list)
	return list, err
}

// TestMountFromOneOfMany holds that a mount which names no repository finds the
// one that the caller may pull from, and reads no more of them than it needs.
func TestMountFromOneOfMany(t *testing.T) {
	e := newEnv(t)
	records := &looks{Records: e.core.Records}
	e.core.Records = records
	content := randomBytes(10)
	for i := range 40 {
		e.push(repo(t, fmt.Sprintf("r%02d", i)), content)
	}
	d := oci.SHA256.FromBytes(content)
	for i := range 40 {
		only := fmt.Sprintf("r%02d", i)
		m := registry.Mount{To: repo(t, "to"+only), Digest: d, Readable: func(r oci.Repo) bool { return r.String() == only }}
		if err := e.core.MountBlob(t.Context(), m); err != nil {
			t.Fatalf("only from %s: %v", only, err)
		}
	}
	records.calls, records.repos = 0, 0
	if err := e.core.MountBlob(t.Context(), registry.Mount{To: repo(t, "x"), Digest: d}); err != nil || records.calls != 1 || records.repos > 10 {
		t.Errorf("got %v after %d look-ups of %d repositories", err, records.calls, records.repos)
	}
}

func (l *looks) Repos(ctx context.Context, after string, limit int) ([]oci.Repo, error) {
	list, err := l.Records.Repos(ctx, after, limit)
	l.calls++
	l.repos += len(list)
	return list, err
}

func manyNames() (names []string) {
	for i := range 90 {
		names = append(names, fmt.Sprintf("many/%02d", i))
	}
	return names
}

// TestReposWithin holds that a list which is limited to some beginnings of names
// is the same as without.
func TestReposWithin(t *testing.T) {
	e := newEnv(t)
	names := append(manyNames(), "a", "a-b", "a--b", "a.b", "a/b", "a0", "a_b", "aa", "b/a", "b-a", "zz")
	slices.Sort(names)
	for _, name := range names {
		e.put(repo(t, name), e.image(repo(t, name), ""), "x")
	}
	for _, within := range [][]string{nil, {}, {""}, {"a"}, {"a/"}, {"a-"}, {"a", "b/", "zz"}, {"a--b", "a/b", "zz"}, {"a0"}, {"A", "aaa", "c", "zzz"}, {"many/8", "zz"}} {
		inside := func(name string) bool {
			return within == nil || slices.ContainsFunc(within, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
		}
		for limit := 1; limit <= len(names)+1; limit += 3 {
			for _, odd := range []bool{false, true} {
				readable := func(r oci.Repo) bool { return inside(r.String()) && (!odd || len(r.String())%2 == 1) }
				var got, want []string
				for _, name := range names {
					if readable(repo(t, name)) {
						want = append(want, name)
					}
				}
				for _, r := range pages(t, limit, func(p registry.Page) (registry.List[oci.Repo], error) {
					p.Within = within
					return e.core.Repos(t.Context(), p, readable)
				}) {
					got = append(got, r.String())
				}
				if !slices.Equal(got, want) {
					t.Fatalf("within %q in pages of %d: got %v, want %v", within, limit, got, want)
				}
			}
		}
	}
}

// TestReposSkips holds that repositories are not even looked at which nobody can
// mean.
func TestReposSkips(t *testing.T) {
	e := newEnv(t)
	records := &looks{Records: e.core.Records}
	e.core.Records = records
	for _, name := range append(manyNames(), "a", "a0", "zz") {
		e.put(repo(t, name), e.image(repo(t, name), ""), "x")
	}
	page := registry.Page{Limit: 3, Within: []string{"a0", "many/89", "zz"}}
	list, err := e.core.Repos(t.Context(), page, func(r oci.Repo) bool { return !strings.HasPrefix(r.String(), "many/0") })
	if err != nil || fmt.Sprint(list.Items) != "[a0 many/89 zz]" || records.calls > 4 || records.repos > 16 {
		t.Errorf("got %v, %v in %d look-ups of %d repositories", list.Items, err, records.calls, records.repos)
	}
	for _, after := range []string{"", "A", "many/", "many/89", "zz", "zzz"} {
		list, err := e.core.Repos(t.Context(), registry.Page{After: after, Limit: 9, Within: []string{"a0", "many/89", "zz"}}, nil)
		n := 3
		if after > "a0" {
			n--
		}
		if after >= "many/89" {
			n--
		}
		if after >= "zz" {
			n--
		}
		if err != nil || len(list.Items) != n {
			t.Errorf("behind %q: got %v, %v, want %d", after, list.Items, err, n)
		}
	}
}

func TestTags(t *testing.T) {
	a := repo(t, "a")
	e := newEnv(t)
	want := []string{"0", "A", "Z", "_", "a", "a.1", "a1", "b"} // in byte order
	e.put(a, e.image(a, ""), want...)
	for limit := 1; limit <= len(want)+1; limit++ {
		var got []string
		for _, s := range pages(t, limit, func(p registry.Page) (registry.List[oci.Tag], error) { return e.core.Tags(t.Context(), a, p) }) {
			got = append(got, s.String())
		}
		if !slices.Equal(got, want) {
			t.Errorf("in pages of %d: got %v, want %v", limit, got, want)
		}
	}
}

// wantReferrers checks the referrers of d in every page size up to limit.
func (e *env) wantReferrers(r oci.Repo, d oci.Digest, artifactType string, limit int, want ...oci.Manifest) {
	e.t.Helper()
	var names []string
	for _, m := range want {
		names = append(names, child(m).Digest.String())
	}
	slices.Sort(names)
	for ; limit > 0; limit-- {
		var got []string
		for _, d := range pages(e.t, limit, func(p registry.Page) (registry.List[oci.Entry], error) {
			return e.core.Referrers(e.t.Context(), r, d, artifactType, p)
		}) {
			got = append(got, d.Digest.String())
		}
		if !slices.Equal(got, names) {
			e.t.Errorf("referrers of type %q in pages of %d: got %v, want %v", artifactType, limit, got, names)
		}
	}
}

// TestReferrers is about the two places where referrers are found: in manifests
// with a subject, and in the index that older clients keep under a tag.
func TestReferrers(t *testing.T) {
	const red, blue = "application/x.red", "application/x.blue"
	a := repo(t, "a")
	e := newEnv(t)
	m := e.image(a, "subject")
	subject := child(m)
	d := e.put(a, m, "x")
	var all, reds []oci.Manifest
	var listed []oci.Descriptor // in the fallback index
	for i := range 9 {
		kind, s := red, &subject
		if i%2 == 1 {
			kind = blue
		}
		if i < 3 {
			s = nil // only in the fallback index
		}
		r := doc{subject: s, artifactType: kind, note: fmt.Sprint(i)}.manifest(t)
		e.put(a, r)
		all = append(all, r)
		if kind == red {
			reds = append(reds, r)
		}
		if i < 6 { // three of them are in both
			entry := child(r)
			entry.ArtifactType = kind
			listed = append(listed, entry)
		}
	}
	absent := layer([]byte("not there"))
	absent.MediaType, absent.ArtifactType = oci.MediaTypeImage, red
	index := doc{mediaType: oci.MediaTypeIndex, manifests: append(listed, absent)}.manifest(t)
	fallback := "sha256-" + d.Hex()
	e.put(a, index, fallback)
	e.put(repo(t, "b"), index, fallback) // another repository's says nothing

	e.wantReferrers(a, d, "", 10, all...)
	e.wantReferrers(a, d, red, 6, reds...)
	e.wantReferrers(a, d, "application/x.green", 2)
	e.wantReferrers(a, child(index).Digest, "", 2)
	e.wantReferrers(repo(t, "b"), d, "", 2)
	e.wantManifest(a, fallback, index)

	// What is damaged is not listed, and lists nothing.
	e.sql(`UPDATE manifests SET body = replace(body, 'note', 'nope') WHERE digest = ?`, child(all[0]).Digest.String())
	e.wantReferrers(a, d, "", 10, all[1:]...)
	e.sql(`UPDATE manifests SET body = replace(body, 'note', 'nope') WHERE digest = ?`, child(index).Digest.String())
	e.wantReferrers(a, d, "", 10, all[3:]...)
}

// TestReferrerDescriptor is about what a list tells of a referrer.
func TestReferrerDescriptor(t *testing.T) {
	a := repo(t, "a")
	e := newEnv(t)
	subject := child(e.image(a, ""))
	r := doc{subject: &subject, note: "hello"}.manifest(t) // the type is its config's
	e.put(a, r)
	list, err := e.core.Referrers(t.Context(), a, subject.Digest, "application/vnd.oci.empty.v1+json", registry.Page{Limit: 1})
	want, err2 := r.Descriptor(child(r).Digest).Entry()
	if err := errors.Join(err, err2); err != nil || len(list.Items) != 1 || list.Items[0] != want {
		t.Errorf("got %+v, %v, want %+v", list.Items, err, want)
	}
}

// TestFallbackTagHoldsNoIndex holds that other uses of such a tag are no error.
func TestFallbackTagHoldsNoIndex(t *testing.T) {
	a := repo(t, "a")
	e := newEnv(t)
	m := e.image(a, "")
	d := oci.SHA256.FromBytes(nil)
	e.put(a, m, "sha256-"+d.Hex())
	e.wantReferrers(a, d, "", 1)
}
