package operate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"berth/test/realtest"
)

// fetch gets a path of a registry, with its type.
func fetch(t *testing.T, base, path string) (status int, kind string, body []byte) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, base+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, accept := range []string{
		"application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json",
		"application/vnd.docker.distribution.manifest.v2+json", "application/vnd.docker.distribution.manifest.list.v2+json",
	} {
		req.Header.Add("Accept", accept)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("Content-Type"), body
}

// list returns the texts under a key of a JSON answer.
func list(t *testing.T, base, path, key string) []string {
	t.Helper()
	status, _, body := fetch(t, base, path)
	var answer map[string]json.RawMessage
	var texts []string
	if err := json.Unmarshal(body, &answer); err != nil || status != 200 {
		t.Fatalf("%s: got %d %s", path, status, body)
	}
	if err := json.Unmarshal(answer[key], &texts); err != nil {
		t.Fatal(err)
	}
	slices.Sort(texts)
	return texts
}

// A comparison walks through one registry and finds what another one has
// differently.
type comparison struct {
	t           *testing.T
	ours, other string
	seen        map[string]bool
}

// compareAll compares catalogs, tags, manifests by tag and by digest, and blobs,
// and returns how many things those were.
func compareAll(t *testing.T, ours, other string) int {
	t.Helper()
	c := comparison{t: t, ours: ours, other: other, seen: map[string]bool{}}
	repos := list(t, ours, "/v2/_catalog", "repositories")
	if got := list(t, other, "/v2/_catalog", "repositories"); !slices.Equal(got, repos) {
		t.Errorf("repositories: got %v, want %v", got, repos)
	}
	for _, repo := range repos {
		tags := list(t, ours, "/v2/"+repo+"/tags/list", "tags")
		if got := list(t, other, "/v2/"+repo+"/tags/list", "tags"); !slices.Equal(got, tags) {
			t.Errorf("tags of %s: got %v, want %v", repo, got, tags)
		}
		for _, tag := range tags {
			c.manifest(repo, tag)
		}
	}
	return len(c.seen)
}

func (c *comparison) same(path string) []byte {
	c.t.Helper()
	if c.seen[path] {
		return nil
	}
	c.seen[path] = true
	status, kind, body := fetch(c.t, c.ours, path)
	status2, kind2, body2 := fetch(c.t, c.other, path)
	if status != 200 || status2 != status || kind != kind2 || !bytes.Equal(body, body2) {
		c.t.Errorf("%s: the other one answers %d %s with %d bytes, we %d %s with %d", path, status2, kind2, len(body2), status, kind, len(body))
	}
	return body
}

func (c *comparison) manifest(repo, ref string) {
	c.t.Helper()
	body := c.same("/v2/" + repo + "/manifests/" + ref)
	if body == nil {
		return
	}
	type descriptor struct{ Digest string }
	var m struct {
		Config            *descriptor
		Layers, Manifests []descriptor
	}
	if err := json.Unmarshal(body, &m); err != nil {
		c.t.Fatal(err)
	}
	if m.Config != nil {
		m.Layers = append(m.Layers, *m.Config)
	}
	for _, d := range m.Layers {
		c.same("/v2/" + repo + "/blobs/" + d.Digest)
	}
	for _, d := range m.Manifests {
		c.manifest(repo, d.Digest)
	}
}

// fill pushes something of every kind.
func fill(t *testing.T, addr string) (signed realtest.Layout) {
	t.Helper()
	skopeo, oras := realtest.Skopeo(t), realtest.Oras(t)
	push := func(l realtest.Layout, ref string, more ...string) {
		skopeo.Run(slices.Concat([]string{"copy", "--dest-tls-verify=false"}, more, []string{"oci:" + l.Ref(), "docker://" + addr + "/" + ref})...)
	}
	first := realtest.NewLayout(t, realtest.Image{Seed: 81, Layers: []int64{300_000, 10}})
	push(first, "app:v1")
	push(first, "app:same")
	push(first, "team/deep/er/app:v1")
	push(realtest.NewLayout(t, realtest.Image{Seed: 82}), "app:v2")
	push(realtest.NewLayout(t, realtest.Image{Seed: 83}), "app:v2") // which leaves the first one without a tag
	push(realtest.NewLayout(t, realtest.Image{Seed: 84}), "docker:v1", "--format", "v2s2")
	push(realtest.NewLayout(t, realtest.Image{Seed: 85, Platforms: []string{"linux/amd64", "linux/arm64"}}), "index:v1", "--all")
	oras.Run("cp", "--from-oci-layout", first.Ref(), "--to-plain-http", addr+"/signed:v1")
	write(t, oras.Home, "note.txt", "a note\n")
	oras.Run("attach", "--plain-http", "--artifact-type", "example/note", addr+"/signed:v1", "note.txt:text/plain")
	return first
}

// TestExportRegistry2 exports a running registry twice, and an idle one, and has
// both real registries serve what came of it: all of it, byte for byte.
func TestExportRegistry2(t *testing.T) {
	reg := realtest.Start(t, realtest.Options{})
	signed := fill(t, reg.Addr)
	dir := filepath.Join(t.TempDir(), "registry2")
	berth := realtest.NewCLI(t, realtest.Berth(t))
	export := func(args ...string) string {
		t.Helper()
		return berth.Run(slices.Concat([]string{"export", "registry2", "--data", reg.Dir}, args)...)
	}
	dry := export("--dry-run")
	if _, err := os.Stat(dir); err == nil {
		t.Error("--dry-run has made the folder")
	}
	out := export(dir)
	if !strings.Contains(out, strings.Split(dry, "\n")[0]) || !strings.Contains(out, " 0 were copied") {
		t.Errorf("--dry-run printed\n%s\nand the export\n%s\nwant the same counts, and no copies", dry, out)
	}
	compareReal(t, reg.URL, dir, func(url string) {
		for _, r := range referrersOf(t, reg.URL, "signed", signed.Digest) { // which registry:2 has, but can't list
			c := comparison{t: t, ours: reg.URL, other: url, seen: map[string]bool{}}
			c.manifest("signed", r)
		}
	})

	// What changed meanwhile is brought up to date.
	skopeo, crane := realtest.Skopeo(t), realtest.Crane(t)
	skopeo.Run("copy", "--dest-tls-verify=false", "oci:"+realtest.NewLayout(t, realtest.Image{Seed: 90}).Ref(), "docker://"+reg.Addr+"/app:v1")
	crane.Run("delete", reg.Addr+"/app:same")
	crane.Run("delete", reg.Addr+"/docker@"+crane.Out("digest", reg.Addr+"/docker:v1"))
	if out := export(dir); !strings.Contains(out, "links there are unknown to this registry") {
		t.Errorf("the export doesn't tell of links that are too many:\n%s", out)
	}
	if out := export("--delete", dir); strings.Contains(out, "unknown") || !strings.Contains(out, "0 files are shared with this registry, 0 were copied") {
		t.Errorf("the export with --delete:\n%s", out)
	}
	compareReal(t, reg.URL, dir, nil)

	// The same of the idle folder, with files of its own.
	reg.Stop()
	copied := filepath.Join(t.TempDir(), "copied")
	if out := export("--copy", copied); !strings.Contains(out, "\n0 files are shared") {
		t.Errorf("the export with --copy:\n%s", out)
	}
	if out := berth.Fails("export", "registry2", "--data", reg.Dir, reg.Dir+"/x"); !strings.Contains(out, "outside of it") {
		t.Errorf("an export into the data directory: %s", out)
	}
	if out := berth.Fails("export", "registry2", "--data", reg.Dir, filepath.Dir(copied)); !strings.Contains(out, "neither empty nor") {
		t.Errorf("an export over something else: %s", out)
	}
	reg.Restart()
	compareReal(t, reg.URL, copied, nil)
}

func referrersOf(t *testing.T, base, repo, subject string) []string {
	t.Helper()
	_, _, body := fetch(t, base, "/v2/"+repo+"/referrers/"+subject)
	var index struct{ Manifests []struct{ Digest string } }
	if err := json.Unmarshal(body, &index); err != nil || len(index.Manifests) == 0 {
		t.Fatalf("no referrers: %s", body)
	}
	var found []string
	for _, m := range index.Manifests {
		found = append(found, m.Digest)
	}
	return found
}

// compareReal starts each real registry on a copy of an export, and compares it
// with the registry at url.
func compareReal(t *testing.T, url, dir string, more func(url string)) {
	t.Helper()
	for _, program := range []string{"registry", "docker-registry"} {
		t.Run(fmt.Sprintf("%s on %s", program, filepath.Base(dir)), func(t *testing.T) {
			real := startReal(t, program, dir, "")
			if n := compareAll(t, url, real.url); n < 20 {
				t.Errorf("only %d things were compared", n)
			}
			if more != nil {
				more(real.url)
			}
		})
	}
}

// TestExportKilled kills the server while it exports, and lets it go on.
func TestExportKilled(t *testing.T) {
	reg := realtest.Start(t, realtest.Options{})
	layout := realtest.NewLayout(t, realtest.Image{Seed: 95})
	berth, skopeo := realtest.NewCLI(t, realtest.Berth(t)), realtest.Skopeo(t)
	skopeo.Run("copy", "--dest-tls-verify=false", "oci:"+layout.Ref(), "docker://"+reg.Addr+"/r0:v1")
	for i := range 60 {
		berth.Run("import", "--data", reg.Dir, layout.Dir, fmt.Sprintf("r%d:v%d", i/3, i))
	}
	dir := filepath.Join(t.TempDir(), "out")
	done := make(chan error, 1)
	go func() {
		_, err := berth.Try("export", "registry2", "--data", reg.Dir, dir)
		done <- err
	}()
	soon(t, func() error {
		_, err := os.Stat(filepath.Join(dir, "docker/registry/v2/repositories/r1/_manifests"))
		return err
	})
	reg.Kill()
	<-done // with an error, or just before the kill
	reg.Restart()
	berth.Run("export", "registry2", "--data", reg.Dir, dir)
	real := startReal(t, "registry", dir, "")
	compareAll(t, reg.URL, real.url)
}

// TestExportAdopted exports what a registry:2 has left, which nobody has taken over
// yet: its files are shared, too.
func TestExportAdopted(t *testing.T) {
	old := filepath.Join(t.TempDir(), "old")
	real := startReal(t, "registry", old, "")
	fill(t, real.addr)
	data := filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(data, os.DirFS(old)); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "again")
	out := realtest.NewCLI(t, realtest.Berth(t)).Run("export", "registry2", "--data", data, dir)
	if !strings.Contains(out, " 0 were copied") {
		t.Errorf("files were copied:\n%s", out)
	}
	reg := realtest.Start(t, realtest.Options{Dir: data})
	if n := compareAll(t, reg.URL, real.url); n < 20 {
		t.Errorf("only %d things were compared with the original", n)
	}
	compareReal(t, real.url, dir, nil)
}
