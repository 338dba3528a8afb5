package clients

import (
	"io"
	"io/fs"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"berth/test/realtest"
)

// A victim is a repository as people have them: an image for several platforms
// under two tags, an older image, a signature under cosign's fallback tag, and
// signatures and SBOMs as referrers, of the index and of one of its platforms.
type victim struct {
	t           *testing.T
	reg         *realtest.Registry
	r           reader
	repo        string
	index, old  realtest.Layout
	crane, oras *realtest.CLI
	docker      *realtest.DockerCLI
}

func newVictim(t *testing.T, repo string) *victim {
	t.Helper()
	reg := start(t, realtest.Options{})
	v := &victim{
		t: t, reg: reg, r: readerOf(reg), repo: repo,
		crane: realtest.Crane(t), oras: realtest.Oras(t), docker: realtest.Docker(t),
		index: realtest.NewLayout(t, realtest.Image{Platforms: platforms(), Layers: []int64{50_000, 1000}, Seed: seed(repo)}),
		old:   realtest.NewLayout(t, realtest.Image{Layers: []int64{50_000, 2000}, Seed: seed(repo)}),
	}
	signature := realtest.NewLayout(t, realtest.Image{Layers: []int64{300}, Seed: seed(repo + " signature")})
	v.oras.Run("cp", "--from-oci-layout", v.index.Ref(), "--to-plain-http", v.ref(":v1"))
	v.crane.Run("tag", v.ref(":v1"), "latest")
	v.crane.Run("push", v.old.Dir, v.ref(":v0"))
	v.crane.Run("push", signature.Dir, v.ref(":"+strings.Replace(v.index.Digest, ":", "-", 1)+".sig"))
	write(t, v.oras.Home, "sbom.json", `{"sbom":"`+repo+`"}`)
	write(t, v.oras.Home, "signature", "signed "+repo)
	v.attach(":v1", "example/sbom", "sbom.json")
	v.attach(":v1", "example/signature", "signature")
	v.attach("@"+v.platform(), "example/signature", "signature")
	return v
}

// ref returns what clients call something of the repository, ":TAG" or "@DIGEST".
func (v *victim) ref(what string) string { return v.reg.Addr + "/" + v.repo + what }

func (v *victim) attach(to, kind, file string) {
	v.t.Helper()
	v.oras.Run("attach", "--plain-http", "--artifact-type", kind, v.ref(to), file)
}

// platform is the digest of an image that only the index leads to.
func (v *victim) platform() string {
	v.t.Helper()
	var index manifest
	v.r.json(v.t, "/v2/"+v.repo+"/manifests/"+v.index.Digest, &index)
	return index.Manifests[1].Digest
}

// berth runs the program beside the server.
func (v *victim) berth(args ...string) string {
	v.t.Helper()
	return berth(v.t).Run(append(args, "--data", v.reg.Dir)...)
}

// collect collects as hard as it can be done.
func (v *victim) collect() {
	v.t.Helper()
	for range 3 {
		v.berth("gc", "--grace", "0s")
	}
}

// text is the body of a request that must succeed.
func (v *victim) text(path string) string {
	v.t.Helper()
	resp, err := v.r.do(http.MethodGet, path)
	if err != nil {
		v.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		v.t.Fatalf("GET %s: %s, %v", path, resp.Status, err)
	}
	return string(body)
}

// state is everything that clients can see of the repository, by how they see it.
func (v *victim) state() map[string]string {
	v.t.Helper()
	s := map[string]string{}
	for _, tag := range v.r.tags(v.t, v.repo) {
		s[tag] = strings.Join(v.r.mustBeWhole(v.t, v.repo, tag), " ")
	}
	for _, d := range []string{v.index.Digest, v.platform()} {
		s["referrers of "+d] = v.text("/v2/" + v.repo + "/referrers/" + d)
		s["kinds of "+d] = strings.Join(referrers(v.t, v.r, v.repo, d, ""), " ")
		s["oras discover "+d] = v.oras.Out("discover", "--plain-http", "--format", "json", v.ref("@"+d))
	}
	s["crane ls"] = v.crane.Out("ls", v.reg.Addr+"/"+v.repo)
	return s
}

// pulls has clients pull all platforms, and compares them with what was pushed.
func (v *victim) pulls() {
	v.t.Helper()
	dir := emptyDir(v.t)
	v.oras.Run("cp", "--from-plain-http", v.ref("@"+v.index.Digest), "--to-oci-layout", dir+":v1")
	if err := holds(dir, v.index); err != nil {
		v.t.Error(err)
	}
	for _, p := range platforms() {
		v.crane.Run("pull", "--platform", p, v.ref("@"+v.index.Digest), filepath.Join(v.t.TempDir(), "image.tar"))
	}
	v.docker.Run("pull", "--platform", "linux/arm64", v.ref("@"+v.index.Digest))
	v.docker.Run("image", "rm", v.ref("@"+v.index.Digest))
}

// gone wants no client to find a tag or a digest.
func (v *victim) gone(what string) {
	v.t.Helper()
	v.docker.Fails("pull", v.ref(what))
	v.crane.Fails("manifest", v.ref(what))
	v.oras.Fails("discover", "--plain-http", v.ref(what))
	if got := v.r.status(v.t, http.MethodGet, "/v2/"+v.repo+"/manifests/"+what[1:]); got != http.StatusNotFound {
		v.t.Errorf("%s is answered with %d", what, got)
	}
}

// is wants the repository to look as it did.
func (v *victim) is(want map[string]string) {
	v.t.Helper()
	got := v.state()
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if got[key] != want[key] {
			v.t.Errorf("%s:\ngot  %s\nwant %s", key, got[key], want[key])
		}
	}
	if len(got) != len(want) {
		v.t.Errorf("clients see %d things, want %d", len(got), len(want))
	}
}

// files counts the files of blobs.
func (v *victim) files() (n int) {
	v.t.Helper()
	err := filepath.WalkDir(filepath.Join(v.reg.Dir, "docker/registry/v2/blobs"), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			n++
		}
		return err
	})
	if err != nil {
		v.t.Fatal(err)
	}
	return n
}

// TestUndoRepository deletes a repository by mistake, collects without grace, and
// has it back whole. Then it goes for good, and its space with it.
func TestUndoRepository(t *testing.T) {
	v := newVictim(t, "undo/app")
	before := v.state()
	if want := "example/sbom example/signature"; before["kinds of "+v.index.Digest] != want || before["kinds of "+v.platform()] != "example/signature" {
		t.Fatalf("the repository is not what it should be: %v", before)
	}
	v.pulls()
	files, platform := v.files(), v.platform()

	v.berth("rm", v.repo, "--yes")
	for _, what := range []string{":v1", ":latest", ":v0", "@" + platform} {
		v.gone(what)
	}
	wantText(t, v.crane.Fails("ls", v.reg.Addr+"/"+v.repo), "NAME_UNKNOWN")
	if got := v.crane.Out("catalog", v.reg.Addr); got != "" {
		t.Errorf("the catalog has %s", got)
	}
	v.collect()
	if got := v.files(); got != files {
		t.Errorf("%d files are left of %d while the repository can be brought back", got, files)
	}
	v.berth("trash", "restore", v.repo)
	v.is(before)
	v.pulls()

	again := realtest.NewLayout(t, realtest.Image{Layers: []int64{50_000, 3000}, Seed: seed(v.repo)})
	v.crane.Run("push", again.Dir, v.ref(":v2"))
	v.r.mustBeWhole(t, v.repo, "v2")
	v.collect()
	v.r.mustBeWhole(t, v.repo, "v2")

	v.berth("rm", v.repo, "--yes")
	v.berth("trash", "empty", "--yes")
	v.collect()
	if got := v.files(); got != 0 {
		t.Errorf("%d files are left of what was given up", got)
	}
	wantText(t, berth(t).Fails("trash", "restore", v.repo, "--data", v.reg.Dir), v.repo)
}

// TestUndoManifest has a client delete an index with all tags that lead to it, and
// a collection take what nothing leads to any more.
func TestUndoManifest(t *testing.T) {
	for name, remove := range map[string]func(v *victim, digest string){
		"crane": func(v *victim, digest string) { v.crane.Run("delete", v.ref("@"+digest)) },
		"regctl": func(v *victim, digest string) {
			realtest.Regctl(v.t, v.reg.Addr).Run("manifest", "delete", v.ref("@"+digest))
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVictim(t, "undo/"+name)
			before := v.state()
			remove(v, v.index.Digest)
			for _, what := range []string{":v1", ":latest", "@" + v.index.Digest} {
				v.gone(what)
			}
			v.r.mustBeWhole(t, v.repo, "v0")
			// What no tag leads to any more is a deletion of its own: the platforms,
			// which come back with their index, and what refers to them.
			v.berth("gc", "--grace", "0s", "--untagged")
			v.collect()
			v.berth("trash", "restore", v.repo+"@"+v.index.Digest)
			if got := v.text("/v2/" + v.repo + "/referrers/" + v.index.Digest); !strings.Contains(got, `"manifests":[]`) {
				t.Errorf("referrers: %s, want none: they were let go on their own", got)
			}
			number, _, _ := strings.Cut(column(v.berth("trash", "ls", v.repo)), " ")
			v.berth("trash", "restore", number)
			v.is(before)
			v.pulls()
			v.collect()
			v.is(before)
		})
	}
}

// TestUndoMoved pushes to the name between the deletion and its undoing. The tag
// that moved on stays, unless it is forced back.
func TestUndoMoved(t *testing.T) {
	v := newVictim(t, "undo/moved")
	before := v.state()
	other := realtest.NewLayout(t, realtest.Image{Layers: []int64{7000}, Seed: seed("other")})

	v.berth("rm", v.repo, "--yes")
	v.crane.Run("push", other.Dir, v.ref(":v1"))
	v.collect()
	wantText(t, v.berth("trash", "restore", v.repo), "v1")
	if got := v.r.digest(t, v.repo, "v1"); got != other.Digest {
		t.Errorf("v1 is %s, want %s, which was pushed last", got, other.Digest)
	}
	now := maps.Clone(before)
	now["v1"] = strings.Join(v.r.mustBeWhole(t, v.repo, "v1"), " ")
	v.is(now)

	v.berth("rm", v.repo+":v1")
	v.crane.Run("tag", v.ref(":latest"), "v1")
	v.is(before)
	v.berth("rm", v.repo, "--yes")
	v.crane.Run("push", other.Dir, v.ref(":v1"))
	v.collect()
	v.berth("trash", "restore", v.repo, "--force")
	v.is(before)
	v.pulls()
}
