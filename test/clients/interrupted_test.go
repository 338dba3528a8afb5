package clients

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"berth/test/realtest"
)

// bigImage has small layers and one that takes a while.
func bigImage(seed uint64) realtest.Image {
	return realtest.Image{Layers: []int64{50_000, 60_000, 48 << 20}, Seed: seed}
}

// TestDockerConnectionCut resets the connection in the middle of docker's long
// PATCH. docker tries again by itself.
func TestDockerConnectionCut(t *testing.T) {
	reg := start(t, realtest.Options{})
	g := newGate(t, reg.Addr, 20<<20, cuts)
	docker := realtest.Docker(t)
	ref := docker.Build(g.addr+"/interrupted/docker:v1", bigImage(91))
	out := docker.Run("push", ref)
	select {
	case <-g.tripped:
	default:
		t.Error("the connection was never cut")
	}
	wantText(t, out, "digest: sha256:")
	pulledBack(t, docker, reg, "interrupted/docker", ref)
}

// pulledBack removes an image of docker's and pulls it again.
func pulledBack(t *testing.T, docker *realtest.DockerCLI, reg *realtest.Registry, repo, ref string) {
	t.Helper()
	readerOf(reg).mustBeWhole(t, repo, "v1")
	id := docker.Out("image", "inspect", "-f", "{{.Id}}", ref)
	docker.Run("image", "rm", ref)
	docker.Fails("image", "inspect", id)
	docker.Run("pull", ref)
	if got := docker.Out("image", "inspect", "-f", "{{.Id}}", ref); got != id {
		t.Errorf("pulled %s, want %s", got, id)
	}
	docker.Run("image", "rm", ref)
}

// TestDockerKilled kills docker push in the middle and starts it again: what had
// arrived is not sent a second time.
func TestDockerKilled(t *testing.T) {
	reg := start(t, realtest.Options{})
	g := newGate(t, reg.Addr, 20<<20, stalls)
	docker := realtest.Docker(t)
	ref := docker.Build(g.addr+"/interrupted/killed:v1", bigImage(92))
	killInside(t, docker.CLI, g, "push", ref)
	arrived := 0
	for _, r := range reg.Log.Requests("PUT", "/v2/interrupted/killed/blobs/") {
		if r.Status == 201 {
			arrived++
		}
	}
	out := docker.Run("push", ref)
	if n := strings.Count(out, "Layer already exists"); n < arrived || arrived < 1 {
		t.Errorf("%d layers had arrived, and docker found %d of them:\n%s", arrived, n, out)
	}
	pulledBack(t, docker, reg, "interrupted/killed", ref)
}

// killInside starts a command that pushes through g, and kills it when g stands
// still.
func killInside(t *testing.T, c *realtest.CLI, g *gate, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := c.Command(ctx, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-g.tripped:
	case <-ctx.Done():
		t.Errorf("the push did not get as far as it should:\n%s", out.String())
	}
	cancel()
	if err := cmd.Wait(); err == nil {
		t.Errorf("the push ended well:\n%s", out.String())
	}
	g.open()
}

// TestSkopeoKilled does the same to a program that has no engine behind it.
func TestSkopeoKilled(t *testing.T) {
	reg := start(t, realtest.Options{})
	g := newGate(t, reg.Addr, 20<<20, stalls)
	skopeo := realtest.Skopeo(t)
	layout := realtest.NewLayout(t, bigImage(93))
	args := []string{"copy", "--preserve-digests", "--dest-tls-verify=false", "oci:" + layout.Ref(), "docker://" + g.addr + "/interrupted/skopeo:v1"}
	killInside(t, skopeo, g, args...)
	if got := readerOf(reg).status(t, "GET", "/v2/interrupted/skopeo/manifests/v1"); got != 404 {
		t.Errorf("the image that was not pushed is answered with %d", got)
	}
	skopeo.Run(args...)
	readerOf(reg).mustBeWhole(t, "interrupted/skopeo", "v1")
}
