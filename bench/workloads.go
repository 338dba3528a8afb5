package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
)

// sizes are how large things are.
type sizes struct {
	large int // a large blob, bytes
	part  int // that is asked for of one
	layer int // of a large image, bytes
	some  int // how many things are made ready to be used up
}

// realistic are the sizes that are measured.
func realistic() sizes { return sizes{large: 256 << 20, part: 8 << 20, layer: 1 << 20, some: 2000} }

// workloads are all that is measured, in the order in which it is reported.
func workloads(s sizes) []workload {
	var list []workload
	for _, m := range []mode{plain, passwords, secured} {
		list = append(list, manifests(m)...)
	}
	list = append(list, pulls(s)...)
	list = append(list, pushes(s)...)
	list = append(list, tagging(s)...)
	for _, n := range []int{100, 1_000, 10_000, 100_000} {
		list = append(list, grown(n, min(s.some, 400))...)
	}
	return append(list, mixed(s))
}

// in names a workload by its mode.
func in(m mode, name string) string {
	if m == plain {
		return name
	}
	return name + " " + string(m)
}

// the image whose manifest is asked for again and again.
const manifestRepo, manifestTag = "bench/manifest", "v1"

func manifests(m mode) []workload {
	prepare := func(t *target, c *conn) error {
		t.images = []image{newImage(5, 4<<10, t.unique())}
		return t.images[0].push(c, manifestRepo, manifestTag)
	}
	get := func(method string, ref func(*target) string) func(*target, *conn, int) error {
		return func(t *target, c *conn, _ int) error {
			a, err := c.want(http.StatusOK, request{method: method, path: "/v2/" + manifestRepo + "/manifests/" + ref(t), accept: manifestType})
			if err == nil && a.header.Get("Docker-Content-Digest") != t.images[0].digest {
				err = errors.New("another manifest came")
			}
			return err
		}
	}
	byTag := func(*target) string { return manifestTag }
	byDigest := func(t *target) string { return t.images[0].digest }
	list := []workload{{name: in(m, "manifest GET by tag c16"), unit: "requests", clients: 16, mode: m, prepare: prepare, do: get("GET", byTag)}}
	if m != plain {
		return list
	}
	return append(list,
		workload{name: "manifest GET by tag c1", unit: "requests", clients: 1, prepare: prepare, do: get("GET", byTag)},
		workload{name: "manifest HEAD by tag c16", unit: "requests", clients: 16, prepare: prepare, do: get("HEAD", byTag)},
		workload{name: "manifest GET by digest c16", unit: "requests", clients: 16, prepare: prepare, do: get("GET", byDigest)},
	)
}

// smallCount is how many images there are to pull.
const smallCount = 50

func pulls(s sizes) []workload {
	small := func(t *target, c *conn) error {
		for i := range smallCount {
			img := newImage(5, 4<<10, t.unique())
			if err := img.push(c, "bench/small", fmt.Sprint(i)); err != nil {
				return err
			}
			t.images = append(t.images, img)
		}
		return nil
	}
	one := func(t *target, c *conn) error {
		t.blob = newBlob(s.large, t.unique())
		return c.pushBlob("bench/large", t.blob, monolithic)
	}
	pull := func(t *target, c *conn, n int) error {
		return t.images[n%smallCount].pull(c, "bench/small", fmt.Sprint(n%smallCount))
	}
	whole := func(t *target, c *conn, _ int) error {
		a, err := c.want(http.StatusOK, request{method: "GET", path: "/v2/bench/large/blobs/" + t.blob.digest})
		if err == nil && a.size != int64(s.large) {
			err = fmt.Errorf("got %d bytes", a.size)
		}
		return err
	}
	ranges := func(t *target, c *conn, n int) error {
		from := n % (s.large / s.part) * s.part
		a, err := c.want(http.StatusPartialContent, request{method: "GET", path: "/v2/bench/large/blobs/" + t.blob.digest, rng: fmt.Sprintf("bytes=%d-%d", from, from+s.part-1)})
		if err == nil && a.size != int64(s.part) {
			err = fmt.Errorf("got %d bytes", a.size)
		}
		return err
	}
	var list []workload
	for _, clients := range []int{1, 8, 16, 32} {
		list = append(list, workload{name: fmt.Sprintf("pull of small images c%d", clients), unit: "images", clients: clients, prepare: small, do: pull})
	}
	for _, clients := range []int{1, 4} {
		list = append(list, workload{name: fmt.Sprintf("large pull c%d", clients), unit: "MiB", weight: int64(s.large >> 20), clients: clients, prepare: one, do: whole})
	}
	return append(list,
		workload{name: "large pull in ranges c4", unit: "MiB", weight: int64(s.part >> 20), clients: 4, prepare: one, do: ranges},
		workload{name: in(secured, "large pull c4"), unit: "MiB", weight: int64(s.large >> 20), clients: 4, mode: secured, prepare: one, do: whole},
		workload{name: in(passwords, "pull of small images c16"), unit: "images", clients: 16, mode: passwords, prepare: small, do: pull},
	)
}

// fill puts so many tags, or so many repositories with one tag each, with many
// connections at once.
func fill(t *target, n int, put func(c *conn, i int) error) error {
	const clients = 16
	var group sync.WaitGroup
	errs := make([]error, clients)
	for k := range clients {
		group.Go(func() {
			c, err := dial(t)
			if err != nil {
				errs[k] = err
				return
			}
			defer c.close()
			for i := k; i < n && errs[k] == nil; i += clients {
				errs[k] = put(c, i)
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

// grown measures how the cost of things grows with the number of tags of one
// repository, and of repositories.
func grown(n, doomed int) []workload {
	at := func(name string) string { return fmt.Sprintf("%s of %d", name, n) }
	tags := func(t *target, c *conn) error {
		t.images = []image{newImage(1, 1<<10, t.unique())}
		if err := t.images[0].push(c, "bench/tags", "t"); err != nil {
			return err
		}
		return fill(t, n-1, func(c *conn, i int) error { return t.images[0].put(c, "bench/tags", fmt.Sprintf("t%06d", i)) })
	}
	repos := func(t *target, c *conn) error {
		t.images = []image{newImage(1, 1<<10, t.unique())}
		return fill(t, n, func(c *conn, i int) error { return t.images[0].push(c, fmt.Sprintf("bench/r%06d", i), "v1") })
	}
	referrers := func(t *target, c *conn) error {
		t.images = []image{newImage(1, 1<<10, t.unique())}
		img := t.images[0]
		if err := img.push(c, "bench/referrers", "v1"); err != nil {
			return err
		}
		return fill(t, n, func(c *conn, i int) error { return referrer(img, i).put(c, "bench/referrers", referrer(img, i).digest) })
	}
	long := n > 10_000
	list := []workload{
		{name: at("page of 100 tags"), unit: "pages", clients: 1, long: long, prepare: tags, do: getPage("/v2/bench/tags/tags/list?n=100&last="+fmt.Sprintf("t%06d", n*3/4), min(100, n-2-n*3/4))},
		{name: at("all tags"), unit: "lists", clients: 1, long: long, prepare: tags, do: getPage("/v2/bench/tags/tags/list", n)},
		{name: at("manifest GET by tag"), unit: "requests", clients: 1, long: long, prepare: tags, do: func(t *target, c *conn, i int) error {
			_, err := c.want(http.StatusOK, request{method: "GET", path: fmt.Sprintf("/v2/bench/tags/manifests/t%06d", i*7919%(n-1)), accept: manifestType})
			return err
		}},
		{name: at("delete of a manifest at tags"), unit: "manifests", clients: 1, long: long, most: doomed, prepare: tags, again: deletable("bench/tags", doomed), do: remove("bench/tags")},
	}
	if n >= 1_000 {
		list = append(list,
			workload{name: at("last page of the catalog"), unit: "pages", clients: 1, long: long, prepare: repos, do: getPage("/v2/_catalog?n=100&last="+fmt.Sprintf("bench%%2Fr%06d", n-101), 100)},
		)
	}
	if n == 1_000 {
		list = append(list, workload{name: at("referrers"), unit: "lists", clients: 16, prepare: referrers, do: getPage("/v2/bench/referrers/referrers/SUBJECT", n)})
	}
	for i := range list {
		list[i].costs = n
	}
	return list
}

// getPage asks for a list, which must have so many entries.
func getPage(path string, entries int) func(*target, *conn, int) error {
	return func(t *target, c *conn, n int) error {
		at := path
		if u, err := url.Parse(path); err == nil && u.Path == "/v2/bench/referrers/referrers/SUBJECT" {
			at = "/v2/bench/referrers/referrers/" + t.images[0].digest
		}
		a, err := c.want(http.StatusOK, request{method: "GET", path: at, keep: true})
		if err != nil || n > 0 { // counting them costs more than asking: the first answer is looked at
			return err
		}
		var list struct {
			Repositories, Tags []string
			Manifests          []json.RawMessage
		}
		if err := json.Unmarshal(a.body, &list); err != nil {
			return err
		}
		if got := len(list.Repositories) + len(list.Tags) + len(list.Manifests); got != entries && a.header.Get("Link") == "" {
			return fmt.Errorf("%s: got %d entries, want %d", at, got, entries)
		}
		return nil
	}
}

// referrer makes an artifact whose subject is img.
func referrer(img image, n int) image {
	config := img.parts[0]
	r := image{parts: img.parts[:1]}
	r.manifest, _ = json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": manifestType, "artifactType": "application/vnd.example.bench",
		"config":      descriptor{"application/vnd.oci.image.config.v1+json", config.digest, len(config.data)},
		"layers":      []descriptor{},
		"subject":     descriptor{manifestType, img.digest, len(img.manifest)},
		"annotations": map[string]string{"n": fmt.Sprint(n)},
	})
	r.digest = digestOf(r.manifest)
	return r
}
