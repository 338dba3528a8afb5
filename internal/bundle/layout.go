package bundle

import (
	"errors"
	"fmt"
	"io/fs"

	"berth/internal/oci"
)

// The annotations of an index that name images (image spec, "Pre-Defined
// Annotation Keys"; the second one is containerd's, and docker's).
const (
	refName       = "org.opencontainers.image.ref.name"
	containerName = "io.containerd.image.name"
)

// readLayout reads the index of an OCI layout. Entries of one digest are one
// image with several names.
func (b *Bundle) readLayout(text []byte) error {
	index, err := oci.ParseManifest("", text)
	if err != nil {
		return fmt.Errorf("index.json: %w", err)
	}
	if len(index.Children) == 0 {
		return errors.New("index.json lists no image: there is nothing in this layout")
	}
	if len(index.Children) > maxImages {
		return fmt.Errorf("index.json lists %d images, and %d are as many as are read at once", len(index.Children), maxImages)
	}
	at := map[oci.Digest]int{}
	for _, d := range index.Children {
		i, known := at[d.Digest]
		if !known {
			i = len(b.Images)
			at[d.Digest] = i
			b.Images = append(b.Images, Image{Root: d})
		}
		switch image := &b.Images[i]; {
		case d.Annotations[containerName] != "":
			image.addName(d.Annotations[containerName])
		case d.Annotations[refName] != "":
			image.addRef(d.Annotations[refName])
		}
	}
	return nil
}

// Contents is what an image is made of.
type Contents struct {
	Manifests []oci.Descriptor // those in the bundle, each behind its parts
	Blobs     []oci.Descriptor // those in the bundle, each once
	Bytes     int64            // of the blobs

	Elsewhere []oci.Descriptor // children of indexes that are not in the bundle
	Missing   []oci.Descriptor // blobs that are not in the bundle
}

// Contents finds out what an image is made of.
func (b *Bundle) Contents(root oci.Descriptor) (Contents, error) {
	w := walker{b: b, seen: map[oci.Digest]bool{}}
	err := w.manifest(root, 0)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("manifest %s is not in it: the bundle is incomplete, make it again", root.Digest)
	}
	return w.c, err
}

type walker struct {
	b    *Bundle
	seen map[oci.Digest]bool
	c    Contents
}

// manifest adds a manifest and what it needs.
func (w *walker) manifest(at oci.Descriptor, depth int) error {
	if w.seen[at.Digest] {
		return nil
	}
	if depth > maxNesting {
		return fmt.Errorf("indexes are nested deeper than %d levels", maxNesting)
	}
	m, err := w.b.Manifest(at)
	if err != nil {
		return err
	}
	w.seen[at.Digest] = true
	if len(w.seen) > maxImages*10 {
		return fmt.Errorf("an image of more than %d parts is not one", maxImages*10)
	}
	for _, d := range m.Blobs {
		if err := w.blob(d); err != nil {
			return err
		}
	}
	for _, d := range m.Children {
		err := w.manifest(d, depth+1)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			w.c.Elsewhere = append(w.c.Elsewhere, d)
		case err != nil:
			return err
		}
	}
	at.MediaType, at.Size = m.MediaType, int64(len(m.Body))
	w.c.Manifests = append(w.c.Manifests, at)
	return nil
}

func (w *walker) blob(d oci.Descriptor) error {
	if w.seen[d.Digest] {
		return nil
	}
	w.seen[d.Digest] = true
	r, size, err := w.b.Blob(d.Digest)
	if errors.Is(err, fs.ErrNotExist) {
		w.c.Missing = append(w.c.Missing, d)
		return nil
	}
	if err != nil {
		return err
	}
	r.Close()
	if d.Size != oci.UnknownSize && size != d.Size {
		return fmt.Errorf("blob %s has %d bytes, and should have %d: the bundle is damaged, make it again", d.Digest, size, d.Size)
	}
	d.Size = size
	w.c.Blobs = append(w.c.Blobs, d)
	w.c.Bytes += size
	return nil
}
