package realtest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMain(m *testing.M) { Main(m) }

// TestDocker shows that the engine builds and runs images without a network.
func TestDocker(t *testing.T) {
	docker := Docker(t)
	image := docker.Build("realtest/hello", Image{Busybox: true, Layers: []int64{1 << 20, 10}})
	if out := docker.Run("run", "--rm", "--network", "host", image); !strings.Contains(out, "hello from realtest/hello") {
		t.Errorf("the container printed %q", out)
	}
	if out := docker.Out("image", "inspect", "-f", "{{len .RootFS.Layers}}", image); out != "3" {
		t.Errorf("got %s layers, want 3", out)
	}
	if other := Docker(t); other.Host != docker.Host || other.Home == docker.Home {
		t.Error("two clients must share the engine and not the home")
	}
	docker.Run("image", "rm", image)
	docker.Fails("image", "inspect", image)
}

// TestEngineStops shows that an engine leaves nothing behind: no process, no
// mount.
func TestEngineStops(t *testing.T) {
	Root(t)
	dir := filepath.Join(shortDir(t), "d")
	e := startEngine(dir, Tool(t, "dockerd"), Tool(t, "docker"))
	if e.err != nil {
		t.Fatal(e.err)
	}
	if n := processesBelow(t, dir); n == 0 {
		t.Error("no process of the engine found while it is running")
	}
	e.stop()
	if n := processesBelow(t, dir); n != 0 {
		t.Errorf("%d processes are left", n)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Error(err)
	}
}

// processesBelow counts the processes with dir in their arguments.
func processesBelow(t *testing.T, dir string) int {
	t.Helper()
	n := 0
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && strings.Contains(string(b), dir) {
			n++
		}
	}
	return n
}

// TestLayout shows that clients can read what NewLayout makes.
func TestLayout(t *testing.T) {
	l := NewLayout(t, Image{Layers: []int64{1000, 70000}, Platforms: []string{"linux/amd64", "linux/arm64"}})
	skopeo := Skopeo(t)
	if got := skopeo.Out("inspect", "--raw", "oci:"+l.Ref()); !strings.Contains(got, "arm64") {
		t.Errorf("skopeo sees %s", got)
	}
	copied := filepath.Join(skopeo.Home, "copy")
	skopeo.Run("copy", "--all", "oci:"+l.Ref(), "dir:"+copied)
	if got := Regctl(t).Out("manifest", "head", "ocidir://"+l.Ref()); got != l.Digest {
		t.Errorf("regctl sees %s, want %s", got, l.Digest)
	}
	if same := NewLayout(t, Image{Layers: []int64{1000, 70000}}); same.Blobs[0] != l.Blobs[0] {
		t.Error("the same layer has another digest the second time")
	}
	if other := NewLayout(t, Image{Layers: []int64{1000, 70000}, Seed: 1}); other.Blobs[0] == l.Blobs[0] {
		t.Error("another seed gave the same layer")
	}
}

// TestPodman shows that podman and buildah work with storage of their own.
func TestPodman(t *testing.T) {
	l := NewLayout(t, Image{})
	podman := Podman(t)
	podman.Run("pull", "oci:"+l.Ref())
	if out := podman.Out("images", "-q"); out == "" {
		t.Error("podman pulled nothing")
	}
	buildah := Buildah(t)
	container := buildah.Out("from", "oci:"+l.Ref())
	buildah.Run("rm", container)
}

// TestLog shows how requests are found in a log.
func TestLog(t *testing.T) {
	log := &Log{t: t}
	log.Write([]byte("not JSON\n" + `{"msg":"request","method":"GET","path":"/v2/a/blobs/x","status":200,"user":"me"}` + "\n"))
	mark := log.Mark()
	log.Write([]byte(`{"msg":"request","method":"PUT","path":"/v2/a/manifests/v1","status":201}` + "\n"))
	if got := log.Requests("", ""); len(got) != 2 || got[0].User != "me" || got[0].Status != 200 {
		t.Errorf("got %+v", got)
	}
	if !log.Has("PUT", "/manifests/", 201) {
		t.Error("the PUT is not found")
	}
	if got := log.Since(mark).Requests("GET", ""); len(got) != 0 {
		t.Errorf("got %+v after the mark", got)
	}
	if got := log.Tail(1); !strings.HasPrefix(got, `{"msg":"request","method":"PUT"`) {
		t.Errorf("the last line is %q", got)
	}
}

// TestRegistry walks through the life of a server: what a client pushed is there
// after it was stopped and after it was killed.
func TestRegistry(t *testing.T) {
	reg := Start(t, Options{Env: []string{"BERTH_LOG_LEVEL=debug"}})
	docker := Docker(t)
	image := docker.Build(reg.Addr+"/app:v1", Image{})
	docker.Run("push", image)
	if _, peak := reg.Memory(); peak == 0 {
		t.Error("the server has no memory")
	}
	for _, restart := range []func(){reg.Restart, func() { reg.Kill(); reg.Restart() }} {
		restart()
		docker.Run("image", "rm", image)
		docker.Run("pull", image)
	}
	if !reg.Log.Has("PUT", "/v2/app/manifests/v1", 201) {
		t.Errorf("the push is not in the log:\n%s", reg.Log.Tail(20))
	}
	reg.Stop()
	if reg.Running() {
		t.Error("the server runs after Stop")
	}
	if len(reg.Log.Entries()) == 0 {
		t.Errorf("no JSON in the log:\n%s", reg.Log)
	}
	failing := Start(t, Options{Args: []string{"--no-such-flag"}, Unready: true})
	if err := failing.Wait(); err == nil || !failing.Log.Contains("no-such-flag") {
		t.Errorf("a flag that does not exist: %v\n%s", err, failing.Log)
	}
}
