package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// sizes are how large things are.
type sizes struct {
	large int // a large blob, bytes
	part  int // that is asked for of one
	layer int // of a large image, bytes
	some  int // how many things are made ready to be used up
	few   int // small images that are there to be pulled
	crowd int // clients at once, where there are very many

	tags, repos, referrers []int // how many there are, growing
	deletes                int   // how many tags there are where the cost of deletes is compared
	started                int   // repositories of the store that is started on
}

// realistic are the sizes that are measured.
func realistic() sizes {
	return sizes{
		large: 256 << 20, part: 8 << 20, layer: 1 << 20, some: 100, few: 50, crowd: 1000,
		tags: []int{100, 1_000, 10_000, 100_000}, repos: []int{100, 1_000, 5_000, 10_000, 100_000}, referrers: []int{100, 1_000, 10_000, 100_000},
		deletes: 3_000, started: 5_000,
	}
}

// workloads are all that is measured, in the order in which it is reported.
// Those that follow each other in the same store share it.
func workloads(s sizes) []workload {
	var list []workload
	for _, m := range []mode{plain, passwords, secured} {
		list = append(list, manifests(m)...)
		list = append(list, pulls(s, m)...)
	}
	for _, m := range []mode{plain, passwords, secured} {
		list = append(list, tagging(s, m)...)
	}
	list = append(list, crowds(s)...)
	list = append(list, mixes(s)...)
	list = append(list, largePushes(s)...)
	list = append(list, imagePushes(s)...)
	list = append(list, grown(s)...)
	return append(list, others(s)...)
}

// in names a workload by its mode.
func in(m mode, name string) string {
	if m == plain {
		return name
	}
	return name + " " + string(m)
}

// kept returns those of list that are measured in a mode: all of them when
// nothing is added to HTTP, else those that some names choose.
func kept(m mode, list []workload, names ...string) []workload {
	var result []workload
	for _, w := range list {
		keep := m == plain
		for _, name := range names {
			keep = keep || w.name == name
		}
		if keep {
			w.mode, w.name = m, in(m, w.name)
			result = append(result, w)
		}
	}
	return result
}

// pushed is one image.
func pushed(name, repo, tag string, layers, size int) supply {
	return supply{name: name, make: func(t *target, c *conn) (supplied, error) {
		img := t.stock.image(layers, size, t.unique())
		return supplied{images: []image{img}}, img.push(c, repo, tag)
	}}
}

// the image whose manifest is asked for again and again.
const manifestRepo, manifestTag = "bench/manifest", "v1"

// getManifest asks for a manifest and checks that it is that of the image.
func getManifest(c *conn, method, repo, ref string, img image) error {
	a, err := c.want(200, request{method: method, path: "/v2/" + repo + "/manifests/" + ref, accept: manifestType})
	if err == nil && string(a.header[hDigest]) != img.manifest.digest {
		err = errors.New("another manifest came")
	}
	if err != nil || method == "HEAD" {
		return err
	}
	return img.manifest.came(c, a)
}

func manifests(m mode) []workload {
	get := func(method string, ref func(*target) string) func(*target, *conn, int) error {
		return func(t *target, c *conn, _ int) error {
			return getManifest(c, method, manifestRepo, ref(t), t.images[0])
		}
	}
	byTag := func(*target) string { return manifestTag }
	byDigest := func(t *target) string { return t.images[0].manifest.digest }
	list := []workload{
		{name: "manifest GET by tag c1", clients: 1, do: get("GET", byTag)},
		{name: "manifest GET by tag c16", clients: 16, longer: 2, do: get("GET", byTag)},
		{name: "manifest HEAD by tag c16", clients: 16, do: get("HEAD", byTag)},
		{name: "manifest GET by digest c16", clients: 16, do: get("GET", byDigest)},
		{name: "manifest HEAD by digest c16", clients: 16, do: get("HEAD", byDigest)},
	}
	if m == secured {
		list = append(list, workload{name: "manifest GET by tag over HTTP/2 c16", clients: 16, do: overHTTP2})
	}
	for i := range list {
		list[i].unit, list[i].needs = "requests", pushed("manifest", manifestRepo, manifestTag, 5, 4<<10)
	}
	return kept(m, list, "manifest GET by tag c16", "manifest HEAD by tag c16", "manifest GET by tag over HTTP/2 c16")
}

// overHTTP2 asks for a manifest as docker does with TLS: all clients share one
// connection. This client is Go's own, which costs much more than the others: go
// by the CPU of the server.
func overHTTP2(t *target, c *conn, _ int) error {
	q, err := http.NewRequest("GET", "https://"+t.addr+"/v2/"+manifestRepo+"/manifests/"+manifestTag, nil)
	if err != nil {
		return err
	}
	q.Header.Set("Accept", manifestType)
	resp, err := t.h2.Do(q)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	c.hash.Reset()
	size, err := io.Copy(c.hash, resp.Body)
	if err != nil {
		return err
	}
	if resp.ProtoMajor != 2 || resp.StatusCode != 200 {
		return fmt.Errorf("got %s %s", resp.Proto, resp.Status)
	}
	b := t.images[0].manifest
	if "sha256:"+hex.EncodeToString(c.hash.Sum(nil)) != b.digest || size != b.size() {
		return errors.New("another manifest came")
	}
	return nil
}

// smallImages are pulled.
func smallImages(s sizes) supply {
	return supply{name: "small images", make: func(t *target, c *conn) (made supplied, err error) {
		for i := range s.few {
			img := t.stock.image(5, 4<<10, t.unique())
			if err := img.push(c, "bench/small", fmt.Sprint(i)); err != nil {
				return made, err
			}
			made.images = append(made.images, img)
		}
		return made, nil
	}}
}

func pullSmall(t *target, c *conn, n int) error {
	n %= len(t.images)
	return t.images[n].pull(c, "bench/small", fmt.Sprint(n))
}

func pulls(s sizes, m mode) []workload {
	large := supply{name: "large blob", make: func(t *target, c *conn) (supplied, error) {
		b := t.stock.blob(s.large, t.unique())
		return supplied{blob: b}, c.pushBlob("bench/large", b, monolithic)
	}}
	whole := func(t *target, c *conn, _ int) error {
		a, err := c.want(200, request{method: "GET", path: "/v2/bench/large/blobs/" + t.blob.digest})
		if err == nil {
			err = t.blob.came(c, a)
		}
		return err
	}
	ranges := func(t *target, c *conn, n int) error {
		from := n % (s.large/s.part - 1) * s.part // all of it lies in the base
		a, err := c.want(206, request{method: "GET", path: "/v2/bench/large/blobs/" + t.blob.digest, rng: fmt.Sprintf("bytes=%d-%d", from, from+s.part-1)})
		if err != nil {
			return err
		}
		part := blob{base: t.blob.base[from:][:s.part]}
		if c.verify {
			part.digest = digestOf(part.base)
		}
		return part.came(c, a)
	}
	var list []workload
	for _, clients := range []int{1, 8, 16, 32} {
		w := workload{name: fmt.Sprintf("pull of small images c%d", clients), unit: "images", clients: clients, needs: smallImages(s), do: pullSmall}
		if clients == 16 {
			w.longer = 2
		}
		list = append(list, w)
	}
	for _, clients := range []int{1, 4} {
		list = append(list, workload{name: fmt.Sprintf("large pull c%d", clients), unit: "MiB", weight: int64(s.large >> 20), clients: clients, longer: 2, needs: large, do: whole})
	}
	list = append(list, workload{name: "large pull in ranges c4", unit: "MiB", weight: int64(s.part >> 20), clients: 4, needs: large, do: ranges})
	return kept(m, list, "pull of small images c16", "large pull c4")
}

// crowds are very many clients at once: what counts is the memory of the server.
func crowds(s sizes) []workload {
	return []workload{
		{name: fmt.Sprintf("manifest GET by tag c%d", s.crowd), unit: "requests", clients: s.crowd, needs: pushed("manifest", manifestRepo, manifestTag, 5, 4<<10),
			do: func(t *target, c *conn, _ int) error {
				return getManifest(c, "GET", manifestRepo, manifestTag, t.images[0])
			}},
		{name: fmt.Sprintf("pull of a small blob c%d", s.crowd), unit: "blobs", clients: s.crowd, needs: smallImages(s),
			do: func(t *target, c *conn, n int) error {
				b := t.images[n%len(t.images)].parts[1]
				a, err := c.want(200, request{method: "GET", path: "/v2/bench/small/blobs/" + b.digest})
				if err == nil {
					err = b.came(c, a)
				}
				return err
			}},
	}
}
