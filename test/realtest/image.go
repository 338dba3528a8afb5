package realtest

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// An Image says what an image for a test is made of. The zero Image is one small
// layer for this machine.
type Image struct {
	// Layers are the sizes of its layers, in bytes of content that does not
	// compress. Nil means one of 64 KiB.
	Layers []int64

	// Seed makes the content: the same seed, index and size is the same layer.
	Seed uint64

	// Platforms are such as "linux/arm64". More than one make an index, which
	// Layout can do and Build cannot. Nil means this machine's.
	Platforms []string

	// Busybox adds a layer with a static busybox, so that the image runs.
	Busybox bool
}

func (i Image) layers() []int64 {
	if i.Layers == nil {
		return []int64{64 << 10}
	}
	return i.Layers
}

// content is the content of layer n.
func (i Image) content(n int) io.Reader {
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], i.Seed)
	binary.LittleEndian.PutUint64(seed[8:], uint64(n))
	return io.LimitReader(rand.NewChaCha8(seed), i.layers()[n])
}

// Busybox returns the path of a busybox that needs no libraries.
func Busybox(t testing.TB) string {
	t.Helper()
	path := Tool(t, "busybox")
	if !static(path) {
		skip(t, "a static busybox (apt install busybox-static)")
	}
	return path
}

// Build makes an image with docker build, FROM scratch, under the name ref, and
// returns ref.
func (d *DockerCLI) Build(ref string, i Image) string {
	d.t.Helper()
	dir, err := os.MkdirTemp(d.Home, "context-")
	if err != nil {
		d.t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	file := "FROM scratch\n"
	if i.Busybox {
		copyFile(d.t, filepath.Join(dir, "busybox"), Busybox(d.t))
		file += "COPY busybox /bin/busybox\nCMD [\"/bin/busybox\", \"echo\", \"hello from " + ref + "\"]\n"
	}
	for n := range i.layers() {
		name := fmt.Sprintf("layer%d", n)
		if err := writeFile(filepath.Join(dir, name), i.content(n)); err != nil {
			d.t.Fatal(err)
		}
		file += "COPY " + name + " /" + name + "\n"
	}
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(file), 0o600); err != nil {
		d.t.Fatal(err)
	}
	args := []string{"build", "--network=none", "-q", "-t", ref}
	for _, p := range i.Platforms {
		args = append(args, "--platform", p)
	}
	d.Run(append(args, dir)...)
	return ref
}

func writeFile(path string, r io.Reader) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, r); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

func copyFile(t testing.TB, to, from string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o755); err != nil {
		t.Fatal(err)
	}
}

// A Layout is an image in a folder, as the OCI image layout spec has it: what
// skopeo calls oci:Dir:Tag, crane push takes, oras calls --from-oci-layout
// Dir:Tag and regctl ocidir://Dir:Tag.
type Layout struct {
	Dir    string
	Tag    string
	Digest string   // of the image, or of the index if there are several
	Blobs  []string // digests of all configs and layers
}

// Ref returns Dir:Tag.
func (l Layout) Ref() string { return l.Dir + ":" + l.Tag }

// descriptor is an OCI descriptor.
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Platform    *platform         `json:"platform,omitempty"`
}

type platform struct {
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
}

const (
	typeManifest = "application/vnd.oci.image.manifest.v1+json"
	typeIndex    = "application/vnd.oci.image.index.v1+json"
	typeConfig   = "application/vnd.oci.image.config.v1+json"
	typeLayer    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

// NewLayout makes an image without any other program. Its path is in lower case,
// as podman wants it.
func NewLayout(t testing.TB, i Image) Layout {
	t.Helper()
	l := &layout{t: t, Layout: Layout{Dir: mkdir(t, shortDir(t), "layout"), Tag: "latest"}}
	mkdir(t, l.Dir, "blobs", "sha256")
	layers, diffs := l.layers(i)
	platforms := i.Platforms
	if platforms == nil {
		platforms = []string{"linux/" + runtime.GOARCH}
	}
	var images []descriptor
	for _, p := range platforms {
		images = append(images, l.image(p, layers, diffs))
	}
	top := images[0]
	if len(images) > 1 {
		top = l.json(typeIndex, map[string]any{"schemaVersion": 2, "mediaType": typeIndex, "manifests": images})
	}
	l.Digest = top.Digest
	top.Annotations = map[string]string{"org.opencontainers.image.ref.name": l.Tag}
	l.write("index.json", encode(t, map[string]any{"schemaVersion": 2, "mediaType": typeIndex, "manifests": []descriptor{top}}))
	l.write("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
	return l.Layout
}

// shortDir returns a folder of the test whose path has no upper case.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp(shortTemp(), "berth-layout-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// A layout is a Layout in the making.
type layout struct {
	Layout
	t testing.TB
}

// layers writes the layers and returns them with the digests of what is in them.
func (l *layout) layers(i Image) (layers []descriptor, diffs []string) {
	for n, size := range i.layers() {
		name := filepath.Join(l.Dir, fmt.Sprintf("layer%d", n))
		f, err := os.Create(name)
		if err != nil {
			l.t.Fatal(err)
		}
		packed, plain := sha256.New(), sha256.New()
		// Random content does not get smaller, so no time is spent on trying.
		zip, err := gzip.NewWriterLevel(io.MultiWriter(f, packed), gzip.NoCompression)
		if err != nil {
			l.t.Fatal(err)
		}
		archive := tar.NewWriter(io.MultiWriter(zip, plain))
		err = archive.WriteHeader(&tar.Header{Name: fmt.Sprintf("layer%d", n), Mode: 0o644, Size: size})
		if err == nil {
			_, err = io.Copy(archive, i.content(n))
		}
		for _, c := range []io.Closer{archive, zip, f} {
			if e := c.Close(); err == nil {
				err = e
			}
		}
		if err != nil {
			l.t.Fatal(err)
		}
		layers = append(layers, l.adopt(name, typeLayer, packed.Sum(nil)))
		diffs = append(diffs, "sha256:"+hex.EncodeToString(plain.Sum(nil)))
	}
	return layers, diffs
}

// adopt makes the file at path a blob of the layout.
func (l *layout) adopt(path, mediaType string, sum []byte) descriptor {
	info, err := os.Stat(path)
	if err == nil {
		err = os.Rename(path, filepath.Join(l.Dir, "blobs", "sha256", hex.EncodeToString(sum)))
	}
	if err != nil {
		l.t.Fatal(err)
	}
	d := descriptor{MediaType: mediaType, Digest: "sha256:" + hex.EncodeToString(sum), Size: info.Size()}
	l.Blobs = append(l.Blobs, d.Digest)
	return d
}

// image writes the config and the manifest of one platform.
func (l *layout) image(p string, layers []descriptor, diffs []string) descriptor {
	system, arch := filepath.Dir(p), filepath.Base(p)
	config := l.json(typeConfig, map[string]any{
		"os": system, "architecture": arch, "config": map[string]any{},
		"rootfs": map[string]any{"type": "layers", "diff_ids": diffs},
	})
	l.Blobs = append(l.Blobs, config.Digest)
	d := l.json(typeManifest, map[string]any{"schemaVersion": 2, "mediaType": typeManifest, "config": config, "layers": layers})
	d.Platform = &platform{OS: system, Architecture: arch}
	return d
}

// json writes v as a blob.
func (l *layout) json(mediaType string, v any) descriptor {
	b := encode(l.t, v)
	sum := sha256.Sum256(b)
	l.write(filepath.Join("blobs", "sha256", hex.EncodeToString(sum[:])), b)
	return descriptor{MediaType: mediaType, Digest: "sha256:" + hex.EncodeToString(sum[:]), Size: int64(len(b))}
}

func (l *layout) write(name string, b []byte) {
	if err := os.WriteFile(filepath.Join(l.Dir, name), b, 0o600); err != nil {
		l.t.Fatal(err)
	}
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
