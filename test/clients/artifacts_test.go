package clients

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"berth/test/realtest"
)

// TestArtifacts attaches things to an image and finds them, with oras and
// regctl, each of which must see what the other one did.
func TestArtifacts(t *testing.T) {
	reg := start(t, realtest.Options{})
	r := readerOf(reg)
	oras, regctl := realtest.Oras(t), realtest.Regctl(t, reg.Addr)
	layout := realtest.NewLayout(t, realtest.Image{})
	const repo = "artifacts/app"
	image := reg.Addr + "/" + repo + ":v1"
	oras.Run("cp", "--from-oci-layout", layout.Ref(), "--to-plain-http", image)

	note := write(t, oras.Home, "note.txt", "a note\n")
	write(t, oras.Home, "sbom.json", `{"sbom":true}`)
	oras.Run("attach", "--plain-http", "--artifact-type", "example/note", image, "note.txt:text/plain")
	oras.Run("attach", "--plain-http", "--artifact-type", "example/sbom", image, "sbom.json:application/json")
	regctl.Input("signature").Run("artifact", "put", "--artifact-type", "example/signature", "--subject", image)

	want := []string{"example/note", "example/sbom", "example/signature"}
	if got := referrers(t, r, repo, layout.Digest, ""); !slices.Equal(got, want) {
		t.Errorf("referrers: got %v, want %v", got, want)
	}
	if got := referrers(t, r, repo, layout.Digest, "example/sbom"); !slices.Equal(got, want[1:2]) {
		t.Errorf("referrers of one type: got %v, want %v", got, want[1:2])
	}
	found := oras.Out("discover", "--plain-http", "--format", "json", image)
	tree := regctl.Run("artifact", "list", image)
	for _, kind := range want {
		wantText(t, found, kind)
		wantText(t, tree, kind)
	}
	if got := r.tags(t, repo); !slices.Equal(got, []string{"v1"}) {
		t.Errorf("tags: got %v; a client fell back to tags for referrers", got)
	}

	var list struct {
		Referrers []struct{ Reference, ArtifactType string }
	}
	if err := json.Unmarshal([]byte(found), &list); err != nil {
		t.Fatal(err)
	}
	pulled := t.TempDir()
	for _, a := range list.Referrers {
		if a.ArtifactType == "example/note" {
			oras.Run("pull", "--plain-http", "-o", pulled, a.Reference)
		}
	}
	sameFile(t, filepath.Join(pulled, "note.txt"), note)
	if got := regctl.Out("artifact", "get", "--subject", image, "--filter-artifact-type", "example/signature"); got != "signature" {
		t.Errorf("regctl got %q, want the signature", got)
	}

	// Copied with what is attached to it, it has it there, too.
	oras.Run("cp", "-r", "--from-plain-http", "--to-plain-http", image, reg.Addr+"/artifacts/copy:v1")
	if got := referrers(t, r, "artifacts/copy", layout.Digest, ""); !slices.Equal(got, want) {
		t.Errorf("referrers of the copy: got %v, want %v", got, want)
	}
	regctl.Run("image", "copy", "--referrers", image, reg.Addr+"/artifacts/copy2:v1")
	if got := referrers(t, r, "artifacts/copy2", layout.Digest, ""); !slices.Equal(got, want) {
		t.Errorf("referrers of regctl's copy: got %v, want %v", got, want)
	}
}

// TestArtifactOnItsOwn pushes files that are no image at all.
func TestArtifactOnItsOwn(t *testing.T) {
	reg := start(t, realtest.Options{})
	oras, regctl := realtest.Oras(t), realtest.Regctl(t, reg.Addr)
	content := bytes.Repeat([]byte("0123456789abcdef"), 100_000)
	file := write(t, oras.Home, "data.bin", string(content))
	empty := write(t, oras.Home, "empty.txt", "")
	ref := reg.Addr + "/files/data:v1"
	oras.Run("push", "--plain-http", "--artifact-type", "example/files", ref, "data.bin", "empty.txt")
	readerOf(reg).mustBeWhole(t, "files/data", "v1")
	dir := t.TempDir()
	oras.Run("pull", "--plain-http", "-o", dir, ref)
	sameFile(t, filepath.Join(dir, "data.bin"), file)
	sameFile(t, filepath.Join(dir, "empty.txt"), empty)

	regctl.Run("artifact", "put", "--artifact-type", "example/files", "-f", file, "-m", "application/octet-stream", reg.Addr+"/files/data:v2")
	var got bytes.Buffer
	regctl.Stream(&got, "artifact", "get", reg.Addr+"/files/data:v2")
	if !bytes.Equal(got.Bytes(), content) {
		t.Errorf("regctl got %d bytes, want %d, or other ones", got.Len(), len(content))
	}
}

// referrers returns the sorted artifact types of what refers to a digest.
func referrers(t *testing.T, r reader, repo, digest, kind string) []string {
	t.Helper()
	path := "/v2/" + repo + "/referrers/" + digest
	if kind != "" {
		path += "?artifactType=" + kind
	}
	var index struct{ Manifests []descriptor }
	r.json(t, path, &index)
	var kinds []string
	for _, d := range index.Manifests {
		kinds = append(kinds, d.ArtifactType)
		r.mustBeWhole(t, repo, d.Digest)
	}
	slices.Sort(kinds)
	return kinds
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	p := filepath.Join(dir, name)
	if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func sameFile(t *testing.T, got, want string) {
	t.Helper()
	g, err := os.ReadFile(got)
	if err != nil {
		t.Fatal(err)
	}
	w, err := os.ReadFile(want)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(g, w) {
		t.Errorf("%s is not the file that was pushed", filepath.Base(got))
	}
}

// TestHelm pushes versions of a chart; helm finds the newest by the list of tags.
func TestHelm(t *testing.T) {
	reg := start(t, realtest.Options{})
	p := makeHelm(t, plainHTTP, nil, realtest.Layout{})
	helm := realtest.Helm(t)
	for _, version := range []string{"0.1.0", "0.2.0", "0.10.0", "1.0.0+build.7"} {
		must(t)(p.push(reg.Addr + "/charts/web:" + version))
		must(t)(p.pull(reg.Addr + "/charts/web:" + version))
	}
	chart := "oci://" + reg.Addr + "/charts/web"
	wantText(t, helm.Run("show", "chart", "--plain-http", chart, "--version", "<1"), "version: 0.10.0")
	wantText(t, helm.Run("show", "chart", "--plain-http", chart), "version: 1.0.0+build.7")
	wantText(t, helm.Run("template", "--plain-http", "release", chart), "kind: ConfigMap")
	// A plus is not allowed in tags, so helm makes it an underscore.
	if got := strings.Join(readerOf(reg).tags(t, "charts/web"), " "); got != "0.1.0 0.10.0 0.2.0 1.0.0_build.7" {
		t.Errorf("tags: got %s", got)
	}
}
