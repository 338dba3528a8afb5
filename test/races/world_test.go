package races

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
)

const (
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	indexType    = "application/vnd.oci.image.index.v1+json"
	configType   = "application/vnd.oci.image.config.v1+json"
	layerType    = "application/vnd.oci.image.layer.v1.tar"
)

// An item is a blob or a manifest that clients push.
type item struct {
	digest, mediaType string
	body              []byte
	blobs             []*item // that a manifest names
	children          []*item // manifests that an index names
	subject           *item
}

func newItem(mediaType string, body []byte) *item {
	sum := sha256.Sum256(body)
	return &item{digest: "sha256:" + hex.EncodeToString(sum[:]), mediaType: mediaType, body: body}
}

func (it *item) descriptor() map[string]any {
	return map[string]any{"mediaType": it.mediaType, "digest": it.digest, "size": len(it.body)}
}

func descriptors(list []*item) []map[string]any {
	all := make([]map[string]any, len(list))
	for i, it := range list {
		all[i] = it.descriptor()
	}
	return all
}

func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // only of maps and strings of our own
	}
	return b
}

// A world is what there is to push, and what is known of deletions.
type world struct {
	blobs, images, indexes, signatures []*item
	byDigest                           map[string]*item

	mu        sync.Mutex
	deletions map[string]*deletions // by what they may take away
}

// newWorld makes few layers, and images that share them.
func newWorld(seed uint64) *world {
	rng := rand.New(rand.NewPCG(seed, 0))
	w := &world{byDigest: map[string]*item{}, deletions: map[string]*deletions{}}
	add := func(list *[]*item, it *item) {
		*list = append(*list, it)
		w.byDigest[it.digest] = it
	}
	for range 14 {
		body := make([]byte, 1+rng.IntN(40_000))
		for i := range body {
			body[i] = byte(rng.Uint32())
		}
		add(&w.blobs, newItem(layerType, body))
	}
	image := func(note string, subject *item) *item {
		config := *w.blobs[rng.IntN(len(w.blobs))]
		config.mediaType = configType
		layers := make([]*item, 0, 3)
		for _, i := range rng.Perm(len(w.blobs))[:3] {
			layers = append(layers, w.blobs[i])
		}
		m := map[string]any{"schemaVersion": 2, "mediaType": manifestType, "config": config.descriptor(), "layers": descriptors(layers),
			"annotations": map[string]string{"note": note}}
		if subject != nil {
			m["subject"] = subject.descriptor()
		}
		it := newItem(manifestType, marshal(m))
		it.blobs, it.subject = append(layers, &config), subject
		return it
	}
	for i := range 12 {
		add(&w.images, image(fmt.Sprint("image ", i), nil))
	}
	for i := range 4 {
		children := []*item{w.images[2*i], w.images[2*i+1]}
		it := newItem(indexType, marshal(map[string]any{"schemaVersion": 2, "mediaType": indexType, "manifests": descriptors(children)}))
		it.children = children
		add(&w.indexes, it)
		add(&w.signatures, image(fmt.Sprint("signature ", i), w.images[i]))
	}
	return w
}

// pick returns one of the manifests.
func (w *world) pick(rng *rand.Rand) *item {
	switch n := rng.IntN(10); {
	case n < 2:
		return w.indexes[rng.IntN(len(w.indexes))]
	case n < 4:
		return w.signatures[rng.IntN(len(w.signatures))]
	}
	return w.images[rng.IntN(len(w.images))]
}

// deletions count requests that may have taken something away: those that were
// sent and those that were answered.
type deletions struct{ begun, done int }

// A view is the deletions of something at one moment.
type view struct {
	w    *world
	what []string
	then map[string]deletions
}

// everything is what a collection takes away that lets go of untagged manifests.
const everything = "everything"

// look begins to look at something that any deletion of what would take away.
func (w *world) look(what ...string) view {
	w.mu.Lock()
	defer w.mu.Unlock()
	v := view{w, append(what, everything), map[string]deletions{}}
	for _, name := range v.what {
		if d := w.deletions[name]; d != nil {
			v.then[name] = *d
		}
	}
	return v
}

// undisturbed reports whether no deletion was under way at any moment since the
// view was taken: what was there must still be there.
func (v view) undisturbed() bool {
	v.w.mu.Lock()
	defer v.w.mu.Unlock()
	for _, name := range v.what {
		d, then := v.w.deletions[name], v.then[name]
		if d != nil && (d.begun != then.begun || then.begun != then.done) {
			return false
		}
	}
	return true
}

// deleting notes that a request that may take what away is sent, and returns the
// function that notes that it was answered.
func (w *world) deleting(what ...string) (answered func()) {
	each := func(change func(*deletions)) {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, name := range what {
			if w.deletions[name] == nil {
				w.deletions[name] = &deletions{}
			}
			change(w.deletions[name])
		}
	}
	each(func(d *deletions) { d.begun++ })
	return func() { each(func(d *deletions) { d.done++ }) }
}

// The names of what deletions take away: a manifest, a tag, any tag of a
// repository (with the manifest that it points to), and all of it.
func manifestOf(repo, digest string) string { return repo + "@" + digest }
func tagOf(repo, tag string) string         { return repo + ":" + tag }
func tagsOf(repo string) string             { return repo + ":*" }
func allOf(repo string) string              { return repo + "/*" }

// TestView holds that the excuses are exact.
func TestView(t *testing.T) {
	w := newWorld(1)
	end := w.deleting("a", "b")
	during := w.look("a")
	other := w.look("c")
	end()
	after := w.look("b")
	for name, tt := range map[string]struct {
		v    view
		want bool
	}{"during": {during, false}, "of another": {other, true}, "after": {after, true}} {
		if got := tt.v.undisturbed(); got != tt.want {
			t.Errorf("%s: undisturbed is %v, want %v", name, got, tt.want)
		}
	}
	w.deleting("b")()
	if after.undisturbed() {
		t.Error("a deletion since then disturbs nothing")
	}
}
