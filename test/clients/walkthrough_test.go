package clients

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"berth/test/realtest"
)

// TestWalkThrough is the walk-through of the README with docker, up to the data
// folder: build, tag, push, remove both names, pull from Berth, run; the same
// after a restart, after a crash, and from a copy of the folder.
func TestWalkThrough(t *testing.T) {
	reg := start(t, realtest.Options{})
	docker := realtest.Docker(t)
	local := docker.Build("walkthrough/hello:latest", realtest.Image{Busybox: true, Layers: []int64{200_000, 3}, Seed: 7})
	id := docker.Out("image", "inspect", "-f", "{{.Id}}", local)
	ref := reg.Addr + "/hello:v1"
	docker.Run("tag", local, ref)
	wantText(t, docker.Run("push", ref), "digest: sha256:")

	docker.Run("image", "remove", local)
	docker.Run("image", "remove", ref)
	pullsAndRuns(t, docker, reg, ref, id)

	reg.Restart()
	pullsAndRuns(t, docker, reg, ref, id)
	reg.Kill()
	reg.Restart()
	pullsAndRuns(t, docker, reg, ref, id)

	running := filepath.Join(t.TempDir(), "copied-while-running")
	copyFolder(t, reg.Dir, running)
	reg.Stop()
	stopped := filepath.Join(t.TempDir(), "copied-while-stopped")
	copyFolder(t, reg.Dir, stopped)
	for _, dir := range []string{running, stopped} {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			again := start(t, realtest.Options{Dir: dir})
			ref := again.Addr + "/hello:v1"
			pullsAndRuns(t, realtest.Docker(t), again, ref, id)
			wantText(t, berth(t).Run("ls", "--data", dir), "hello")
		})
	}
}

// pullsAndRuns shows that the image is gone from docker, pulls it, sees in the
// access log that it came from the registry, runs it, and removes it again.
func pullsAndRuns(t *testing.T, docker *realtest.DockerCLI, reg *realtest.Registry, ref, id string) {
	t.Helper()
	wantText(t, docker.Fails("image", "inspect", ref), "No such image")
	wantText(t, docker.Fails("image", "inspect", id), "No such image")
	mark := reg.Log.Mark()
	wantText(t, docker.Run("pull", ref), "Downloaded newer image")
	awaitPull(t, reg, mark, "hello")
	if n := len(reg.Log.Since(mark).Requests("GET", "/v2/hello/blobs/")); n != 4 {
		t.Errorf("docker fetched %d blobs, want 3 layers and a config", n)
	}
	if got := docker.Out("image", "inspect", "-f", "{{.Id}}", ref); got != id {
		t.Errorf("pulled %s, want %s", got, id)
	}
	if out := docker.Run("run", "--rm", "--network", "host", ref); !strings.Contains(out, "hello from walkthrough/hello") {
		t.Errorf("the container printed %q", out)
	}
	docker.Run("image", "remove", ref)
}

// copyFolder copies a folder as people do.
func copyFolder(t *testing.T, from, to string) {
	t.Helper()
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v\n%s", err, out)
	}
}
