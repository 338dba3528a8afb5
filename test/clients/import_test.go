package clients

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"berth/test/realtest"
)

// digestOf returns the digest that berth import has printed for a name.
func digestOf(t *testing.T, out, name string) string {
	t.Helper()
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) > 2 && f[0] == "imported" && f[1] == name {
			return f[2]
		}
	}
	t.Fatalf("berth import printed nothing about %s:\n%s", name, out)
	return ""
}

// TestImportDockerSave takes in what docker save writes, by a file and by a
// pipe, and pulls it back: it must be the very image.
func TestImportDockerSave(t *testing.T) {
	reg := start(t, realtest.Options{})
	r := readerOf(reg)
	docker := realtest.Docker(t)
	cli := berth(t)
	// Two layers with the same content: docker saves the second one as a link.
	dir := t.TempDir()
	write(t, dir, "Dockerfile", "FROM scratch\nCOPY a /a\nCOPY b /b\nCOPY a /a\nCOPY b /b\n")
	write(t, dir, "a", strings.Repeat("some content ", 10_000))
	write(t, dir, "b", "b")
	docker.Run("build", "--network=none", "-q", "-t", "import-links:1", dir)
	docker.Build("import-two:2", realtest.Image{Layers: []int64{3 << 20, 100}, Seed: 71})
	docker.Run("tag", "import-two:2", "reg.example.com:5000/team/import-two:stable")
	ids := map[string]string{}
	for _, ref := range []string{"import-links:1", "import-two:2"} {
		ids[ref] = docker.Out("image", "inspect", "-f", "{{.Id}}", ref)
	}
	tar := filepath.Join(docker.Home, "images.tar")
	docker.Run("save", "-o", tar, "import-links:1", "import-two:2", "reg.example.com:5000/team/import-two:stable")

	out := cli.Run("import", "--data", reg.Dir, tar)
	first := digestOf(t, out, "import-two:2")
	if again := cli.Run("import", "--data", reg.Dir, tar); digestOf(t, again, "import-two:2") != first || !strings.Contains(again, "(0 blobs sent") {
		t.Errorf("the second import sent something:\n%s", again)
	}
	for _, name := range [][2]string{{"import-links", "1"}, {"import-two", "2"}, {"team/import-two", "stable"}} {
		r.mustBeWhole(t, name[0], name[1])
	}
	if got := r.digest(t, "team/import-two", "stable"); got != first {
		t.Errorf("the same image has the digests %s and %s", first, got)
	}
	docker.Run("image", "rm", "import-links:1", "import-two:2", "reg.example.com:5000/team/import-two:stable")
	for ref, id := range ids {
		docker.Run("pull", reg.Addr+"/"+ref)
		if got := docker.Out("image", "inspect", "-f", "{{.Id}}", reg.Addr+"/"+ref); got != id {
			t.Errorf("%s came back as %s, want %s", ref, got, id)
		}
	}

	// The same by a compressed pipe, into an idle folder, under another name.
	idle := filepath.Join(t.TempDir(), "idle")
	if err := os.Mkdir(idle, 0o700); err != nil {
		t.Fatal(err)
	}
	pipe := exec.Command("sh", "-c", `gzip -c "$1" | "$2" import --data "$3" --image import-two:2 - moved/app:9`, "sh", tar, realtest.Berth(t), idle)
	pipe.Dir = t.TempDir()
	b, err := pipe.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	if got := digestOf(t, string(b), "moved/app:9"); got != first {
		t.Errorf("got %s by a pipe, want %s", got, first)
	}
	moved := start(t, realtest.Options{Dir: idle})
	readerOf(moved).mustBeWhole(t, "moved/app", "9")
}

// TestImportArchives takes in what skopeo, crane and podman write, and wants
// digests to be those of the source wherever there is one.
func TestImportArchives(t *testing.T) {
	reg := start(t, realtest.Options{})
	r := readerOf(reg)
	cli := berth(t)
	layout := realtest.NewLayout(t, realtest.Image{Layers: []int64{200_000, 10}, Seed: 72})
	many := realtest.NewLayout(t, realtest.Image{Layers: []int64{5000}, Seed: 73, Platforms: platforms()})
	skopeo, crane := realtest.Skopeo(t), realtest.Crane(t)
	source := start(t, realtest.Options{})
	skopeo.Run("copy", "--dest-tls-verify=false", "oci:"+layout.Ref(), "docker://"+source.Addr+"/app:1")

	dir := emptyDir(t)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	skopeo.Run("copy", "oci:"+layout.Ref(), "oci:"+at("oci")+":v1")
	skopeo.Run("copy", "oci:"+layout.Ref(), "oci-archive:"+at("oci.tar")+":v1")
	skopeo.Run("copy", "oci:"+layout.Ref(), "docker-archive:"+at("docker.tar")+":team/app:v1")
	skopeo.Run("copy", "--all", "oci:"+many.Ref(), "oci-archive:"+at("index.tar")+":v1")
	crane.Run("pull", "--insecure", "--format=oci", source.Addr+"/app:1", at("crane"))
	crane.Run("pull", "--insecure", "--format=tarball", source.Addr+"/app:1", at("crane.tar"))

	tests := []struct {
		name, source string
		args         []string
		repo, tag    string
		digest       string // empty: it has none that it should have
	}{
		{"folder", "oci", []string{"folder/app"}, "folder/app", "v1", layout.Digest},
		{"archive", "oci.tar", []string{"archive/app"}, "archive/app", "v1", layout.Digest},
		{"archive with a tag", "oci.tar", []string{"archive/app:other"}, "archive/app", "other", layout.Digest},
		{"index", "index.tar", []string{"index/app"}, "index/app", "v1", many.Digest},
		{"docker archive", "docker.tar", nil, "team/app", "v1", ""},
		{"crane folder", "crane", []string{"crane/app"}, "crane/app", "latest", layout.Digest},
		{"crane tarball", "crane.tar", nil, "app", "1", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out := cli.Run(slices.Concat([]string{"import", "--data", reg.Dir, at(tt.source)}, tt.args)...)
			got := r.digest(t, tt.repo, tt.tag)
			if got != digestOf(t, out, tt.repo+":"+tt.tag) || tt.digest != "" && got != tt.digest {
				t.Errorf("got %s, want %s\n%s", got, tt.digest, out)
			}
			r.mustBeWhole(t, tt.repo, tt.tag)
		})
	}
	checkIndex(t, r, "index/app", "v1")
	// What came as a docker archive is the same image: its configuration is that
	// of the source, and other programs find its layers to be what that says.
	skopeo.Run("copy", "--src-tls-verify=false", "docker://"+reg.Addr+"/team/app:v1", "oci:"+at("back")+":v1")
	if got := crane.Out("config", "--insecure", reg.Addr+"/app:1"); got != crane.Out("config", "--insecure", source.Addr+"/app:1") {
		t.Errorf("crane's tarball came back with another configuration: %s", got)
	}
}

// TestImportReferrers takes in a layout with signatures, which stay what they
// are: found by what they belong to.
func TestImportReferrers(t *testing.T) {
	source := start(t, realtest.Options{})
	oras := realtest.Oras(t)
	layout := realtest.NewLayout(t, realtest.Image{Seed: 74})
	image := source.Addr + "/app:v1"
	oras.Run("cp", "--from-oci-layout", layout.Ref(), "--to-plain-http", image)
	write(t, oras.Home, "note.txt", "a note\n")
	oras.Run("attach", "--plain-http", "--artifact-type", "example/note", image, "note.txt:text/plain")
	out := filepath.Join(oras.Home, "out")
	oras.Run("cp", "-r", "--from-plain-http", image, "--to-oci-layout", out+":v1")

	reg := start(t, realtest.Options{})
	berth(t).Run("import", "--data", reg.Dir, out, "signed/app:v2")
	if got := referrers(t, readerOf(reg), "signed/app", layout.Digest, ""); !slices.Equal(got, []string{"example/note"}) {
		t.Errorf("referrers: got %v, want the note", got)
	}
	readerOf(reg).mustBeWhole(t, "signed/app", "v2")
	if got := readerOf(reg).tags(t, "signed/app"); !slices.Equal(got, []string{"v2"}) {
		t.Errorf("tags: got %v, want v2 alone", got)
	}
}

// TestExportOCI writes images to a folder and to an archive, and has others read
// them: what they find is what is in the registry.
func TestExportOCI(t *testing.T) {
	reg := start(t, realtest.Options{})
	many := realtest.NewLayout(t, realtest.Image{Layers: []int64{5000}, Seed: 75, Platforms: platforms()})
	one := realtest.NewLayout(t, realtest.Image{Layers: []int64{3 << 20, 1}, Seed: 76})
	skopeo, crane, cli := realtest.Skopeo(t), realtest.Crane(t), berth(t)
	skopeo.Run("copy", "--all", "--dest-tls-verify=false", "oci:"+many.Ref(), "docker://"+reg.Addr+"/app:many")
	skopeo.Run("copy", "--dest-tls-verify=false", "oci:"+one.Ref(), "docker://"+reg.Addr+"/app:one")
	dir := emptyDir(t)
	cli.Run("export", "oci", "--data", reg.Dir, dir, "app")
	cli.Run("export", "oci", "--data", reg.Dir, dir+".tar", "app:many")
	for _, l := range []realtest.Layout{many, one} {
		if err := holds(dir, l); err != nil {
			t.Error(err)
		}
	}
	other := start(t, realtest.Options{})
	for source, tag := range map[string]string{"oci:" + dir + ":many": "folder", "oci-archive:" + dir + ".tar:many": "archive"} {
		skopeo.Run("copy", "--all", "--dest-tls-verify=false", source, "docker://"+other.Addr+"/app:"+tag)
		if got := readerOf(other).digest(t, "app", tag); got != many.Digest {
			t.Errorf("%s: got %s, want %s", source, got, many.Digest)
		}
		checkIndex(t, readerOf(other), "app", tag)
	}
	crane.Run("validate", "--insecure", "--remote", other.Addr+"/app:folder")
	pipe := exec.Command("sh", "-c", `"$1" export oci --data "$2" - app:one | "$1" import --data "$3" - piped/app:v1`, "sh", realtest.Berth(t), reg.Dir, other.Dir)
	pipe.Dir = t.TempDir()
	if b, err := pipe.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	if got := readerOf(other).digest(t, "piped/app", "v1"); got != one.Digest {
		t.Errorf("by a pipe: got %s, want %s", got, one.Digest)
	}
	readerOf(other).mustBeWhole(t, "piped/app", "v1")
}
