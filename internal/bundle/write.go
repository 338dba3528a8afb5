package bundle

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"time"

	"berth/internal/oci"
)

// A Writer writes images as an OCI layout. It ends with Close, or with Abort.
type Writer struct {
	to    target
	done  map[oci.Digest]bool
	index layoutIndex
}

// target is where a layout goes: paths are relative, with slashes.
type target interface {
	// has reports whether there is a file of that size.
	has(name string, size int64) bool

	// put writes a file from r, which must give size bytes; check is called when
	// they are written and before anybody sees the file.
	put(name string, size int64, r io.Reader, check func() error) error

	close() error
	abort()
}

type layoutIndex struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	Manifests     []json.RawMessage `json:"manifests"`
}

// WriteFolder writes a layout into a folder, which is made if need be. If it has
// a layout already, the images are added to it.
func WriteFolder(dir string) (*Writer, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	w := newWriter(&folderTarget{root})
	text, err := root.ReadFile("index.json")
	switch {
	case err == nil:
		err = decode("index.json", text, &w.index)
	case errors.Is(err, fs.ErrNotExist):
		var list []os.DirEntry
		if list, err = os.ReadDir(dir); err == nil && len(list) > 0 && !isLayoutBegun(list) {
			err = fmt.Errorf("%s is neither empty nor an OCI layout: name another folder", dir)
		}
	}
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return w, nil
}

// isLayoutBegun reports whether a folder holds nothing but the beginning of a
// layout, as an interrupted export leaves it.
func isLayoutBegun(list []os.DirEntry) bool {
	for _, e := range list {
		if e.Name() != "blobs" && e.Name() != "oci-layout" {
			return false
		}
	}
	return true
}

// WriteArchive writes a layout as a tar archive to w.
func WriteArchive(w io.Writer) *Writer { return newWriter(&archiveTarget{w: tar.NewWriter(w)}) }

func newWriter(to target) *Writer {
	return &Writer{to: to, done: map[oci.Digest]bool{},
		index: layoutIndex{SchemaVersion: 2, MediaType: oci.MediaTypeIndex, Manifests: []json.RawMessage{}}}
}

// Has reports whether the content of d is there, so that it need not be fetched.
func (w *Writer) Has(d oci.Digest, size int64) bool { return w.done[d] || w.to.has(blobName(d), size) }

// Blob writes the content of d, and compares it with d.
func (w *Writer) Blob(d oci.Digest, size int64, r io.Reader) error {
	h := d.Algorithm().New()
	err := w.to.put(blobName(d), size, io.TeeReader(r, h), func() error {
		if has := d.Algorithm().Digest(h); has != d {
			return fmt.Errorf("the content of %s turned out to be %s", d, has)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("write %s: %w", d, err)
	}
	w.done[d] = true
	return nil
}

// Image enters an image, all of which is written, into the index. An image that
// had the tag loses it. Without a tag it is found by its digest.
func (w *Writer) Image(root oci.Descriptor, tag oci.Tag) error {
	root.Annotations = nil // those are its referrers' business
	if !tag.IsZero() {
		root.Annotations = map[string]string{refName: tag.String()}
	}
	var kept []json.RawMessage
	for _, raw := range w.index.Manifests {
		var d struct {
			Digest      string
			Annotations map[string]string
		}
		if err := decode("index.json", raw, &d); err != nil {
			return err
		}
		taken := !tag.IsZero() && d.Annotations[refName] == tag.String()
		again := d.Digest == root.Digest.String() && (tag.IsZero() || d.Annotations[refName] == "")
		if !taken && !again {
			kept = append(kept, raw)
		} else if tag.IsZero() && d.Annotations[refName] != "" {
			return nil // it is there under a tag
		}
	}
	text, err := json.Marshal(root)
	if err != nil {
		return err
	}
	w.index.Manifests = append(kept, text)
	return nil
}

// Close writes the index, by which everything becomes visible.
func (w *Writer) Close() error {
	text, err := json.Marshal(w.index)
	if err == nil {
		err = w.text("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
	}
	if err == nil {
		err = w.text("index.json", text)
	}
	if err != nil {
		w.to.abort()
		return err
	}
	return w.to.close()
}

func (w *Writer) text(name string, b []byte) error {
	return w.to.put(name, int64(len(b)), bytes.NewReader(b), func() error { return nil })
}

// Abort gives up.
func (w *Writer) Abort() { w.to.abort() }

// A folderTarget is a folder.
type folderTarget struct{ root *os.Root }

func (t *folderTarget) has(name string, size int64) bool {
	info, err := t.root.Lstat(name)
	return err == nil && info.Mode().IsRegular() && info.Size() == size
}

func (t *folderTarget) put(name string, size int64, r io.Reader, check func() error) (err error) {
	if err := t.root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	temp := name + ".tmp"
	f, err := t.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	n, err := io.Copy(f, r)
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	if err == nil {
		err = check()
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, t.root.Remove(temp))
	}
	return t.root.Rename(temp, name)
}

func (t *folderTarget) close() error { return t.root.Close() }
func (t *folderTarget) abort()       { _ = t.root.Close() }

// An archiveTarget is a tar archive. What is wrong with a file is only known when
// it has been written, so the archive is to be thrown away then.
type archiveTarget struct{ w *tar.Writer }

func (t *archiveTarget) has(string, int64) bool { return false }

func (t *archiveTarget) put(name string, size int64, r io.Reader, check func() error) error {
	if err := t.w.WriteHeader(&tar.Header{Name: name, Size: size, Mode: 0o644, ModTime: time.Unix(0, 0)}); err != nil {
		return err
	}
	if _, err := io.Copy(t.w, r); err != nil {
		return err
	}
	if err := t.w.Flush(); err != nil { // which finds out whether something is missing
		return err
	}
	return check()
}

func (t *archiveTarget) close() error { return t.w.Close() }
func (t *archiveTarget) abort()       {}
