package clients

import (
	"os"
	"sync"
	"testing"

	"berth/test/realtest"
)

// TestTogether has four clients push the same layers at the same time: first
// into one repository, then each into one of its own.
func TestTogether(t *testing.T) {
	reg := start(t, realtest.Options{})
	layout := realtest.NewLayout(t, realtest.Image{Layers: []int64{12 << 20, 8 << 20, 1000, 2 << 20}, Seed: 44})
	programs := make(map[string]program)
	for _, name := range []string{"skopeo", "crane", "oras", "regctl"} {
		programs[name] = makers()[name](t, plainHTTP, nil, layout)
	}
	atOnce := func(ref func(name string) string) {
		t.Helper()
		var running sync.WaitGroup
		for name, p := range programs {
			running.Go(func() {
				if out, err := p.push(ref(name)); err != nil {
					t.Errorf("%s: %v\n%s", name, err, out)
				}
			})
		}
		running.Wait()
	}
	atOnce(func(name string) string { return reg.Addr + "/together/app:" + name })
	atOnce(func(name string) string { return reg.Addr + "/apart/" + name + ":v1" })
	r := readerOf(reg)
	for name, p := range programs {
		r.mustBeWhole(t, "together/app", name)
		r.mustBeWhole(t, "apart/"+name, "v1")
		must(t)(p.pull(reg.Addr + "/apart/" + name + ":v1"))
	}
}

// TestDockersTogether has docker push an image under four names at once.
func TestDockersTogether(t *testing.T) {
	reg := start(t, realtest.Options{})
	docker := realtest.Docker(t)
	image := docker.Build("together/local", realtest.Image{Layers: []int64{6 << 20, 3 << 20, 10}, Seed: 45})
	names := []string{"one", "two", "three", "four"}
	var running sync.WaitGroup
	for _, name := range names {
		docker.Run("tag", image, reg.Addr+"/dockers/"+name+":v1")
		running.Go(func() {
			if out, err := docker.Try("push", reg.Addr+"/dockers/"+name+":v1"); err != nil {
				t.Errorf("%s: %v\n%s", name, err, out)
			}
		})
	}
	running.Wait()
	for _, name := range names {
		readerOf(reg).mustBeWhole(t, "dockers/"+name, "v1")
	}
}

// TestGigabyte pushes a layer of 1 GiB with skopeo and pulls it. There are never
// more than two copies of it on the disk.
func TestGigabyte(t *testing.T) {
	if testing.Short() {
		t.Skip("2 GiB of disk, and most of a minute")
	}
	reg := start(t, realtest.Options{})
	layout := realtest.NewLayout(t, realtest.Image{Layers: []int64{1 << 30, 1000}, Seed: 1 << 30})
	skopeo := realtest.Skopeo(t)
	ref := "docker://" + reg.Addr + "/large/app:v1"
	skopeo.Run("copy", "--preserve-digests", "--dest-tls-verify=false", "oci:"+layout.Ref(), ref)
	if err := os.RemoveAll(layout.Dir); err != nil {
		t.Fatal(err)
	}
	dir := emptyDir(t)
	skopeo.Run("copy", "--preserve-digests", "--src-tls-verify=false", ref, "oci:"+dir+":v1")
	if err := holds(dir, layout); err != nil {
		t.Error(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	readerOf(reg).mustBeWhole(t, "large/app", "v1")
	now, peak := reg.Memory()
	t.Logf("the server uses %d MiB, %d at most", now>>20, peak>>20)
}
