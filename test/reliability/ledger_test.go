package reliability

import (
	"fmt"
	"maps"
	"slices"
	"sync"
)

// A kind is what a key names.
type kind string

const (
	aBlob     kind = "blob"     // in a repository, by digest
	aManifest kind = "manifest" // in a repository, by digest
	aTag      kind = "tag"
)

// A key names something whose value the registry keeps: for a tag the digest
// that it points to, for the others their own digest. Nothing there is "".
type key struct {
	kind       kind
	repo, name string
}

func (k key) String() string { return fmt.Sprintf("%s %s of %s", k.kind, k.name, k.repo) }

// An operation is a request that was sent and changes values, all or none of
// them.
type operation struct {
	changes map[key]string
}

// A session is an upload that has begun and not ended.
type session struct {
	repo, location string
	blob           thing
	acked          int        // bytes that the server said it has
	ending         *operation // that would end it, and was sent; nil if none
}

// A ledger knows what was acknowledged, and what was asked for and not answered,
// which may have happened or not. Each key is changed by one client at a time,
// except that several may put the same value.
type ledger struct {
	sync.Mutex
	facts    map[key]string      // as acknowledged last
	parts    map[string][]string // what a manifest needs, by its digest: digests of blobs
	fresh    map[key]bool        // changed since they were last checked
	open     map[*operation]bool // sent and not answered
	sessions map[*session]bool
	unknown  int // uploads that may have begun without anybody knowing where
	tally    tally
}

// A tally counts acknowledgements.
type tally struct {
	blobs, manifests, tags, deletions int
}

func (a tally) plus(b tally) tally {
	return tally{a.blobs + b.blobs, a.manifests + b.manifests, a.tags + b.tags, a.deletions + b.deletions}
}

func newLedger() *ledger {
	return &ledger{facts: map[key]string{}, parts: map[string][]string{}, fresh: map[key]bool{},
		open: map[*operation]bool{}, sessions: map[*session]bool{}}
}

// begin notes that a request is about to be sent.
func (l *ledger) begin(changes map[key]string) *operation {
	l.Lock()
	defer l.Unlock()
	op := &operation{changes}
	l.open[op] = true
	return op
}

// done notes the answer to op: that it was acknowledged, or that it was refused.
func (l *ledger) done(op *operation) {
	l.Lock()
	defer l.Unlock()
	delete(l.open, op)
	for k, v := range op.changes {
		l.set(k, v)
		switch {
		case v == "":
			l.tally.deletions++
		case k.kind == aTag:
			l.tally.tags++
		case k.kind == aManifest:
			l.tally.manifests++
		case k.kind == aBlob:
			l.tally.blobs++
		}
	}
}

func (l *ledger) refused(op *operation) {
	l.Lock()
	defer l.Unlock()
	delete(l.open, op)
}

func (l *ledger) set(k key, v string) {
	l.facts[k] = v
	l.fresh[k] = true
}

// value returns what is known of k.
func (l *ledger) value(k key) string {
	l.Lock()
	defer l.Unlock()
	return l.facts[k]
}

// needs notes what a manifest needs.
func (l *ledger) needs(manifest string, parts ...string) {
	l.Lock()
	defer l.Unlock()
	l.parts[manifest] = parts
}

// tagsAt returns the tags in a repository, out of names, that point to d.
func (l *ledger) tagsAt(repo, d string, names []string) []key {
	l.Lock()
	defer l.Unlock()
	var list []key
	for _, name := range names {
		if k := (key{aTag, repo, name}); l.facts[k] == d {
			list = append(list, k)
		}
	}
	return list
}

// began and ended note uploads.
func (l *ledger) began(s *session) {
	l.Lock()
	defer l.Unlock()
	l.sessions[s] = true
}

func (l *ledger) ended(s *session) {
	l.Lock()
	defer l.Unlock()
	delete(l.sessions, s)
}

// hidden notes that an upload may begin of which the client will not hear; known
// that it did hear.
func (l *ledger) hidden() {
	l.Lock()
	defer l.Unlock()
	l.unknown++
}

func (l *ledger) known() {
	l.Lock()
	defer l.Unlock()
	l.unknown--
}

// repos returns the repositories that the ledger has heard of, sorted.
func (l *ledger) repos() []string {
	set := map[string]bool{}
	for k := range l.facts {
		set[k.repo] = true
	}
	for op := range l.open {
		for k := range op.changes {
			set[k.repo] = true
		}
	}
	return slices.Sorted(maps.Keys(set))
}

// clone returns a copy of what has been acknowledged and asked for so far.
func (l *ledger) clone() *ledger {
	l.Lock()
	defer l.Unlock()
	return &ledger{facts: maps.Clone(l.facts), parts: maps.Clone(l.parts), fresh: maps.Clone(l.fresh),
		open: maps.Clone(l.open), sessions: map[*session]bool{}, tally: l.tally}
}
