package bundle

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/internal/oci"
)

// A file of an archive to be made. A link has a target and no content.
type file struct {
	name, content, target string
	kind                  byte
	records               map[string]string
}

// archiveOf returns a tar archive.
func archiveOf(t testing.TB, list ...file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range list {
		h := &tar.Header{Name: f.name, Size: int64(len(f.content)), Mode: 0o644, Linkname: f.target, Typeflag: f.kind, PAXRecords: f.records}
		if f.target != "" && f.kind == 0 {
			h.Typeflag = tar.TypeSymlink
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, f.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// tarOf packs n bytes as a layer is.
func tarOf(t testing.TB, n int) string {
	return string(archiveOf(t, file{name: "data", content: strings.Repeat("x", n)}))
}

func digestOf(s string) oci.Digest { return oci.SHA256.FromBytes([]byte(s)) }

func zip(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// dockerFiles returns the files of a docker archive with one image.
func dockerFiles(t testing.TB, tags []string, layers ...string) []file {
	t.Helper()
	entry := dockerImage{Config: "c.json", RepoTags: tags}
	var ids []string
	var list []file
	for i, l := range layers {
		entry.Layers = append(entry.Layers, fmt.Sprintf("%d/layer.tar", i))
		list = append(list, file{name: entry.Layers[i], content: l})
		ids = append(ids, digestOf(l).String())
	}
	config := encode(t, map[string]any{"architecture": "amd64", "rootfs": map[string]any{"type": "layers", "diff_ids": ids}})
	return append(list, file{name: "c.json", content: config}, file{name: "manifest.json", content: encode(t, []dockerImage{entry})})
}

func encode(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// layoutFiles returns the files of a layout with one image of one layer.
func layoutFiles(t testing.TB, annotations map[string]string, layer string) []file {
	t.Helper()
	m := encode(t, map[string]any{"schemaVersion": 2, "mediaType": oci.MediaTypeImage,
		"config": oci.Descriptor{MediaType: "application/vnd.oci.image.config.v1+json", Digest: digestOf("{}"), Size: 2},
		"layers": []oci.Descriptor{{MediaType: "application/vnd.oci.image.layer.v1.tar", Digest: digestOf(layer), Size: int64(len(layer))}}})
	index := encode(t, map[string]any{"schemaVersion": 2,
		"manifests": []oci.Descriptor{{MediaType: oci.MediaTypeImage, Digest: digestOf(m), Size: int64(len(m)), Annotations: annotations}}})
	return []file{
		{name: "oci-layout", content: `{"imageLayoutVersion":"1.0.0"}`},
		{name: "index.json", content: index},
		{name: blobName(digestOf(m)), content: m},
		{name: blobName(digestOf("{}")), content: "{}"},
		{name: blobName(digestOf(layer)), content: layer},
	}
}

// openBytes opens an archive that is on disk.
func openBytes(t testing.TB, b []byte, o Options) (*Bundle, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "archive")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	bundle, err := Open(t.Context(), path, nil, o)
	if err == nil {
		t.Cleanup(func() { bundle.Close() })
	}
	return bundle, err
}

// wantWhole wants the first image to consist of blobs, and each to be what its
// digest says.
func wantWhole(t *testing.T, b *Bundle, blobs int) {
	t.Helper()
	c, err := b.Contents(b.Images[0].Root)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Blobs) != blobs || len(c.Missing)+len(c.Elsewhere) > 0 || len(c.Manifests) == 0 {
		t.Errorf("got %+v, want %d blobs and all of them there", c, blobs)
	}
	for _, d := range c.Blobs {
		r, size, err := b.Blob(d.Digest)
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		r.Close()
		if has := d.Digest.Algorithm().FromBytes(content); err != nil || has != d.Digest || int64(len(content)) != size || size != d.Size {
			t.Errorf("blob %s of %d bytes is %s of %d, %v", d.Digest, d.Size, has, size, err)
		}
	}
}

func TestDockerArchive(t *testing.T) {
	a, b := tarOf(t, 5000), tarOf(t, 10)
	plain := dockerFiles(t, []string{"app:1", "reg.example.com/team/app:2"}, a, b)
	linked := dockerFiles(t, []string{"app:1"}, a, b, a)
	for i, f := range linked { // as docker before 25 does it
		if f.name == "2/layer.tar" {
			linked[i] = file{name: f.name, target: "../0/layer.tar"}
		}
	}
	packed := dockerFiles(t, nil, a, b)
	for i, f := range packed { // as crane does it
		if f.name == "0/layer.tar" {
			packed[i].content = string(zip(t, []byte(a)))
		}
	}
	for name, tt := range map[string]struct {
		archive []byte
		blobs   int
	}{
		"plain":            {archiveOf(t, plain...), 3},
		"linked":           {archiveOf(t, linked...), 3},
		"layers by gzip":   {archiveOf(t, packed...), 3},
		"archive by gzip":  {zip(t, archiveOf(t, plain...)), 3},
		"without layers":   {archiveOf(t, dockerFiles(t, nil)...), 1},
		"with a folder ./": {archiveOf(t, append([]file{{name: "./", kind: tar.TypeDir}}, plain...)...), 3},
	} {
		t.Run(name, func(t *testing.T) {
			bundle, err := openBytes(t, tt.archive, Options{})
			if err != nil {
				t.Fatal(err)
			}
			wantWhole(t, bundle, tt.blobs)
			again, err := openBytes(t, tt.archive, Options{})
			if err != nil || again.Images[0].Root.Digest != bundle.Images[0].Root.Digest {
				t.Errorf("the second time: %v, %v; want the same manifest", again.Images[0].Root, err)
			}
		})
	}
	bundle, err := openBytes(t, archiveOf(t, plain...), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(bundle.Images[0].Names); got != "[app:1 team/app:2]" {
		t.Errorf("names: got %s", got)
	}
}

func TestLayout(t *testing.T) {
	for want, annotations := range map[string]map[string]string{
		"[v1]":         {refName: "v1"},
		"[team/app:2]": {refName: "reg:5000/team/app:2"},
		"[app:3]":      {refName: "3", containerName: "docker.io/library/app:3"},
		"[]":           nil,
	} {
		bundle, err := openBytes(t, archiveOf(t, layoutFiles(t, annotations, tarOf(t, 100))...), Options{})
		if err != nil {
			t.Fatal(err)
		}
		wantWhole(t, bundle, 2)
		if got := fmt.Sprint(bundle.Images[0].Names); got != want {
			t.Errorf("%v: got %s, want %s", annotations, got, want)
		}
	}
	bundle, err := openBytes(t, archiveOf(t, layoutFiles(t, map[string]string{refName: "no tag at all"}, "x")...), Options{})
	if err != nil || fmt.Sprint(bundle.Images[0].Odd) != "[no tag at all]" {
		t.Errorf("got %v, %v; want an odd name", bundle.Images, err)
	}
}

// TestFolder holds that a folder is read like an archive, and that nothing leads
// out of it.
func TestFolder(t *testing.T) {
	dir := t.TempDir()
	list := layoutFiles(t, map[string]string{refName: "v1"}, tarOf(t, 100))
	for _, f := range list {
		path := filepath.Join(dir, filepath.FromSlash(f.name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(f.content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	bundle, err := Open(t.Context(), dir, nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer bundle.Close()
	wantWhole(t, bundle, 2)

	layer := filepath.Join(dir, filepath.FromSlash(list[4].name))
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.Rename(layer, outside); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, layer); err != nil {
		t.Skip(err)
	}
	if c, err := bundle.Contents(bundle.Images[0].Root); err == nil {
		t.Errorf("a link out of the folder was followed: %+v", c)
	}
}

// TestRefused holds what is not read, and that the message says what to do.
func TestRefused(t *testing.T) {
	layer := tarOf(t, 5000)
	docker := dockerFiles(t, []string{"app:1"}, layer)
	layout := layoutFiles(t, nil, layer)
	with := func(list []file, extra ...file) []byte { return archiveOf(t, append(extra, list...)...) }
	without := func(list []file, name string) []byte {
		var kept []file
		for _, f := range list {
			if f.name != name {
				kept = append(kept, f)
			}
		}
		return archiveOf(t, kept...)
	}
	whole := archiveOf(t, docker...)
	for name, tt := range map[string]struct {
		archive []byte
		want    string
	}{
		"nothing":             {nil, "empty"},
		"text":                {[]byte(strings.Repeat("this is no archive\n", 100)), "not a tar archive"},
		"an empty archive":    {archiveOf(t), "neither an OCI layout"},
		"other files":         {archiveOf(t, file{name: "a"}), "docker save"},
		"a container":         {archiveOf(t, file{name: "etc/passwd"}), "docker export"},
		"old docker":          {archiveOf(t, file{name: "repositories", content: "{}"}), "docker before 1.10"},
		"a data directory":    {archiveOf(t, file{name: "docker/registry/v2/x"}), "takes it over"},
		"no index":            {without(layout, "index.json"), "copy it again"},
		"no configuration":    {without(docker, "c.json"), "incomplete"},
		"no layer":            {without(docker, "0/layer.tar"), "incomplete"},
		"cut off":             {whole[:len(whole)-3000], "copy it again"},
		"cut off by gzip":     {zip(t, whole)[:200], "copy it again"},
		"xz":                  {[]byte("\xfd7zXZ\x00..."), "xz -d"},
		"zstd":                {[]byte("\x28\xb5\x2f\xfd..."), "zstd -d"},
		"path up":             {with(docker, file{name: "../x"}), "refused"},
		"path up inside":      {with(docker, file{name: "a/../../x"}), "refused"},
		"absolute path":       {with(docker, file{name: "/etc/passwd"}), "refused"},
		"backslash":           {with(docker, file{name: `..\x`}), "refused"},
		"link up":             {with(docker, file{name: "x", target: "../../etc/passwd"}), "refused"},
		"absolute link":       {with(docker, file{name: "x", target: "/etc/passwd"}), "refused"},
		"hard link up":        {with(docker, file{name: "x", target: "../x", kind: tar.TypeLink}), "refused"},
		"device":              {with(docker, file{name: "x", kind: tar.TypeChar}), "refused"},
		"pipe":                {with(docker, file{name: "x", kind: tar.TypeFifo}), "refused"},
		"config outside":      {archiveOf(t, file{name: "manifest.json", content: `[{"Config":"/etc/passwd"}]`}), "refused"},
		"link to a link":      {archiveOf(t, file{name: "manifest.json", target: "b"}, file{name: "b", target: "c"}, file{name: "c"}), "link to a link"},
		"link to itself":      {archiveOf(t, file{name: "manifest.json", target: "manifest.json"}), "link to a link"},
		"no JSON":             {archiveOf(t, file{name: "manifest.json", content: "["}), "damaged"},
		"no image":            {archiveOf(t, file{name: "manifest.json", content: "[]"}), "no image"},
		"no image in a list":  {archiveOf(t, file{name: "index.json", content: `{"schemaVersion":2,"manifests":[]}`}), "no image"},
		"layers don't fit":    {archiveOf(t, file{name: "c.json", content: "{}"}, file{name: "manifest.json", content: `[{"Config":"c.json","Layers":["x"]}]`}), "damaged"},
		"large document":      {archiveOf(t, file{name: "manifest.json", content: strings.Repeat(" ", maxDocument+1)}), "damaged"},
		"bad digest":          {archiveOf(t, file{name: "index.json", content: `{"schemaVersion":2,"manifests":[{"digest":"sha256:../x","size":1}]}`}), "digest"},
		"layer by gzip, torn": {archiveOf(t, tornLayer(t)...), "damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := openBytes(t, tt.archive, Options{})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
	if _, err := Open(t.Context(), filepath.Join(t.TempDir(), "none"), nil, Options{}); err == nil || !strings.Contains(err.Error(), "there is no") {
		t.Errorf("a path that isn't there: %v", err)
	}
}

// tornLayer is an image whose compressed layer is not what it should be.
func tornLayer(t testing.TB) []file {
	list := dockerFiles(t, nil, tarOf(t, 100))
	list[0].content = string(zip(t, []byte("something else")))
	return list
}

// TestDamaged holds that a layout whose parts are not what they should be is
// found out before anything is stored.
func TestDamaged(t *testing.T) {
	for name, tt := range map[string]struct {
		at   int // which file of the layout
		want string
	}{
		"manifest": {2, "damaged"},
		"layer":    {4, "should have"},
	} {
		list := layoutFiles(t, nil, tarOf(t, 100))
		list[tt.at].content += " "
		bundle, err := openBytes(t, archiveOf(t, list...), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := bundle.Contents(bundle.Images[0].Root); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", name, err, tt.want)
		}
	}
	list := layoutFiles(t, nil, tarOf(t, 100))
	bundle, err := openBytes(t, archiveOf(t, list[:4]...), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if c, err := bundle.Contents(bundle.Images[0].Root); err != nil || len(c.Missing) != 1 {
		t.Errorf("without its layer: %+v, %v; want one blob to be missing", c, err)
	}
}

// TestBomb holds that a small file doesn't fill the disk, and that nothing of it
// stays.
func TestBomb(t *testing.T) {
	bomb := zip(t, make([]byte, 8<<20))
	temp := t.TempDir()
	_, err := openBytes(t, bomb, Options{Temp: temp, MaxUnpacked: 1 << 20})
	if err == nil || !strings.Contains(err.Error(), "unpacks to more than") {
		t.Errorf("got %v, want that it is too large", err)
	}
	left, err := os.ReadDir(temp)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestStream reads an archive that can't be read twice.
func TestStream(t *testing.T) {
	b := archiveOf(t, dockerFiles(t, []string{"app:1"}, tarOf(t, 100))...)
	for name, text := range map[string][]byte{"plain": b, "by gzip": zip(t, b)} {
		bundle, err := Open(t.Context(), "-", io.MultiReader(bytes.NewReader(text)), Options{Temp: t.TempDir()})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		wantWhole(t, bundle, 2)
		if err := bundle.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestParseName(t *testing.T) {
	for in, want := range map[string]string{
		"app":                            "app",
		"app:1":                          "app:1",
		"team/app:1":                     "team/app:1",
		"docker.io/library/app:1":        "app:1",
		"docker.io/team/app":             "team/app",
		"localhost:5000/app:1":           "app:1",
		"localhost/library/app:1":        "library/app:1",
		"reg.example.com/a/b/c:1@sha256": "a/b/c:1",
		"<none>:<none>":                  "",
		"UPPER:1":                        "",
		"app:":                           "app",
		"":                               "",
	} {
		n, err := ParseName(in)
		if got := fmt.Sprint(n); want == "" && err == nil || want != "" && (err != nil || got != want) {
			t.Errorf("%q: got %s, %v; want %s", in, got, err, want)
		}
	}
}

// FuzzOpen holds that no archive makes the reader fail but by an error, and that
// what it hands out is inside of it.
func FuzzOpen(f *testing.F) {
	f.Add(archiveOf(f, dockerFiles(f, []string{"app:1"}, tarOf(f, 10))...))
	f.Add(archiveOf(f, layoutFiles(f, map[string]string{refName: "v1"}, "x")...))
	f.Add(zip(f, archiveOf(f, layoutFiles(f, nil, "x")...)))
	f.Add(archiveOf(f, file{name: "manifest.json", target: "b"}, file{name: "b", content: "[]"}))
	f.Add([]byte("BZh91AY&SY"))
	f.Fuzz(func(t *testing.T, text []byte) {
		b, err := Open(t.Context(), "-", bytes.NewReader(text), Options{Temp: t.TempDir(), MaxUnpacked: 1 << 20})
		if err != nil {
			return
		}
		defer b.Close()
		for _, i := range b.Images {
			c, err := b.Contents(i.Root)
			if err != nil {
				continue
			}
			for _, d := range c.Blobs {
				r, size, err := b.Blob(d.Digest)
				if err != nil {
					t.Fatalf("blob %s was there and is not: %v", d.Digest, err)
				}
				n, err := io.Copy(io.Discard, r)
				if err != nil || n != size {
					t.Fatalf("blob %s: %d of %d bytes, %v", d.Digest, n, size, err)
				}
			}
		}
	})
}
