package bundle

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
)

// An archive is a tar file that is read in place: nothing of it is unpacked.
type archive struct {
	file    *os.File
	temp    bool // the file is ours, and is removed at the end
	entries map[string]entry
	folders map[string]bool
}

// An entry is a file of an archive, or a link to one.
type entry struct {
	offset, size int64
	link         string
}

// openArchive opens a tar file, which it unpacks into a temporary one first if
// it is compressed.
func openArchive(ctx context.Context, f *os.File, o Options) (files, error) {
	var head [6]byte
	n, err := io.ReadFull(f, head[:])
	if err != nil && n == 0 {
		return nil, errors.New("the file is empty")
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	if compressionOf(head[:n]) == "" {
		return indexArchive(ctx, &archive{file: f})
	}
	list, err := openStream(ctx, f, o)
	if err != nil {
		return nil, err
	}
	return list, f.Close()
}

// openStream copies a stream into a temporary file, unpacking it on the way.
func openStream(ctx context.Context, r io.Reader, o Options) (files, error) {
	in := bufio.NewReaderSize(until(ctx, r), 64<<10)
	head, _ := in.Peek(6) // whatever is wrong will be seen again
	plain, err := unpacked(in, compressionOf(head))
	if err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(o.Temp, "berth-import-*.tar")
	if err != nil {
		return nil, fmt.Errorf("make a file to unpack into (TMPDIR says where): %w", err)
	}
	// Where an open file can be removed it is, so that nothing is left by a kill.
	a := &archive{file: f, temp: os.Remove(f.Name()) != nil}
	n, err := io.Copy(f, io.LimitReader(plain, o.MaxUnpacked+1))
	switch {
	case errors.Is(err, gzip.ErrChecksum), errors.Is(err, gzip.ErrHeader), errors.Is(err, io.ErrUnexpectedEOF):
		err = fmt.Errorf("the archive is damaged or was cut off, copy it again: %w", err)
	case err != nil:
		err = fmt.Errorf("unpack into %s (TMPDIR says where): %w", f.Name(), err)
	case n > o.MaxUnpacked:
		err = fmt.Errorf("the archive unpacks to more than %d bytes: unpack it yourself if you trust it, and import the result", o.MaxUnpacked)
	case n == 0:
		err = errors.New("there is nothing in the archive")
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, a.close())
	}
	list, err := indexArchive(ctx, a)
	if err != nil {
		return nil, errors.Join(err, a.close())
	}
	return list, nil
}

// compressionOf tells by its first bytes how a file is compressed.
func compressionOf(head []byte) string {
	for magic, name := range map[string]string{
		"\x1f\x8b":         "gzip",
		"BZh":              "bzip2",
		"\x28\xb5\x2f\xfd": "zstd",
		"\xfd7zXZ\x00":     "xz",
	} {
		if bytes.HasPrefix(head, []byte(magic)) {
			return name
		}
	}
	return ""
}

func unpacked(r io.Reader, compression string) (io.Reader, error) {
	switch compression {
	case "":
		return r, nil
	case "gzip":
		return gzip.NewReader(r)
	case "bzip2":
		return bzip2.NewReader(r), nil
	}
	return nil, fmt.Errorf("the archive is compressed with %s: unpack it first with %s -d", compression, compression)
}

// readerFunc is a Read.
type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// until returns r as it is for as long as ctx lasts.
func until(ctx context.Context, r io.Reader) io.Reader {
	return readerFunc(func(p []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return r.Read(p)
	})
}

// indexArchive notes where everything is in an archive.
func indexArchive(ctx context.Context, a *archive) (files, error) {
	a.entries, a.folders = map[string]entry{}, map[string]bool{}
	info, err := a.file.Stat()
	if err != nil {
		return nil, err
	}
	names := 0
	for tr := tar.NewReader(a.file); ; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		header, err := tr.Next()
		if err == io.EOF {
			return a, nil
		}
		if err != nil {
			return nil, tarError(err, len(a.entries))
		}
		if names += len(header.Name) + len(header.Linkname); names > maxNames || len(a.entries) >= maxFiles {
			return nil, fmt.Errorf("the archive has more than %d files: it is not one of images", maxFiles)
		}
		offset, err := a.file.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, err
		}
		if err := a.add(header, offset, info.Size()); err != nil {
			return nil, err
		}
	}
}

func tarError(err error, found int) error {
	if found == 0 && !errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("this is not a tar archive: make one with docker save, or with skopeo copy … oci-archive:FILE (%w)", err)
	}
	return fmt.Errorf("the archive is damaged or was cut off, copy it again: %w", err)
}

// add notes one entry.
func (a *archive) add(h *tar.Header, offset, end int64) error {
	name, err := inside(h.Name)
	if err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeReg:
		for key := range h.PAXRecords {
			if strings.HasPrefix(key, "GNU.sparse.") {
				return fmt.Errorf("%s is stored as a sparse file: make the archive without tar's --sparse", name)
			}
		}
		if h.Size > end-offset {
			return fmt.Errorf("the archive is cut off in %s: copy it again", name)
		}
		a.entries[name] = entry{offset: offset, size: h.Size}
	case tar.TypeSymlink, tar.TypeLink:
		target := h.Linkname
		if h.Typeflag == tar.TypeSymlink && !path.IsAbs(target) {
			target = path.Join(path.Dir(name), target)
		}
		if target, err = inside(target); err != nil {
			return fmt.Errorf("%s is a link out of the archive, which no archive of images has: it is refused", name)
		}
		a.entries[name] = entry{link: target}
	case tar.TypeDir:
	case tar.TypeXGlobalHeader:
		return nil
	default:
		return fmt.Errorf("%s is neither a file nor a folder, which no archive of images has: it is refused", name)
	}
	for dir := name; dir != "." && !a.folders[dir]; dir = path.Dir(dir) {
		if dir != name || h.Typeflag == tar.TypeDir {
			a.folders[dir] = true
		}
	}
	return nil
}

// inside returns a path of an archive in its shortest form, and refuses those
// that lead out of it.
func inside(name string) (string, error) {
	clean := path.Clean(name)
	if path.IsAbs(name) || clean == ".." || strings.HasPrefix(clean, "../") || strings.ContainsAny(name, "\\\x00") {
		return "", fmt.Errorf("the archive holds the path %q, which leads out of it: it is refused", name)
	}
	return clean, nil
}

// open follows one link, as docker before version 25 makes them for a layer that
// an image has twice.
func (a *archive) open(name string) (io.ReadCloser, int64, error) {
	e, ok := a.entries[name]
	if ok && e.link != "" {
		e, ok = a.entries[e.link]
		if ok && e.link != "" {
			return nil, 0, fmt.Errorf("%s is a link to a link, which no archive of images has", name)
		}
	}
	switch {
	case !ok && a.folders[name]:
		return nil, 0, errIsFolder
	case !ok:
		return nil, 0, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	return io.NopCloser(io.NewSectionReader(a.file, e.offset, e.size)), e.size, nil
}

func (a *archive) close() error {
	err := a.file.Close()
	if a.temp {
		err = errors.Join(err, os.Remove(a.file.Name()))
	}
	return err
}
