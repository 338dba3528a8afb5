package retention

import (
	"time"

	"berth/internal/meta"
	"berth/internal/oci"
)

// A node is a manifest of a repository with what it has to do with others, which
// are places in the list of nodes.
type node struct {
	*meta.ManifestState
	parts     []int // manifests that it names
	holders   []int // manifests that name it as a part
	referrers []int // manifests that refer to it
	subjects  []int // manifests that it refers to

	tags      []int // that point to it, as places in the list of tags
	referring []int // of those that refer to something by their name

	kept   bool
	reason string // why it is kept, or goes
	family int    // of one that goes: which; -1 until that is known
}

// A tagNode is a tag.
type tagNode struct {
	meta.TagState
	at        int  // the manifest that it points to; -1: it went a moment ago
	subject   int  // the manifest that it refers to by its name; -1: none
	elsewhere bool // it refers to something that is not here
	kept      bool
	reason    string
}

// A graph is what a repository has.
type graph struct {
	nodes  []node
	tags   []tagNode
	places map[oci.Digest]int // of nodes
}

// newGraph links manifests and tags to each other.
func newGraph(s meta.RepoState) *graph {
	g := &graph{nodes: make([]node, len(s.Manifests)), tags: make([]tagNode, len(s.Tags)), places: make(map[oci.Digest]int, len(s.Manifests))}
	for i := range s.Manifests {
		g.nodes[i] = node{ManifestState: &s.Manifests[i], family: -1}
		g.places[s.Manifests[i].Digest] = i
	}
	for i := range g.nodes {
		for _, d := range g.nodes[i].Parts {
			if part := g.place(d); part >= 0 {
				g.nodes[i].parts = append(g.nodes[i].parts, part)
				g.nodes[part].holders = append(g.nodes[part].holders, i)
			}
		}
		g.refer(i, g.place(g.nodes[i].Subject))
	}
	for i := range s.Tags {
		g.addTag(i, s.Tags[i])
	}
	return g
}

func (g *graph) place(d oci.Digest) int {
	if i, ok := g.places[d]; ok {
		return i
	}
	return -1
}

func (g *graph) addTag(i int, s meta.TagState) {
	t := &g.tags[i]
	*t = tagNode{TagState: s, at: g.place(s.Digest), subject: -1}
	if t.at < 0 {
		return
	}
	if d, ok := referrerTag(s.Name); ok {
		t.subject = g.place(d)
		t.elsewhere = t.subject < 0
	}
	n := &g.nodes[t.at]
	if t.subject < 0 {
		n.tags = append(n.tags, i)
		return
	}
	n.referring = append(n.referring, i)
	g.refer(t.at, t.subject)
}

// refer notes that one manifest refers to another, if that is there.
func (g *graph) refer(from, to int) {
	if to < 0 || from == to {
		return
	}
	g.nodes[to].referrers = append(g.nodes[to].referrers, from)
	g.nodes[from].subjects = append(g.nodes[from].subjects, to)
}

// pushed is when a manifest was last pushed.
func (n *node) pushed() time.Time { return later(n.Pushed, n.Again) }

// touched is when a client last pushed it, learned that it need not, or let it
// refer to something.
func (g *graph) touched(n *node) time.Time {
	at := later(n.pushed(), n.Seen)
	for _, i := range n.referring {
		at = later(at, g.tags[i].Moved)
	}
	return at
}

// below calls visit for everything that i leads to, as long as that returns true:
// its parts, and what refers to it. as says which of them it is.
func (g *graph) below(i int, visit func(from, to int, as string) bool) {
	open := []int{i}
	for len(open) > 0 {
		from := open[len(open)-1]
		open = open[:len(open)-1]
		for _, to := range g.nodes[from].parts {
			if visit(from, to, "part of index") {
				open = append(open, to)
			}
		}
		for _, to := range g.nodes[from].referrers {
			if visit(from, to, "refers to") {
				open = append(open, to)
			}
		}
	}
}

// above calls visit for i and everything that leads to it, as long as that
// returns true.
func (g *graph) above(i int, visit func(i int) bool) {
	open := []int{i}
	for len(open) > 0 {
		at := open[len(open)-1]
		open = open[:len(open)-1]
		if visit(at) {
			open = append(append(open, g.nodes[at].holders...), g.nodes[at].subjects...)
		}
	}
}

// keep keeps a manifest and everything that it leads to.
func (g *graph) keep(i int, reason string) {
	if g.nodes[i].kept {
		return
	}
	g.nodes[i].kept, g.nodes[i].reason = true, reason
	g.below(i, func(from, to int, as string) bool {
		n := &g.nodes[to]
		if n.kept {
			return false
		}
		n.kept, n.reason = true, as+" "+g.nodes[from].Digest.String()
		return true
	})
}

// pulled is when a manifest or a part of it was pulled; zero if never.
func (g *graph) pulled(i int) time.Time {
	at := g.nodes[i].Pulled
	if len(g.nodes[i].parts) == 0 {
		return at
	}
	seen := map[int]bool{i: true}
	for open := []int{i}; len(open) > 0; {
		n := &g.nodes[open[len(open)-1]]
		open = open[:len(open)-1]
		at = later(at, n.Pulled)
		for _, part := range n.parts {
			if !seen[part] {
				seen[part] = true
				open = append(open, part)
			}
		}
	}
	return at
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
