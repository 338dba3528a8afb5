package model_test

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"berth/internal/blob"
	"berth/internal/meta"
	"berth/internal/oci"
)

// at names something in a repository.
type at struct {
	repo oci.Repo
	name string // a digest or a tag
}

// A member is a repository's right to a blob.
type member struct {
	touched   time.Duration // ticks
	candidate bool          // the collector is to look at it
}

// A state is what the records say. The model says what each step makes of it;
// what happened is read from the database. Where a step failed because of a
// fault, either the state before or the one after it may be true.
type state struct {
	manifests map[at]bool // whether its body is what was pushed
	tags      map[at]string
	members   map[at]member
	lost      map[at]time.Duration // ticks

	// What follows is only read.
	contents map[string]content // by digest
	uploads  map[meta.UploadID]upload
}

type content struct {
	key     blob.Key
	size    int64
	damaged bool
}

type upload struct {
	size  int64
	saved time.Duration // ticks
}

func (s state) clone() state {
	s.manifests, s.tags = maps.Clone(s.manifests), maps.Clone(s.tags)
	s.members, s.lost = maps.Clone(s.members), maps.Clone(s.lost)
	return s
}

// holders lists the manifests of repo that need d.
func (s state) holders(p *pool, repo oci.Repo, d string) []string {
	var list []string
	for m := range s.manifests {
		if m.repo != repo {
			continue
		}
		for _, part := range p.byDigest[mustDigest(m.name)].parts() {
			if part.Digest.String() == d {
				list = append(list, m.name)
			}
		}
	}
	return list
}

func mustDigest(s string) oci.Digest {
	d, err := oci.ParseDigest(s)
	if err != nil {
		panic(err)
	}
	return d
}

// release is what the loss of manifest m does to its parts.
func (s state) release(p *pool, m at, now time.Duration) {
	for _, part := range p.byDigest[mustDigest(m.name)].parts() {
		key := at{m.repo, part.Digest.String()}
		if _, ok := s.members[key]; ok {
			s.members[key] = member{now, true}
		}
	}
}

// differences lists what is not the same in a and b.
func differences(p *pool, want, got state) []string {
	var list []string
	list = append(list, diff(p, "manifest", want.manifests, got.manifests)...)
	list = append(list, diff(p, "tag", want.tags, got.tags)...)
	list = append(list, diff(p, "member", want.members, got.members)...)
	return append(list, diff(p, "tombstone", want.lost, got.lost)...)
}

func diff[V comparable](p *pool, what string, want, got map[at]V) []string {
	var list []string
	keys := maps.Clone(want)
	maps.Copy(keys, got)
	for k := range keys {
		w, wok := want[k]
		g, gok := got[k]
		if w == g && wok == gok {
			continue
		}
		name := k.name
		if d, err := oci.ParseDigest(k.name); err == nil {
			name = p.name(d)
		}
		list = append(list, fmt.Sprintf("%s %s of %s: got %v (there: %v), want %v (there: %v)", what, name, k.repo, g, gok, w, wok))
	}
	slices.Sort(list)
	return list
}

// peek reads the state from the database.
func (w *world) peek() state {
	w.t.Helper()
	s := state{
		manifests: make(map[at]bool), tags: make(map[at]string), members: make(map[at]member), lost: make(map[at]time.Duration),
		contents: make(map[string]content), uploads: make(map[meta.UploadID]upload),
	}
	var repo, name, more string
	var body []byte
	var n int64
	var flag bool
	where := func() at { return at{w.repo(repo), name} }
	w.rows(`SELECT r.name, m.digest, m.body FROM manifests m JOIN repos r ON r.id = m.repo_id`, func() {
		s.manifests[where()] = mustDigest(name).Algorithm().FromBytes(body).String() == name
	}, &repo, &name, &body)
	w.rows(`SELECT r.name, t.name, t.digest FROM tags t JOIN repos r ON r.id = t.repo_id`, func() { s.tags[where()] = more }, &repo, &name, &more)
	w.rows(`SELECT r.name, m.digest, m.touched, m.candidate FROM repo_blobs m JOIN repos r ON r.id = m.repo_id`, func() {
		s.members[where()] = member{time.Duration(n), flag}
	}, &repo, &name, &n, &flag)
	w.rows(`SELECT r.name, l.digest, l.lost FROM losses l JOIN repos r ON r.id = l.repo_id`, func() { s.lost[where()] = time.Duration(n) }, &repo, &name, &n)
	w.rows(`SELECT digest, key, size, damaged FROM blobs`, func() { s.contents[name] = content{blob.Key(more), n, flag} }, &name, &more, &n, &flag)
	var saved int64
	w.rows(`SELECT id, size, saved FROM uploads`, func() { s.uploads[meta.UploadID(name)] = upload{n, time.Duration(saved)} }, &name, &n, &saved)
	return s
}

func (w *world) repo(s string) oci.Repo {
	for _, r := range w.pool.repos {
		if r.String() == s {
			return r
		}
	}
	w.fatalf("there is a repository %q", s)
	return oci.Repo{}
}

// rows calls row for each row of a query, after dest was set from it.
func (w *world) rows(query string, row func(), dest ...any) {
	w.t.Helper()
	rows, err := w.peekDB.QueryContext(w.t.Context(), query)
	if err != nil {
		w.fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			w.fatalf("%s: %v", query, err)
		}
		row()
	}
	if err := rows.Err(); err != nil {
		w.fatalf("%s: %v", query, err)
	}
}
