package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"maps"
	"slices"
	"time"
)

// Media types of an image, from the OCI image specification.
const (
	typeIndex    = "application/vnd.oci.image.index.v1+json"
	typeManifest = "application/vnd.oci.image.manifest.v1+json"
	typeConfig   = "application/vnd.oci.image.config.v1+json"
	typeLayer    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

// A descriptor is an OCI descriptor.
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Platform    *ociPlatform      `json:"platform,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type ociPlatform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
	Variant      string `json:"variant,omitempty"`
}

// imageDocument is the config of an image: what docker calls the image itself.
type imageDocument struct {
	Created      time.Time      `json:"created"`
	Architecture string         `json:"architecture"`
	Variant      string         `json:"variant,omitempty"`
	OS           string         `json:"os"`
	Config       containerSetup `json:"config"`
	RootFS       rootFS         `json:"rootfs"`
	History      []history      `json:"history"`
}

type rootFS struct {
	Type    string   `json:"type"`
	DiffIDs []string `json:"diff_ids"`
}

type history struct {
	Created   time.Time `json:"created"`
	CreatedBy string    `json:"created_by"`
}

// containerSetup is how a container of the image runs. The Dockerfile says the
// same in its own words; a test holds the two together.
type containerSetup struct {
	ExposedPorts map[string]struct{}
	Env          []string
	Entrypoint   []string
	Cmd          []string
	Healthcheck  healthcheck
	Volumes      map[string]struct{}
	WorkingDir   string
	StopSignal   string
	Labels       map[string]string
}

// healthcheck has durations in nanoseconds, as docker wants them.
type healthcheck struct {
	Test        []string
	Interval    time.Duration
	Timeout     time.Duration
	StartPeriod time.Duration
	Retries     int
}

func setup() containerSetup {
	return containerSetup{
		ExposedPorts: map[string]struct{}{"5000/tcp": {}},
		Env:          []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		Entrypoint:   []string{"/entrypoint.sh"},
		Cmd:          []string{"/etc/docker/registry/config.yml"},
		Healthcheck: healthcheck{
			Test:     []string{"CMD", "/bin/berth", "health"},
			Interval: 10 * time.Second, Timeout: 10 * time.Second, StartPeriod: 5 * time.Minute, Retries: 3,
		},
		Volumes:    map[string]struct{}{"/var/lib/registry": {}},
		WorkingDir: "/",
		StopSignal: "SIGTERM",
		Labels: map[string]string{
			"org.opencontainers.image.title":    "Berth",
			"org.opencontainers.image.licenses": "Apache-2.0",
		},
	}
}

// An image is one for one platform, with all that it consists of.
type image struct {
	platform platform
	version  string
	manifest descriptor
	config   descriptor
	layer    descriptor
	blobs    map[string][]byte // by digest
}

// makeImage makes an image with one layer.
func makeImage(p platform, version string, date time.Time, entries []entry) (image, error) {
	img := image{platform: p, version: version, blobs: make(map[string][]byte)}
	var packed bytes.Buffer
	plain := sha256.New()
	z := gzip.NewWriter(&packed)
	if err := writeTar(io.MultiWriter(z, plain), entries); err != nil {
		return img, err
	}
	if err := z.Close(); err != nil {
		return img, err
	}
	img.layer = img.add(typeLayer, packed.Bytes())
	var err error
	img.config, err = img.addJSON(typeConfig, imageDocument{
		Created: date, Architecture: p.arch, Variant: p.variant, OS: p.os, Config: setup(),
		RootFS:  rootFS{Type: "layers", DiffIDs: []string{"sha256:" + hex.EncodeToString(plain.Sum(nil))}},
		History: []history{{Created: date, CreatedBy: "berth/build/dist " + version}},
	})
	if err != nil {
		return img, err
	}
	img.manifest, err = img.addJSON(typeManifest, map[string]any{
		"schemaVersion": 2, "mediaType": typeManifest, "config": img.config, "layers": []descriptor{img.layer},
	})
	img.manifest.Platform = &ociPlatform{Architecture: p.arch, OS: p.os, Variant: p.variant}
	return img, err
}

func (i image) add(mediaType string, b []byte) descriptor {
	sum := sha256.Sum256(b)
	d := descriptor{MediaType: mediaType, Digest: "sha256:" + hex.EncodeToString(sum[:]), Size: int64(len(b))}
	i.blobs[d.Digest] = b
	return d
}

func (i image) addJSON(mediaType string, v any) (descriptor, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return descriptor{}, err
	}
	return i.add(mediaType, b), nil
}

// blobPath is where a blob is in an OCI layout.
func blobPath(d descriptor) string { return "blobs/sha256/" + d.Digest[len("sha256:"):] }

// writeImage writes one image as a tar that is an OCI layout and also what
// `docker save` writes, so that every version of docker and podman loads it.
func writeImage(w io.Writer, date time.Time, img image) error {
	top := img.manifest
	top.Annotations = names(img.version)
	a := newArchive(w, date)
	a.blobs(img)
	a.json("index.json", map[string]any{"schemaVersion": 2, "mediaType": typeIndex, "manifests": []descriptor{top}})
	a.json("manifest.json", []map[string]any{{
		"Config": blobPath(img.config), "RepoTags": []string{programName + ":latest", programName + ":" + img.version}, "Layers": []string{blobPath(img.layer)},
	}})
	return a.close()
}

// writeIndex writes the images of all platforms as one OCI layout in a tar, which
// holds them under one name: `skopeo copy --all oci-archive:FILE docker://…`.
func writeIndex(w io.Writer, date time.Time, images []image) error {
	whole := image{blobs: make(map[string][]byte)}
	var list []descriptor
	for _, img := range images {
		list = append(list, img.manifest)
	}
	top, err := whole.addJSON(typeIndex, map[string]any{"schemaVersion": 2, "mediaType": typeIndex, "manifests": list})
	if err != nil {
		return err
	}
	top.Annotations = names(images[0].version)
	a := newArchive(w, date)
	a.blobs(append(images, whole)...)
	a.json("index.json", map[string]any{"schemaVersion": 2, "mediaType": typeIndex, "manifests": []descriptor{top}})
	return a.close()
}

// names are the annotations by which programs find the name of an image in a
// layout.
func names(version string) map[string]string {
	return map[string]string{
		"org.opencontainers.image.ref.name": "latest",
		"org.opencontainers.image.version":  version,
		"io.containerd.image.name":          "docker.io/library/" + programName + ":latest",
	}
}

// An archive is a tar with an OCI layout in the making. It remembers its first
// error.
type archive struct {
	tar  *tar.Writer
	date time.Time
	err  error
}

func newArchive(w io.Writer, date time.Time) *archive {
	a := &archive{tar: tar.NewWriter(w), date: date}
	a.json("oci-layout", map[string]string{"imageLayoutVersion": "1.0.0"})
	return a
}

// blobs writes the blobs of images, in the order of their digests, each once.
func (a *archive) blobs(images ...image) {
	all := make(map[string][]byte)
	for _, img := range images {
		for digest, b := range img.blobs {
			all[digest] = b
		}
	}
	a.header(tar.Header{Typeflag: tar.TypeDir, Name: "blobs/", Mode: 0o755})
	a.header(tar.Header{Typeflag: tar.TypeDir, Name: "blobs/sha256/", Mode: 0o755})
	for _, digest := range slices.Sorted(maps.Keys(all)) {
		a.file(blobPath(descriptor{Digest: digest}), all[digest])
	}
}

func (a *archive) json(name string, v any) {
	b, err := json.Marshal(v)
	if err != nil && a.err == nil {
		a.err = err
	}
	a.file(name, b)
}

func (a *archive) file(name string, b []byte) {
	a.header(tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(b))})
	if a.err == nil {
		_, a.err = a.tar.Write(b)
	}
}

func (a *archive) header(h tar.Header) {
	h.ModTime, h.Format = a.date, tar.FormatUSTAR
	if a.err == nil {
		a.err = a.tar.WriteHeader(&h)
	}
}

func (a *archive) close() error {
	if a.err != nil {
		return a.err
	}
	return a.tar.Close()
}
