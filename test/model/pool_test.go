package model_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"

	"berth/internal/oci"
)

// A pool is what a test pushes, small enough that everything meets everything.
type pool struct {
	repos     []oci.Repo
	tags      []oci.Tag
	contents  [][]byte
	manifests []*manifest
	blobs     map[oci.Digest][]byte // every digest that a content may be pushed as
	digests   []oci.Digest          // the keys of blobs
	byDigest  map[oci.Digest]*manifest
}

// A manifest is one that may be pushed, always under the same digest.
type manifest struct {
	name   string
	digest oci.Digest
	oci.Manifest
}

// parts lists what m needs; a digest may be there more than once.
func (m *manifest) parts() []oci.Descriptor {
	return append(append([]oci.Descriptor{}, m.Blobs...), m.Children...)
}

func newPool(t *testing.T, rnd *rand.Rand) *pool {
	t.Helper()
	p := &pool{blobs: make(map[oci.Digest][]byte), byDigest: make(map[oci.Digest]*manifest)}
	for _, s := range []string{"a", "a/b", "c"} {
		r, err := oci.ParseRepo(s)
		if err != nil {
			t.Fatal(err)
		}
		p.repos = append(p.repos, r)
	}
	for i, size := range []int{0, 1, 100, 1000, 70_000, 130_000} {
		b := make([]byte, size)
		for j := range b {
			b[j] = byte(i + j*j>>8)
		}
		p.contents = append(p.contents, b)
	}
	for i := range 16 {
		p.addManifest(t, rnd, i)
		if i == 0 { // a blob that is a manifest, too
			p.contents = append(p.contents, p.manifests[0].Body)
		}
	}
	for _, c := range p.contents {
		for _, a := range []oci.Algorithm{oci.SHA256, oci.SHA512} {
			d := a.FromBytes(c)
			p.blobs[d] = c
			p.digests = append(p.digests, d)
		}
	}
	for _, s := range []string{"latest", "v1", "v2", "v3", p.manifests[0].digest.FallbackTag().String()} {
		tag, err := oci.ParseTag(s)
		if err != nil {
			t.Fatal(err)
		}
		p.tags = append(p.tags, tag)
	}
	return p
}

// addManifest makes manifest i, of contents and of manifests before it.
func (p *pool) addManifest(t *testing.T, rnd *rand.Rand, i int) {
	t.Helper()
	algorithm := oci.SHA256
	if i > 0 && rnd.IntN(5) == 0 {
		algorithm = oci.SHA512
	}
	body := map[string]any{"schemaVersion": 2, "annotations": map[string]string{"n": fmt.Sprint(i)}}
	blob := func() oci.Descriptor {
		c := p.contents[rnd.IntN(len(p.contents))]
		d := oci.SHA256.FromBytes(c)
		if rnd.IntN(6) == 0 {
			d = oci.SHA512.FromBytes(c)
		}
		size := int64(len(c))
		if rnd.IntN(12) == 0 {
			size++ // which is wrong
		}
		return oci.Descriptor{MediaType: "application/octet-stream", Digest: d, Size: size}
	}
	earlier := func() oci.Descriptor {
		m := p.manifests[rnd.IntN(len(p.manifests))]
		return oci.Descriptor{MediaType: m.MediaType, Digest: m.digest, Size: int64(len(m.Body))}
	}
	var layers []oci.Descriptor
	for range rnd.IntN(4) {
		layers = append(layers, blob())
	}
	mediaType, kind := oci.MediaTypeImage, "image"
	switch n := rnd.IntN(10); {
	case i < 4 || n < 5:
		body["config"], body["layers"] = blob(), append([]oci.Descriptor{}, layers...)
	case n < 9:
		mediaType, kind = oci.MediaTypeIndex, "index"
		children := []oci.Descriptor{}
		for range rnd.IntN(4) {
			children = append(children, earlier())
		}
		body["manifests"] = children
	default:
		mediaType, kind = "application/x.unknown", "unknown"
		body["manifests"], body["blobs"] = []oci.Descriptor{earlier()}, append([]oci.Descriptor{}, layers...)
	}
	body["mediaType"] = mediaType
	if i > 0 && rnd.IntN(3) == 0 {
		body["subject"] = earlier()
		body["artifactType"] = "application/x.kind" + fmt.Sprint(rnd.IntN(2))
	}
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	m, err := oci.ParseManifest(mediaType, b)
	if err != nil {
		t.Fatal(err)
	}
	added := &manifest{name: fmt.Sprintf("%s%d", kind, i), digest: algorithm.FromBytes(b), Manifest: m}
	p.manifests = append(p.manifests, added)
	p.byDigest[added.digest] = added
}

// name shortens a digest.
func (p *pool) name(d oci.Digest) string {
	if m := p.byDigest[d]; m != nil {
		return m.name
	}
	return fmt.Sprintf("%s:%s(%d bytes)", d.Algorithm(), d.Hex()[:6], len(p.blobs[d]))
}
