package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
)

// variants are blobs that only differ in their first bytes, so that their
// digests are known before the time is taken, and one buffer is enough.
type variants struct {
	base    []byte
	first   uint64
	digests []string
}

// makeVariants computes n blobs that nobody has pushed yet.
func makeVariants(t *target, size, n int) variants {
	v := variants{base: newBlob(size, 1).data, first: t.unique()}
	for i := range n {
		binary.LittleEndian.PutUint64(v.base, v.first+uint64(i))
		v.digests = append(v.digests, digestOf(v.base))
	}
	t.seed += uint64(n)
	return v
}

// blob returns the n-th. Its bytes are a copy.
func (v variants) blob(n int) blob {
	b := slices.Clone(v.base)
	binary.LittleEndian.PutUint64(b, v.first+uint64(n))
	return blob{b, v.digests[n]}
}

func pushes(s sizes) []workload {
	const largest, layers = 8, 10
	images := min(s.some, 150)
	again := func(size, n int) func(*target, *conn) error {
		return func(t *target, _ *conn) error {
			t.variants = makeVariants(t, size, n)
			return nil
		}
	}
	big := func(w way) func(*target, *conn, int) error {
		return func(t *target, c *conn, n int) error { return c.pushBlob("bench/large", t.variants.blob(n), w) }
	}
	image := func(t *target, c *conn, n int) error {
		img := assemble(t.variants, n*layers, layers)
		return img.push(c, "bench/images", fmt.Sprint(t.variants.first, "-", n))
	}
	list := []workload{
		{name: "large push, monolithic c1", unit: "MiB", weight: int64(s.large >> 20), clients: 1, most: largest, again: again(s.large, largest), do: big(monolithic)},
		{name: "large push, chunked c1", unit: "MiB", weight: int64(s.large >> 20), clients: 1, most: largest, again: again(s.large, largest), do: big(patched)},
	}
	for _, clients := range []int{1, 8, 32} {
		list = append(list, workload{name: fmt.Sprintf("push of 10-layer images c%d", clients), unit: "images", clients: clients, most: images, again: again(s.layer, images*layers), do: image})
	}
	return list
}

// assemble makes an image of layers from the at-th on.
func assemble(v variants, at, layers int) image {
	i := newImage(0, 0, v.first+uint64(at))
	var list []descriptor
	for n := range layers {
		b := v.blob(at + n)
		i.parts = append(i.parts, b)
		list = append(list, descriptor{"application/vnd.oci.image.layer.v1.tar+gzip", b.digest, len(b.data)})
	}
	i.manifest, _ = json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": manifestType,
		"config": descriptor{"application/vnd.oci.image.config.v1+json", i.parts[0].digest, len(i.parts[0].data)},
		"layers": list,
	})
	i.digest = digestOf(i.manifest)
	return i
}

func tagging(s sizes) []workload {
	one := func(t *target, c *conn) error {
		t.images = []image{newImage(5, 4<<10, t.unique())}
		return t.images[0].push(c, "bench/tagging", "v1")
	}
	tag := func(t *target, c *conn, n int) error {
		return t.images[0].put(c, "bench/tagging", fmt.Sprintf("n%d-%d", t.seed, n))
	}
	next := func(t *target, _ *conn) error { t.unique(); return nil }
	mount := func(t *target, c *conn, n int) error {
		_, err := c.want(http.StatusCreated, request{method: "POST", path: fmt.Sprintf("/v2/bench/mount-%d-%d/blobs/uploads/?mount=%s&from=bench/tagging", t.seed, n%100, t.images[0].parts[1+n/100%5].digest)})
		return err
	}
	var list []workload
	for _, clients := range []int{1, 16} {
		list = append(list, workload{name: fmt.Sprintf("tags only c%d", clients), unit: "tags", clients: clients, prepare: one, again: next, do: tag})
	}
	for _, clients := range []int{1, 8} {
		list = append(list, workload{name: fmt.Sprintf("re-push of what exists c%d", clients), unit: "images", clients: clients, prepare: one,
			do: func(t *target, c *conn, _ int) error { return t.images[0].push(c, "bench/tagging", "v1") }})
	}
	for _, clients := range []int{1, 8} {
		list = append(list, workload{name: fmt.Sprintf("mount c%d", clients), unit: "mounts", clients: clients, most: min(s.some, 500), prepare: one, again: next, do: mount})
	}
	for _, clients := range []int{1, 8} {
		list = append(list, workload{name: fmt.Sprintf("delete of a manifest c%d", clients), unit: "manifests", clients: clients, most: s.some,
			prepare: one, again: deletable("bench/tagging", s.some), do: remove("bench/tagging")})
	}
	return list
}

// deletable puts n manifests with a tag each.
func deletable(repo string, n int) func(*target, *conn) error {
	return func(t *target, _ *conn) error {
		t.doomed = nil
		base := t.images[0]
		for range n {
			t.doomed = append(t.doomed, another(base, t.unique()))
		}
		return fill(t, n, func(c *conn, i int) error { return t.doomed[i].put(c, repo, fmt.Sprintf("doomed-%d-%d", t.seed, i)) })
	}
}

// another makes another manifest of the same parts.
func another(img image, n uint64) image {
	var m map[string]any
	_ = json.Unmarshal(img.manifest, &m)
	m["annotations"] = map[string]string{"n": fmt.Sprint(n)}
	other := image{parts: img.parts}
	other.manifest, _ = json.Marshal(m)
	other.digest = digestOf(other.manifest)
	return other
}

func remove(repo string) func(*target, *conn, int) error {
	return func(t *target, c *conn, n int) error {
		_, err := c.want(http.StatusAccepted, request{method: "DELETE", path: "/v2/" + repo + "/manifests/" + t.doomed[n].digest})
		return err
	}
}

// mixed is what a registry of a CI system does: of ten clients seven pull, two
// only tag and one pushes a new image of three layers.
func mixed(s sizes) workload {
	const count = 50
	return workload{
		name: "CI-like mix c32", unit: "images", clients: 32, most: 10 * s.some,
		prepare: func(t *target, c *conn) error {
			for i := range count {
				img := newImage(3, 64<<10, t.unique())
				if err := img.push(c, "bench/ci", fmt.Sprint(i)); err != nil {
					return err
				}
				t.images = append(t.images, img)
			}
			return nil
		},
		again: func(t *target, _ *conn) error {
			t.variants = makeVariants(t, 64<<10, 3*s.some)
			return nil
		},
		do: func(t *target, c *conn, n int) error {
			img, tag := t.images[n%count], fmt.Sprint(n%count)
			switch n % 10 {
			case 3, 7:
				return img.put(c, "bench/ci", fmt.Sprintf("build-%d-%d", t.seed, n))
			case 5:
				return assemble(t.variants, n/10*3, 3).push(c, "bench/ci", fmt.Sprintf("new-%d-%d", t.seed, n))
			}
			return img.pull(c, "bench/ci", tag)
		},
	}
}
