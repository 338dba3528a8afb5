package fsblob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"berth/internal/blob"
	"berth/internal/oci"
)

// exportedMode is the mode of files that are made for a registry:2: those of its
// own can be read by everybody.
const exportedMode fs.FileMode = 0o644

// An Export copies content into another directory, where a registry:2 is to find
// it.
type Export struct {
	from, to *Store
	linking  Linking
}

// Linking says whether files may be shared.
type Linking int

// The two ways.
const (
	LinkFiles Linking = iota // share a file where the file system can; else copy
	CopyFiles
)

// Export begins one into an existing directory.
func (s *Store) Export(dir string, l Linking) (*Export, error) {
	to, err := View(dir)
	if err != nil {
		return nil, err
	}
	for _, d := range prefixes(blobsDir) {
		if err := to.makeDir(d, sharedDir); err != nil {
			to.Close()
			return nil, explain(dir, err)
		}
	}
	return &Export{from: s, to: to, linking: l}, nil
}

// Close gives the directory up.
func (e *Export) Close() error { return e.to.Close() }

// A Transfer is what became of one object.
type Transfer int

// What can become of it.
const (
	WasThere Transfer = iota
	Linked
	Copied
)

// Give makes the object of key the content that registry:2 finds under the
// returned digest, durably. What is there already and has its size stays. The
// error wraps fs.ErrNotExist if there is no such object.
func (e *Export) Give(ctx context.Context, key blob.Key, size int64) (oci.Digest, Transfer, error) {
	from, d, err := e.source(key)
	if err != nil {
		return d, WasThere, err
	}
	t, err := e.give(ctx, from, d, size)
	if err != nil {
		return d, t, fmt.Errorf("export blob %s: %w", d, mark(err))
	}
	return d, t, nil
}

func (e *Export) source(key blob.Key) (path string, d oci.Digest, err error) {
	if a, ok := parseAdopted(key); ok {
		return a.path(), a.digest, nil
	}
	o, err := parseFinished(key)
	if err != nil {
		return "", d, err
	}
	return o.path(), o.digest, nil
}

func (e *Export) give(ctx context.Context, from string, d oci.Digest, size int64) (Transfer, error) {
	src, info, err := e.from.d.open(from, os.O_RDONLY)
	if err != nil {
		return WasThere, err
	}
	defer src.Close()
	if info.Size() != size {
		return WasThere, errNotThere(from) // damaged: nothing to hand on
	}
	o := object{d, blob.NewKey()}
	to := dataPath(d)
	if there, err := e.to.d.lstat(to); err == nil && there.Mode().IsRegular() && there.Size() == size {
		return WasThere, e.to.d.syncDir(o.hexDir())
	}
	unsynced, err := e.to.makeDirs(e.to.d, o.hexDir())
	if err != nil {
		return WasThere, err
	}
	temp := to + "." + string(o.id) + ".tmp"
	transfer := Linked
	if e.linking == CopyFiles || !e.link(from, temp, info) {
		transfer = Copied
		if err := e.copy(ctx, src, temp, d, size); err != nil {
			return transfer, errors.Join(err, e.to.d.remove(temp))
		}
	}
	if err := e.to.d.rename(temp, to); err != nil {
		return transfer, errors.Join(err, e.to.d.remove(temp))
	}
	return transfer, e.to.syncNames(e.to.d, unsynced)
}

// link makes temp another name of the file from, and reports whether it is one:
// the system can only be told by paths, which somebody else could turn aside.
func (e *Export) link(from, temp string, want fs.FileInfo) bool {
	path := func(d *disk, name string) string { return filepath.Join(d.root.Name(), filepath.FromSlash(name)) }
	if err := os.Link(path(e.from.d, from), path(e.to.d, temp)); err != nil {
		return false
	}
	is, err := e.to.d.lstat(temp)
	if err == nil && os.SameFile(is, want) {
		return true
	}
	_ = e.to.d.remove(temp) // what is left is only litter
	return false
}

// copy copies a file and compares what it copies with its digest.
func (e *Export) copy(ctx context.Context, src *file, temp string, d oci.Digest, size int64) error {
	dst, err := e.to.d.create(temp)
	if err != nil {
		return err
	}
	defer dst.Close()
	h := d.Algorithm().New()
	n, err := copyFile(ctx, io.MultiWriter(&offsetWriter{f: dst}, h), src.File, size)
	if err == nil && (n != size || d.Algorithm().Digest(h) != d) {
		err = errNotThere(src.name) // damaged
	}
	if err == nil {
		err = dst.Chmod(exportedMode)
	}
	if err == nil {
		err = dst.Sync()
	}
	return err
}

// PutData keeps a manifest where registry:2 looks for it; see Store.PutData.
func (e *Export) PutData(ctx context.Context, d oci.Digest, content []byte) error {
	if err := e.to.PutData(ctx, d, content); err != nil {
		return err
	}
	return e.to.d.root.Chmod(dataPath(d), exportedMode)
}
