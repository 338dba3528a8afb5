package clients

import (
	"slices"
	"strings"
	"testing"

	"berth/test/realtest"
)

// TestDeletes has each client delete in its own way, and what others still need
// stay.
func TestDeletes(t *testing.T) {
	reg := start(t, realtest.Options{})
	r := readerOf(reg)
	skopeo, crane, oras, regctl := realtest.Skopeo(t), realtest.Crane(t), realtest.Oras(t), realtest.Regctl(t, reg.Addr)
	const plain = "--plain-http"
	tests := []struct {
		name   string
		remove func(ref, digest string) // of tag v1
		left   []string                 // tags; v1 and same are the same image, other is not
	}{
		{"skopeo delete", func(ref, _ string) { skopeo.Run("delete", "--tls-verify=false", "docker://"+ref) }, []string{"other"}},
		{"crane delete of a tag", func(ref, _ string) { crane.Run("delete", ref) }, []string{"other", "same"}},
		{"crane delete of a digest", func(_, digest string) { crane.Run("delete", digest) }, []string{"other"}},
		{"regctl tag delete", func(ref, _ string) { regctl.Run("tag", "delete", ref) }, []string{"other", "same"}},
		{"regctl manifest delete", func(_, digest string) { regctl.Run("manifest", "delete", digest) }, []string{"other"}},
		{"oras manifest delete", func(ref, _ string) { oras.Run("manifest", "delete", plain, "--force", ref) }, []string{"other"}},
		{"berth rm of a tag", func(ref, _ string) { berth(t).Run("rm", "--data", reg.Dir, inside(ref)) }, []string{"other", "same"}},
		{"berth rm of a digest", func(_, digest string) { berth(t).Run("rm", "--data", reg.Dir, inside(digest)) }, []string{"other"}},
	}
	one := realtest.NewLayout(t, realtest.Image{Seed: 1, Layers: []int64{1000, 2000}})
	two := realtest.NewLayout(t, realtest.Image{Seed: 1, Layers: []int64{1000, 3000}}) // shares a layer
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			repo := "deletes/" + strings.ReplaceAll(tt.name, " ", "-")
			base := reg.Addr + "/" + repo
			for tag, l := range map[string]realtest.Layout{"v1": one, "same": one, "other": two} {
				crane.Run("push", l.Dir, base+":"+tag)
			}
			tt.remove(base+":v1", base+"@"+one.Digest)
			if got := r.tags(t, repo); !slices.Equal(got, tt.left) {
				t.Errorf("tags: got %v, want %v", got, tt.left)
			}
			if got := r.status(t, "GET", "/v2/"+repo+"/manifests/v1"); got != 404 {
				t.Errorf("the deleted tag is answered with %d", got)
			}
			for _, tag := range tt.left {
				r.mustBeWhole(t, repo, tag)
			}
			crane.Run("push", one.Dir, base+":v1") // what was deleted can come back
			r.mustBeWhole(t, repo, "v1")
		})
	}
}

// inside returns a reference without its host.
func inside(ref string) string {
	_, rest, _ := strings.Cut(ref, "/")
	return rest
}

// TestNeededStays has oras, which deletes whatever it is told to, try to take a
// layer from an image and an image from an index.
func TestNeededStays(t *testing.T) {
	reg := start(t, realtest.Options{})
	r, oras := readerOf(reg), realtest.Oras(t)
	layout := realtest.NewLayout(t, realtest.Image{Platforms: platforms()[:2], Seed: 5})
	const repo = "needed/app"
	base := reg.Addr + "/" + repo
	oras.Run("cp", "--from-oci-layout", layout.Ref(), "--to-plain-http", base+":v1")
	var index manifest
	r.json(t, "/v2/"+repo+"/manifests/v1", &index)
	for _, d := range layout.Blobs {
		said := oras.Fails("blob", "delete", "--plain-http", "--force", base+"@"+d)
		if !strings.Contains(said, index.Manifests[0].Digest) && !strings.Contains(said, index.Manifests[1].Digest) {
			t.Errorf("got %q, want the image that needs the blob in it", said)
		}
	}
	for _, d := range index.Manifests {
		said := oras.Fails("manifest", "delete", "--plain-http", "--force", base+"@"+d.Digest)
		wantText(t, said, layout.Digest) // which index needs it
	}
	if got := len(r.mustBeWhole(t, repo, "v1")); got != 7 { // index, 2 × (manifest, layer, config)
		t.Errorf("the index has %d parts, want 7", got)
	}
	dir := emptyDir(t)
	oras.Run("cp", "--from-plain-http", base+":v1", "--to-oci-layout", dir+":v1")
	if err := holds(dir, layout); err != nil {
		t.Error(err)
	}
	// Once the index is gone, they may go.
	oras.Run("manifest", "delete", "--plain-http", "--force", base+"@"+layout.Digest)
	for _, d := range index.Manifests {
		oras.Run("manifest", "delete", "--plain-http", "--force", base+"@"+d.Digest)
	}
	for _, d := range layout.Blobs {
		oras.Run("blob", "delete", "--plain-http", "--force", base+"@"+d)
		if got := r.status(t, "HEAD", "/v2/"+repo+"/blobs/"+d); got != 404 {
			t.Errorf("a deleted blob is answered with %d", got)
		}
	}
}

// TestBerthCommands lists and deletes with berth itself, beside the running
// server and without one.
func TestBerthCommands(t *testing.T) {
	reg := start(t, realtest.Options{})
	crane, tool := realtest.Crane(t), berth(t)
	layout := realtest.NewLayout(t, realtest.Image{Layers: []int64{1000, 1000}})
	for _, name := range []string{"a/app:v1", "a/app:v2", "b:v1"} {
		crane.Run("push", layout.Dir, reg.Addr+"/"+name)
	}
	check := func(removed string, tags string) {
		t.Helper()
		list := tool.Run("ls", "--data", reg.Dir)
		wantText(t, list, "a/app")
		wantText(t, list, "b")
		wantText(t, tool.Run("ls", "--data", reg.Dir, "b:v1"), layout.Blobs[0])
		tool.Run("rm", "--data", reg.Dir, removed)
		if got := column(tool.Out("ls", "--data", reg.Dir, "a/app")); got != tags {
			t.Errorf("tags: got %s, want %s", got, tags)
		}
		wantText(t, tool.Fails("rm", "--data", reg.Dir, removed), removed)
	}
	check("a/app:v1", "v2")
	if got := readerOf(reg).tags(t, "a/app"); !slices.Equal(got, []string{"v2"}) {
		t.Errorf("the server lists %v", got)
	}
	crane.Run("push", layout.Dir, reg.Addr+"/a/app:v3")
	reg.Stop()
	check("a/app:v2", "v3")
	reg.Restart()
	if got := readerOf(reg).tags(t, "a/app"); !slices.Equal(got, []string{"v3"}) {
		t.Errorf("the server lists %v", got)
	}
	readerOf(reg).mustBeWhole(t, "b", "v1")
}

// column returns the first words of the lines behind the first.
func column(table string) string {
	var words []string
	for line := range strings.Lines(table) {
		word, _, _ := strings.Cut(line, " ")
		words = append(words, word)
	}
	return strings.Join(words[1:], " ")
}
