package image

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"berth/test/realtest"
)

func TestMain(m *testing.M) { realtest.Main(m) }

// freeAddr returns an address of the loopback interface that is free.
func freeAddr(t *testing.T) string {
	t.Helper()
	return "127.0.0.1:" + strconv.Itoa(realtest.FreePort(t))
}

// folder makes a folder that any user can reach, as those that people mount are.
func folder(t *testing.T, mode os.FileMode) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "berth-mounted-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, mode); err != nil {
		t.Fatal(err)
	}
	return dir
}

// writeFile writes a file that any user can read, and returns its path.
func writeFile(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func wantText(t *testing.T, got, want string) {
	t.Helper()
	if !strings.Contains(got, want) {
		t.Errorf("got %q, want %q in it", got, want)
	}
}

// pushPull pushes an image through docker, removes it, and pulls it back.
func pushPull(t *testing.T, docker *realtest.DockerCLI, addr, name string) {
	t.Helper()
	ref := docker.Build(addr+"/"+name, realtest.Image{Layers: []int64{50_000}, Seed: 11})
	wantText(t, docker.Run("push", ref), "digest: sha256:")
	docker.Run("image", "remove", ref)
	wantText(t, docker.Run("pull", ref), "Downloaded newer image")
	docker.Run("image", "remove", ref)
}

// imageFile is the archive for docker load on this machine.
func imageFile() string { return "berth-image-" + runtime.GOARCH + ".tar" }

// programFolder is the download for this machine, without its ending.
func programFolder() string { return "berth-linux-" + runtime.GOARCH }

// awaitAnswer waits until the registry in c answers at addr.
func awaitAnswer(t *testing.T, c *realtest.Container, addr string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		if resp, err := http.Get("http://" + addr + "/v2/"); err == nil {
			resp.Body.Close()
			return
		}
		if state := c.Inspect("{{.State.Status}}"); state != "running" {
			t.Fatalf("the container is %s", state)
		}
	}
	t.Fatalf("nobody answers at %s after a minute", addr)
}

// awaitListening waits until somebody listens at addr.
func awaitListening(t *testing.T, addr string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		if conn, err := net.Dial("tcp", addr); err == nil {
			conn.Close()
			return
		}
	}
	t.Fatalf("nobody listens at %s after a minute", addr)
}
