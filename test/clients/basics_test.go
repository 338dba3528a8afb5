package clients

import (
	"hash/fnv"
	"strings"
	"testing"

	"berth/test/realtest"
)

// TestClients has each client push, pull into a clean place, list and delete.
func TestClients(t *testing.T) {
	reg := start(t, realtest.Options{})
	r := readerOf(reg)
	for name, maker := range makers() {
		t.Run(name, func(t *testing.T) {
			layout := realtest.NewLayout(t, realtest.Image{Layers: []int64{300_000, 1, 5_000}, Seed: seed(name)})
			p := maker(t, plainHTTP, nil, layout)
			repo := "team/" + name + "-app"
			ref := reg.Addr + "/" + repo + ":1.0.0"
			must(t)(p.push(ref))
			r.mustBeWhole(t, repo, "1.0.0")
			mark := reg.Log.Mark()
			must(t)(p.pull(ref))
			awaitPull(t, reg, mark, repo)
			if p.tags != nil {
				wantText(t, p.tags(reg.Addr+"/"+repo), "1.0.0")
			}
			if p.catalog != nil {
				wantText(t, p.catalog(reg.Addr), repo)
			}
			if p.remove == nil {
				return
			}
			must(t)(p.push(reg.Addr + "/" + repo + "-2:1.0.0"))
			p.remove(reg.Addr + "/" + repo + "-2:1.0.0")
			if got := r.status(t, "GET", "/v2/"+repo+"-2/manifests/1.0.0"); got != 404 {
				t.Errorf("a deleted tag is answered with %d", got)
			}
			r.mustBeWhole(t, repo, "1.0.0")
		})
	}
}

// seed returns a seed that only name has.
func seed(name string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(name))
	return h.Sum64()
}

// must returns a function that wants what a program function returns to be
// without an error.
func must(t *testing.T) func(string, error) string {
	return func(out string, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
}

// refused returns a function that wants a failure, and returns what was said.
func refused(t *testing.T) func(string, error) string {
	return func(out string, err error) string {
		t.Helper()
		if err == nil {
			t.Errorf("it was not refused; it said: %s", out)
		}
		return out
	}
}

// awaitPull wants the log to show, since mark, that blobs were fetched from repo,
// and a manifest, unless the client has it and only asked whether it still is
// the one, as docker does.
func awaitPull(t *testing.T, reg *realtest.Registry, mark int, repo string) {
	t.Helper()
	ok := reg.Log.Await(func(l *realtest.Log) bool {
		since := l.Since(mark)
		return served(since.Requests("", "/v2/"+repo+"/manifests/")) && served(since.Requests("GET", "/v2/"+repo+"/blobs/"))
	})
	if !ok {
		t.Errorf("the pull from %s is not in the access log:\n%s", repo, reg.Log.Since(mark))
	}
}

func served(requests []realtest.Request) bool {
	for _, r := range requests {
		if r.Status == 200 {
			return true
		}
	}
	return false
}

// TestManyLayers pushes and pulls an image with more layers than docker
// transfers at once.
func TestManyLayers(t *testing.T) {
	reg := start(t, realtest.Options{})
	docker := realtest.Docker(t)
	image := realtest.Image{Layers: make([]int64, 24), Seed: 24}
	for i := range image.Layers {
		image.Layers[i] = int64(1000 * (i + 1))
	}
	ref := docker.Build(reg.Addr+"/many:v1", image)
	id := docker.Out("image", "inspect", "-f", "{{.Id}}", ref)
	docker.Run("push", ref)
	if got := len(readerOf(reg).mustBeWhole(t, "many", "v1")); got != 26 { // manifest, config
		t.Errorf("the image has %d parts, want 26", got)
	}
	docker.Run("image", "rm", ref)
	docker.Fails("image", "inspect", id)
	docker.Run("pull", ref)
	if got := docker.Out("image", "inspect", "-f", "{{.Id}} {{len .RootFS.Layers}}", ref); got != id+" 24" {
		t.Errorf("pulled %s, want %s with 24 layers", got, id)
	}
	again := docker.Run("push", ref)
	if n := strings.Count(again, "Layer already exists"); n != 24 {
		t.Errorf("pushed again, docker found %d layers to exist, want 24:\n%s", n, again)
	}
}
