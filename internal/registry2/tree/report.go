package tree

import (
	"cmp"
	"slices"
	"sync"

	"berth/internal/meta"
	"berth/internal/oci"
)

// A Problem is something in the tree that could not be taken over. It is left as
// it is.
type Problem struct {
	Path string `json:"path"` // in the tree, from its repositories on
	What string `json:"what"`
}

// maxProblems is how many are kept in memory.
const maxProblems = 10_000

// A Report says what there is in the tree, or what was taken from it.
type Report struct {
	Repositories int   `json:"repositories"`
	Tags         int   `json:"tags"`
	Manifests    int   `json:"manifests"`
	Layers       int   `json:"layers"` // of all repositories: those that several have count several times
	Blobs        int   `json:"blobs"`  // manifests and layers, each content once; only a dry run counts them
	Bytes        int64 `json:"bytes"`  // of those
	Uploads      int   `json:"uploads"`
	Stale        int   `json:"stale"` // links to content that was collected and that nothing needs
	Gone         int   `json:"gone"`  // remembered links that registry:2 has taken away
	Read         int   `json:"read"`  // links that were new, or changed

	Unused      int   `json:"unused"` // files that no repository has; only a dry run counts them
	UnusedBytes int64 `json:"unused_bytes"`

	Problems []Problem `json:"problems,omitempty"` // the first ones
	Damage   int       `json:"damage"`             // how many there are
}

// A counter collects a Report, from several goroutines.
type counter struct {
	mu    sync.Mutex
	r     Report
	found map[oci.Digest]int64 // sizes; nil unless it is a dry run
}

func (c *counter) add(f func(*Report)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(&c.r)
}

func (c *counter) problem(p Problem) {
	c.add(func(r *Report) {
		r.Damage++
		if len(r.Problems) < maxProblems {
			r.Problems = append(r.Problems, p)
		}
	})
}

// content notes that something is needed.
func (c *counter) content(d oci.Digest, size int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.found != nil {
		c.found[d] = size
	}
}

func (c *counter) report() Report {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.r
	r.Blobs = len(c.found)
	for _, size := range c.found {
		r.Bytes += size
	}
	r.Problems = slices.Clone(r.Problems)
	slices.SortFunc(r.Problems, func(a, b Problem) int { return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.What, b.What)) })
	return r
}

// count adds a link that is there.
func (r *Report) count(k meta.LinkKind) {
	switch k {
	case meta.LayerLink:
		r.Layers++
	case meta.RevisionLink:
		r.Manifests++
	case meta.TagLink:
		r.Tags++
	}
}
