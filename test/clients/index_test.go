package clients

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"berth/test/realtest"
)

func platforms() []string {
	return []string{"linux/amd64", "linux/arm64", "linux/s390x", "windows/amd64"}
}

// TestIndexes has the clients copy an index of four platforms, whole, and take
// single platforms out of it.
func TestIndexes(t *testing.T) {
	reg := start(t, realtest.Options{})
	r := readerOf(reg)
	layout := realtest.NewLayout(t, realtest.Image{Layers: []int64{150_000, 7}, Seed: 4, Platforms: platforms()})
	for _, name := range []string{"skopeo", "crane", "oras", "regctl"} {
		t.Run(name, func(t *testing.T) {
			p := makers()[name](t, plainHTTP, nil, layout)
			repo := "index/" + name
			if name == "crane" { // a layout with one entry is otherwise taken for that entry
				must(t)(realtest.Crane(t).Try("push", "--index", layout.Dir, reg.Addr+"/"+repo+":outer"))
			}
			must(t)(p.push(reg.Addr + "/" + repo + ":v1"))
			checkIndex(t, r, repo, "v1")
			if got := r.digest(t, repo, "v1"); got != layout.Digest {
				t.Errorf("pushed %s, want %s", got, layout.Digest)
			}
			must(t)(p.pull(reg.Addr + "/" + repo + ":v1"))
		})
	}
	t.Run("one platform", func(t *testing.T) {
		ref := reg.Addr + "/index/skopeo:v1"
		crane := realtest.Crane(t)
		wantText(t, crane.Run("config", "--platform", "linux/arm64", ref), `"arm64"`)
		skopeo := realtest.Skopeo(t)
		wantText(t, skopeo.Run("--override-arch", "s390x", "inspect", "--tls-verify=false", "docker://"+ref), `"s390x"`)
		docker := realtest.Docker(t)
		docker.Run("pull", "--platform", "linux/arm64", ref)
		if got := docker.Out("image", "inspect", "-f", "{{.Os}}/{{.Architecture}}", ref); got != "linux/arm64" {
			t.Errorf("docker pulled %s, want linux/arm64", got)
		}
		docker.Run("image", "rm", ref)
	})
}

// checkIndex wants all platforms under a tag, with everything they need.
func checkIndex(t *testing.T, r reader, repo, tag string) {
	t.Helper()
	var index manifest
	r.json(t, "/v2/"+repo+"/manifests/"+tag, &index)
	var got []string
	for _, m := range index.Manifests {
		got = append(got, m.Platform.OS+"/"+m.Platform.Architecture)
	}
	slices.Sort(got)
	if !slices.Equal(got, platforms()) {
		t.Errorf("%s:%s has %v, want %v", repo, tag, got, platforms())
	}
	r.mustBeWhole(t, repo, tag)
}

// TestIndexesMade has the clients make indexes of images that are there.
func TestIndexesMade(t *testing.T) {
	reg := start(t, realtest.Options{})
	r := readerOf(reg)
	const repo = "made/app"
	base := reg.Addr + "/" + repo
	crane := realtest.Crane(t)
	skopeo := realtest.Skopeo(t)
	var refs, dockerRefs []string // the same in the formats of OCI and docker
	for i, p := range platforms() {
		l := realtest.NewLayout(t, realtest.Image{Layers: []int64{int64(1000 * i), 100}, Platforms: []string{p}})
		ref := base + ":" + strings.ReplaceAll(p, "/", "-")
		crane.Run("push", l.Dir, ref)
		skopeo.Run("copy", "--format", "v2s2", "--dest-tls-verify=false", "oci:"+l.Ref(), "docker://"+ref+"-docker")
		refs, dockerRefs = append(refs, ref), append(dockerRefs, ref+"-docker")
	}
	t.Run("docker", func(t *testing.T) {
		docker := realtest.Docker(t)
		docker.Run(append([]string{"manifest", "create", "--insecure", base + ":docker"}, dockerRefs...)...)
		docker.Run("manifest", "push", "--insecure", base+":docker")
		checkIndex(t, r, repo, "docker")
		wantText(t, docker.Run("manifest", "inspect", "--insecure", base+":docker"), "s390x")
	})
	t.Run("podman", func(t *testing.T) {
		podman := realtest.Podman(t)
		podman.Run("manifest", "create", "list")
		for _, ref := range refs {
			podman.Run("manifest", "add", "--tls-verify=false", "list", "docker://"+ref)
		}
		podman.Run("manifest", "push", "--tls-verify=false", "--all", "list", "docker://"+base+":podman")
		checkIndex(t, r, repo, "podman")
	})
	t.Run("crane", func(t *testing.T) {
		args := []string{"index", "append", "-t", base + ":crane"}
		for _, ref := range refs {
			args = append(args, "-m", ref)
		}
		crane.Run(args...)
		checkIndex(t, r, repo, "crane")
		crane.Run("index", "filter", base+":crane", "--platform", "linux/amd64", "-t", base+":crane-filtered")
		r.mustBeWhole(t, repo, "crane-filtered")
	})
	t.Run("regctl", func(t *testing.T) {
		args := []string{"index", "create", base + ":regctl"}
		for _, ref := range refs {
			args = append(args, "--ref", ref)
		}
		realtest.Regctl(t, reg.Addr).Run(args...)
		checkIndex(t, r, repo, "regctl")
	})
	t.Run("oras", func(t *testing.T) {
		args := []string{"manifest", "index", "create", "--plain-http", base + ":oras"}
		for _, ref := range refs {
			args = append(args, strings.TrimPrefix(ref, base+":"))
		}
		realtest.Oras(t).Run(args...)
		checkIndex(t, r, repo, "oras")
	})
	t.Run("copied", func(t *testing.T) { // into another repository, which takes its images along
		skopeo.Run("copy", "--all", "--src-tls-verify=false", "--dest-tls-verify=false", "docker://"+base+":docker", "docker://"+reg.Addr+"/made/copy:v1")
		checkIndex(t, r, "made/copy", "v1")
		skopeo.Run("copy", "--all", "--src-tls-verify=false", "docker://"+base+":docker", "dir:"+filepath.Join(skopeo.Home, "copy"))
	})
}
