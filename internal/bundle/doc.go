// Package bundle reads and writes images as files: OCI image layouts, in a folder or in
// a tar archive, and the archives that docker save writes.
//
// What it reads comes from anywhere, so it trusts none of it: no path leaves the
// folder or the archive, no small file becomes an endless one, and no document
// is read that is larger than such documents are. What is inside is found by
// digest; whoever stores it must compare the bytes with that digest.
package bundle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"berth/internal/oci"
)

// Options are what Open needs. Each has a default.
type Options struct {
	Temp        string // where compressed archives are unpacked; empty: the system's
	MaxUnpacked int64  // bytes that a compressed archive may unpack to; 0: MaxUnpacked
}

// The bounds of what is read.
const (
	MaxUnpacked = 64 << 30 // bytes of an archive that was compressed

	maxFiles    = 200_000  // files in an archive
	maxNames    = 32 << 20 // bytes of their names
	maxDocument = 8 << 20  // bytes of an index.json, a manifest.json, a manifest or a config
	maxImages   = 10_000   // images in a bundle, and manifests in an image
	maxNesting  = 16       // indexes within indexes
)

// A Bundle is an open folder or archive. Its methods may be called concurrently.
type Bundle struct {
	Kind   string  // what it is, for people
	Images []Image // in the order they stand

	files  files
	made   map[oci.Digest][]byte // manifests that stand in no file
	blobs  map[oci.Digest]string // files that are not where a layout has them
	packed map[packedLayer]oci.Digest
	layout bool
}

// An Image is one root of a bundle: an image, an index, or something that refers
// to one.
type Image struct {
	Root  oci.Descriptor
	Names []Name
	Odd   []string // names that no registry could have
}

// files is a read-only tree: paths are relative, with slashes.
type files interface {
	// open returns the content and size of a file; fs.ErrNotExist if it isn't there.
	open(name string) (io.ReadCloser, int64, error)
	close() error
}

// Open opens what is at path: a folder, an archive, or standard input if path
// is "-" (which stdin is, then). Its errors say what to do.
func Open(ctx context.Context, path string, stdin io.Reader, o Options) (_ *Bundle, err error) {
	if o.MaxUnpacked == 0 {
		o.MaxUnpacked = MaxUnpacked
	}
	b := &Bundle{made: map[oci.Digest][]byte{}, blobs: map[oci.Digest]string{}, packed: map[packedLayer]oci.Digest{}}
	if b.files, err = openFiles(ctx, path, stdin, o); err != nil {
		return nil, err
	}
	if err := b.read(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), b.files.close())
	}
	return b, nil
}

func openFiles(ctx context.Context, path string, stdin io.Reader, o Options) (files, error) {
	if path == "-" {
		return openStream(ctx, stdin, o)
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("there is no %s: name a folder with an OCI layout, or an archive", path)
	case err != nil:
		return nil, err
	case info.IsDir():
		return openFolder(path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	list, err := openArchive(ctx, f, o)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return list, nil
}

// Close gives up what is open, and removes what was unpacked.
func (b *Bundle) Close() error { return b.files.close() }

// read finds out what b is.
func (b *Bundle) read(ctx context.Context) error {
	index, err := b.document("index.json")
	if err == nil {
		b.layout, b.Kind = true, "OCI layout"
		return b.readLayout(index)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	list, err := b.document("manifest.json")
	if err == nil {
		b.Kind = "docker archive"
		return b.readDockerArchive(ctx, list)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return b.explain()
}

// explain says what b could be instead of a bundle.
func (b *Bundle) explain() error {
	const (
		ours    = "it is the data directory of a registry: berth serve --data takes it over as it stands"
		export  = "it is the file system of a container, as docker export writes it: make an image of it with docker import, and save that with docker save"
		partial = "it is an OCI layout without its index.json: copy it again"
	)
	for _, guess := range [][2]string{
		{"repositories", "it was made by docker before 1.10: load it with docker load, and save it again with a newer docker"},
		{"docker/registry/v2", ours},
		{"registry/v2", ours},
		{"oci-layout", partial},
		{"etc", export},
		{"bin", export},
		{"blobs", partial},
	} {
		r, _, err := b.files.open(guess[0])
		if err == nil {
			r.Close()
		}
		if err == nil || errors.Is(err, errIsFolder) {
			return fmt.Errorf("this is neither an OCI layout nor from docker save: %s", guess[1])
		}
	}
	return errors.New("this is neither an OCI layout (with an index.json) nor from docker save (with a manifest.json): " +
		"make one with docker save, or with skopeo copy … oci-archive:FILE")
}

// document reads a whole small file.
func (b *Bundle) document(name string) ([]byte, error) {
	r, size, err := b.files.open(name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if size > maxDocument {
		return nil, fmt.Errorf("%s has %d bytes, and such a file has at most %d: the bundle is damaged", name, size, maxDocument)
	}
	text, err := io.ReadAll(io.LimitReader(r, maxDocument))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if int64(len(text)) != size {
		return nil, fmt.Errorf("%s has changed while it was read: try again", name)
	}
	return text, nil
}

// decode reads JSON that stands in the file called name.
func decode(name string, text []byte, v any) error {
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("%s is not what it should be, the bundle is damaged: %w", name, err)
	}
	return nil
}

// blobName is where a layout keeps the content of d.
func blobName(d oci.Digest) string { return "blobs/" + string(d.Algorithm()) + "/" + d.Hex() }

// Blob opens the content of d, which may be something else: compare it. What is
// not in the bundle is fs.ErrNotExist.
func (b *Bundle) Blob(d oci.Digest) (io.ReadCloser, int64, error) {
	if name, ok := b.blobs[d]; ok {
		return b.files.open(name)
	}
	if !b.layout {
		return nil, 0, fs.ErrNotExist
	}
	return b.files.open(blobName(d))
}

// Manifest reads a manifest, whose bytes are what the descriptor says. What is
// not in the bundle is fs.ErrNotExist.
func (b *Bundle) Manifest(at oci.Descriptor) (oci.Manifest, error) {
	text, ok := b.made[at.Digest]
	if !ok {
		if !b.layout {
			return oci.Manifest{}, fs.ErrNotExist
		}
		var err error
		if text, err = b.document(blobName(at.Digest)); err != nil {
			return oci.Manifest{}, err
		}
	}
	if has := at.Digest.Algorithm().FromBytes(text); has != at.Digest {
		return oci.Manifest{}, fmt.Errorf("manifest %s is damaged: its bytes have the digest %s", at.Digest, has)
	}
	m, err := oci.ParseManifest(at.MediaType, text)
	if err != nil {
		return m, fmt.Errorf("manifest %s: %w", at.Digest, err)
	}
	return m, nil
}
