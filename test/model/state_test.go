package model_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"reflect"
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
	moves     map[at][]move        // of a tag; of the repository as a whole with an empty name
	trash     map[int64]entry

	// What follows is only read.
	contents map[string]content // by digest
	uploads  map[meta.UploadID]upload

	lastEntry int64 // the highest number that an entry of the trash ever had
}

// A move is an entry of the history of tags.
type move struct {
	cause    meta.TagCause
	from, to string        // digests; empty: no such tag
	noted    time.Duration // ticks
	seq      int64         // its number; 0 where that does not matter
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
	s.members, s.lost, s.moves = maps.Clone(s.members), maps.Clone(s.lost), maps.Clone(s.moves)
	s.trash = maps.Clone(s.trash)
	return s
}

// note adds to the history.
func (s state) note(k at, m move) { s.moves[k] = append(slices.Clip(s.moves[k]), m) }

// point points tag k to a digest; an empty one removes it. What changes nothing
// is not noted.
func (s state) point(k at, to string, cause meta.TagCause, now time.Duration) {
	from := s.tags[k]
	if from == to {
		return
	}
	s.note(k, move{cause: cause, from: from, to: to, noted: now})
	if s.tags[k] = to; to == "" {
		delete(s.tags, k)
	}
}

// past is what tag k pointed to so many changes ago: "" if nothing is known of
// that, or if there was no such tag.
func (s state) past(k at, steps int) string {
	line := []string{}
	for _, m := range s.moves[k] {
		if len(line) == 0 || line[len(line)-1] != m.from { // its repository was deleted, or came back
			line = append(line, m.from)
		}
		line = append(line, m.to)
	}
	if len(line) == 0 || line[len(line)-1] != s.tags[k] {
		line = append(line, s.tags[k])
	}
	if i := len(line) - 1 - steps; i >= 0 {
		return line[i]
	}
	return ""
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

// release is what the loss of manifest m does to its parts: the grace begins of
// those that no other manifest of the repository needs.
func (s state) release(p *pool, m at, now time.Duration) {
	needed := map[string]bool{}
	for k := range s.manifests {
		if k.repo == m.repo && k != m {
			for _, part := range p.byDigest[mustDigest(k.name)].parts() {
				needed[part.Digest.String()] = true
			}
		}
	}
	for _, part := range p.byDigest[mustDigest(m.name)].parts() {
		key := at{m.repo, part.Digest.String()}
		if _, ok := s.members[key]; ok && !needed[key.name] {
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
	list = append(list, diff(p, "tombstone", want.lost, got.lost)...)
	list = append(list, diff(p, "history", unnumbered(want.moves), unnumbered(got.moves))...)
	for id := range maps.Keys(both(want.trash, got.trash)) {
		list = append(list, differ(p, id, want.trash, got.trash)...)
	}
	return list
}

func both[K comparable, V any](a, b map[K]V) map[K]V {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

// differ lists what is not the same in an entry of the trash.
func differ(p *pool, id int64, want, got map[int64]entry) []string {
	w, wok := want[id]
	g, gok := got[id]
	head := func(e entry) string { return fmt.Sprint(e.kind, e.reason, e.repo, e.deleted, e.dropped) }
	if wok != gok || head(w) != head(g) {
		return []string{fmt.Sprintf("entry %d: got %s (there: %v), want %s (there: %v)", id, head(g), gok, head(w), wok)}
	}
	what := fmt.Sprint("of entry ", id)
	return slices.Concat(diff(p, "tag "+what, named(w.repo, w.tags), named(w.repo, g.tags)),
		diff(p, "manifest "+what, named(w.repo, w.manifests), named(w.repo, g.manifests)),
		diff(p, "member "+what, named(w.repo, w.members), named(w.repo, g.members)),
		diff(p, "tombstone "+what, named(w.repo, w.lost), named(w.repo, g.lost)))
}

func named[V any](repo oci.Repo, m map[string]V) map[at]V {
	list := make(map[at]V)
	for name, v := range m {
		list[at{repo, name}] = v
	}
	return list
}

// unnumbered returns moves without their numbers: several moves of one step may
// come in any order.
func unnumbered(moves map[at][]move) map[at][]move {
	plain := make(map[at][]move)
	for k, list := range moves {
		for _, m := range list {
			m.seq = 0
			plain[k] = append(plain[k], m)
		}
	}
	return plain
}

func diff[V any](p *pool, what string, want, got map[at]V) []string {
	var list []string
	keys := maps.Clone(want)
	maps.Copy(keys, got)
	for k := range keys {
		w, wok := want[k]
		g, gok := got[k]
		if reflect.DeepEqual(w, g) && wok == gok {
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
		moves: make(map[at][]move), contents: make(map[string]content), uploads: make(map[meta.UploadID]upload),
	}
	var repo, name, more string
	var body []byte
	var n int64
	var flag bool
	where := func() at { return at{w.repo(repo), name} }
	w.rows(`SELECT r.name, m.digest, m.body FROM manifests m JOIN repos r ON r.id = m.repo_id WHERE r.trash = 0`, func() {
		s.manifests[where()] = mustDigest(name).Algorithm().FromBytes(body).String() == name
	}, &repo, &name, &body)
	w.rows(`SELECT r.name, t.name, t.digest FROM tags t JOIN repos r ON r.id = t.repo_id WHERE r.trash = 0`, func() { s.tags[where()] = more }, &repo, &name, &more)
	w.rows(`SELECT r.name, m.digest, m.touched, m.candidate FROM repo_blobs m JOIN repos r ON r.id = m.repo_id WHERE r.trash = 0`, func() {
		s.members[where()] = member{time.Duration(n), flag}
	}, &repo, &name, &n, &flag)
	w.rows(`SELECT r.name, l.digest, l.lost FROM losses l JOIN repos r ON r.id = l.repo_id WHERE r.trash = 0`, func() { s.lost[where()] = time.Duration(n) }, &repo, &name, &n)
	w.rows(`SELECT digest, key, size, damaged FROM blobs`, func() { s.contents[name] = content{blob.Key(more), n, flag} }, &name, &more, &n, &flag)
	w.peekTrash(&s)
	var was, now string
	var saved int64
	w.rows(`SELECT repo, tag, cause, was, now, ticks, seq FROM tag_history ORDER BY seq`, func() {
		s.note(where(), move{meta.TagCause(more), was, now, time.Duration(n), saved})
	}, &repo, &name, &more, &was, &now, &n, &saved)
	for _, u := range w.peekUploads() {
		s.uploads[u.ID] = upload{u.Size, time.Duration(u.Saved)}
	}
	return s
}

// A running is what the next process will know of an upload.
type running struct {
	ID    meta.UploadID
	Over  bool
	Key   blob.Key
	Final blob.Key // what it is about to end as
	Size  int64
	Saved int64
}

// peekUploads reads which uploads run from the file beside the database, unless
// that says that they are over.
func (w *world) peekUploads() map[meta.UploadID]running {
	w.t.Helper()
	text, err := os.ReadFile(w.dbPath() + "-uploads")
	if err != nil && !os.IsNotExist(err) {
		w.t.Fatal(err)
	}
	all := make(map[meta.UploadID]running)
	for line := range bytes.Lines(text) {
		var r running
		if _, line, _ = bytes.Cut(line, []byte(" ")); json.Unmarshal(line, &r) != nil {
			w.fatalf("a line of the file of uploads is %q", line)
		}
		if all[r.ID] = r; r.Over {
			delete(all, r.ID)
		}
	}
	recorded := make(map[blob.Key]bool)
	var key blob.Key
	w.rows(`SELECT key FROM blobs UNION ALL SELECT key FROM garbage`, func() { recorded[key] = true }, &key)
	maps.DeleteFunc(all, func(_ meta.UploadID, r running) bool { return recorded[r.Key] || recorded[r.Final] })
	return all
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
	w.committed()
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
