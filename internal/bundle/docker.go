package bundle

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"berth/internal/oci"
)

// The media types of the parts of a docker image.
const (
	dockerConfig    = "application/vnd.docker.container.image.v1+json"
	dockerLayer     = "application/vnd.docker.image.rootfs.diff.tar"
	dockerLayerGzip = "application/vnd.docker.image.rootfs.diff.tar.gzip"
)

// A dockerImage is an entry of manifest.json, as docker save writes it.
type dockerImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// readDockerArchive reads the manifest.json of docker save. It has no manifests
// as registries know them: they are made here, always the same from the same
// archive. Layers stay as they are, uncompressed with docker, so that their
// digests are those that the configuration names.
func (b *Bundle) readDockerArchive(ctx context.Context, text []byte) error {
	var list []dockerImage
	if err := decode("manifest.json", text, &list); err != nil {
		return err
	}
	if len(list) == 0 {
		return errors.New("manifest.json lists no image: there is nothing in this archive")
	}
	if len(list) > maxImages {
		return fmt.Errorf("manifest.json lists %d images, and %d are as many as are read at once", len(list), maxImages)
	}
	for i, d := range list {
		image, err := b.dockerImage(ctx, d)
		if err != nil {
			return fmt.Errorf("image %d of manifest.json: %w", i+1, err)
		}
		for _, name := range d.RepoTags {
			image.addName(name)
		}
		b.Images = append(b.Images, image)
	}
	return nil
}

// dockerImage makes the manifest of one image.
func (b *Bundle) dockerImage(ctx context.Context, d dockerImage) (Image, error) {
	name, err := inside(d.Config)
	if err != nil {
		return Image{}, err
	}
	text, err := b.document(name)
	if err != nil {
		return Image{}, incomplete(err)
	}
	var config struct {
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := decode(name, text, &config); err != nil {
		return Image{}, err
	}
	if len(config.RootFS.DiffIDs) != len(d.Layers) {
		return Image{}, fmt.Errorf("the image has %d layers, and its configuration names %d: the archive is damaged", len(d.Layers), len(config.RootFS.DiffIDs))
	}
	m := dockerManifest{SchemaVersion: 2, MediaType: oci.MediaTypeDocker,
		Config: oci.Descriptor{MediaType: dockerConfig, Digest: oci.SHA256.FromBytes(text), Size: int64(len(text))},
		Layers: []oci.Descriptor{}}
	b.blobs[m.Config.Digest] = name
	for i, file := range d.Layers {
		layer, err := b.dockerLayer(ctx, file, config.RootFS.DiffIDs[i])
		if err != nil {
			return Image{}, err
		}
		m.Layers = append(m.Layers, layer)
	}
	body, err := json.Marshal(m)
	if err != nil {
		return Image{}, err
	}
	root := oci.Descriptor{MediaType: oci.MediaTypeDocker, Digest: oci.SHA256.FromBytes(body), Size: int64(len(body))}
	b.made[root.Digest] = body
	return Image{Root: root}, nil
}

type dockerManifest struct {
	SchemaVersion int              `json:"schemaVersion"`
	MediaType     string           `json:"mediaType"`
	Config        oci.Descriptor   `json:"config"`
	Layers        []oci.Descriptor `json:"layers"`
}

// dockerLayer describes a layer of an image whose configuration says that its
// content, uncompressed, has the digest diffID.
func (b *Bundle) dockerLayer(ctx context.Context, file, diffID string) (oci.Descriptor, error) {
	want, err := oci.ParseDigest(diffID)
	if err != nil {
		return oci.Descriptor{}, fmt.Errorf("the configuration names a layer that can't be: %w", err)
	}
	name, err := inside(file)
	if err != nil {
		return oci.Descriptor{}, err
	}
	r, size, err := b.files.open(name)
	if err != nil {
		return oci.Descriptor{}, incomplete(err)
	}
	defer r.Close()
	var head [6]byte
	n, _ := io.ReadFull(r, head[:]) // an empty layer is one
	layer := oci.Descriptor{MediaType: dockerLayer, Digest: want, Size: size}
	switch compression := compressionOf(head[:n]); compression {
	case "":
	case "gzip":
		layer.MediaType = dockerLayerGzip
		if layer.Digest, err = b.compressedLayer(ctx, name, want); err != nil {
			return layer, err
		}
	default:
		return layer, fmt.Errorf("layer %s is compressed with %s, which no docker archive has: copy the image into an OCI layout instead", name, compression)
	}
	b.blobs[layer.Digest] = name
	return layer, nil
}

// A packedLayer is a compressed file, and what it has turned out to be unpacked.
type packedLayer struct {
	name     string
	unpacked oci.Digest
}

// compressedLayer returns the digest of a compressed layer, after it has seen,
// once, that unpacked it is want.
func (b *Bundle) compressedLayer(ctx context.Context, name string, want oci.Digest) (oci.Digest, error) {
	if d, ok := b.packed[packedLayer{name, want}]; ok {
		return d, nil
	}
	r, _, err := b.files.open(name)
	if err != nil {
		return oci.Digest{}, err
	}
	defer r.Close()
	packed := oci.SHA256.New()
	in := io.TeeReader(until(ctx, r), packed)
	z, err := gzip.NewReader(in)
	if err != nil {
		return oci.Digest{}, fmt.Errorf("layer %s: %w", name, err)
	}
	plain := want.Algorithm().New()
	n, err := io.Copy(plain, io.LimitReader(z, MaxUnpacked+1))
	if err == nil {
		_, err = io.Copy(io.Discard, in)
	}
	switch has := want.Algorithm().Digest(plain); {
	case err != nil:
		return oci.Digest{}, fmt.Errorf("layer %s is damaged: %w", name, err)
	case n > MaxUnpacked:
		return oci.Digest{}, fmt.Errorf("layer %s unpacks to more than %d bytes: it is refused", name, int64(MaxUnpacked))
	case has != want:
		return oci.Digest{}, fmt.Errorf("layer %s is %s, and should be %s: the archive is damaged, make it again", name, has, want)
	}
	d := oci.SHA256.Digest(packed)
	b.packed[packedLayer{name, want}] = d
	return d, nil
}

func incomplete(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("a file is missing: the archive is incomplete, make it again (%w)", err)
	}
	return err
}
