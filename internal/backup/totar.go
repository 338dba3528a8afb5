package backup

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"berth/internal/blob"
	"berth/internal/blob/fsblob"
)

// An archive is a backup in the form of a tar archive that is being written. When
// it is unpacked it is a backup in the form of a folder.
type archive struct {
	w   *tar.Writer
	res *Result
}

// Archive writes a backup as a tar archive to w. What went to w is a backup only
// if the error is nil.
func Archive(ctx context.Context, s Source, w io.Writer, o Options) (Result, error) {
	from, err := openTree(ctx, s, registryTree)
	if err != nil {
		return Result{}, err
	}
	defer from.close()
	a, t := &archive{w: tar.NewWriter(w), res: &Result{}}, o.teller()
	err = from.run(ctx, a, t)
	a.res.Left, a.res.BadManifests = t.left, t.manifests
	return *a.res, err
}

// header begins an entry. All entries have the same time: archives of the same
// content are alike but for what is new.
func (a *archive) header(name string, size int64) error {
	h := &tar.Header{Name: name, Size: size, Mode: 0o600, ModTime: time.Unix(0, 0), Format: tar.FormatPAX, Typeflag: tar.TypeReg}
	if size < 0 {
		h.Size, h.Mode, h.Typeflag = 0, 0o700, tar.TypeDir
	}
	return a.w.WriteHeader(h)
}

func (a *archive) put(ctx context.Context, name string, size int64, r io.Reader) error {
	if err := a.header(name, size); err != nil {
		return err
	}
	n, err := io.Copy(a.w, io.LimitReader(until(ctx, r), size))
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	return err
}

func (a *archive) manifest(ctx context.Context, name string, m Manifest) error {
	text, err := m.text()
	if err != nil {
		return err
	}
	return a.put(ctx, name, int64(len(text)), bytes.NewReader(text))
}

// begin implements receiver.
func (a *archive) begin(ctx context.Context, head Manifest) error {
	if err := a.manifest(ctx, headName, head); err != nil {
		return err
	}
	const folder = -1 // so that unpacking makes it for its owner only
	return a.header("berth/", folder)
}

// file implements receiver.
func (a *archive) file(ctx context.Context, name string, size int64, r io.Reader) error {
	return a.put(ctx, name, size, r)
}

// object implements receiver. That content is damaged is found out when half of
// it is written: the rest is filled up then, and the database, which comes behind,
// says so.
func (a *archive) object(ctx context.Context, key blob.Key, size int64, open opener) error {
	name, d, err := fsblob.PathOf(key)
	if err != nil {
		return &DamageError{Key: key, Why: "it has no place: " + err.Error()}
	}
	r, err := open()
	if err != nil {
		return err
	}
	defer r.Close()
	if err := a.header(name, size); err != nil {
		return err
	}
	h := d.Algorithm().New()
	n, err := io.Copy(io.MultiWriter(a.w, h), io.LimitReader(until(ctx, r), size))
	if _, ok := damage(err); err != nil && !ok {
		return err
	}
	if n < size {
		if _, err := io.CopyN(a.w, zeros{}, size-n); err != nil {
			return err
		}
	}
	if err == nil && d.Algorithm().Digest(h) != d {
		err = &DamageError{Key: key, Why: "its content is not that of its digest"}
	}
	if err == nil {
		a.res.Copied++
		a.res.CopiedBytes += size
	}
	return err
}

// zeros are bytes that are zero, without an end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// database implements receiver.
func (a *archive) database(ctx context.Context, size int64, r io.Reader) error {
	return a.put(ctx, databaseName, size, r)
}

// end implements receiver.
func (a *archive) end(ctx context.Context, m Manifest) error {
	a.res.Manifest = m
	if err := a.manifest(ctx, manifestName, m); err != nil {
		return err
	}
	return a.w.Close()
}

// A tarball is a source: a tar archive of a backup.
type tarball struct {
	r *tar.Reader
	tarState
}

// A tarState is what has been seen of an archive so far, by which the rest is
// bounded.
type tarState struct {
	head    Manifest
	files   int
	objects int64
	bytes   int64
	last    blob.Key
	hasDB   bool
}

// run implements source.
func (b *tarball) run(ctx context.Context, to receiver, tell *teller) error {
	first, err := b.next()
	if err != nil {
		return err
	}
	if first.Name != headName {
		return fmt.Errorf("the archive begins with %q: it is not a backup of Berth's", first.Name)
	}
	if b.head, err = readManifest(b.r); err != nil {
		return notWhole(err)
	}
	tell.total = b.head.Bytes
	if err := to.begin(ctx, b.head); err != nil {
		return err
	}
	for {
		h, err := b.next()
		if err != nil {
			return err
		}
		if h.Name == manifestName {
			return b.end(ctx, to)
		}
		if err := b.part(ctx, h, to, tell); err != nil {
			return err
		}
	}
}

// next reads the header of the next file. Folders are passed over.
func (b *tarball) next() (*tar.Header, error) {
	for {
		h, err := b.r.Next()
		if err != nil {
			return nil, notWhole(err)
		}
		switch {
		case h.Typeflag == tar.TypeDir && (h.Name == "berth/" || h.Name == acmeDir+"/"):
		case h.Typeflag == tar.TypeReg && !isSparse(h):
			return h, nil
		default:
			return nil, fmt.Errorf("the archive holds %q, which is not a plain file: it is not a backup as Berth writes it", h.Name)
		}
	}
}

func isSparse(h *tar.Header) bool {
	for key := range h.PAXRecords {
		if len(key) > 11 && key[:11] == "GNU.sparse." {
			return true
		}
	}
	return false
}

// notWhole says what the end or damage of an archive means.
func notWhole(err error) error {
	switch {
	case err == io.EOF, errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the archive is cut off: it is no whole backup, copy or take it again")
	case errors.Is(err, tar.ErrHeader):
		return fmt.Errorf("the archive can't be read: it is damaged, or compressed (unpack it first, as with gunzip -c FILE | berth restore -): %w", err)
	}
	return err
}

// part hands one entry on, if it is one that a backup has at this place.
func (b *tarball) part(ctx context.Context, h *tar.Header, to receiver, tell *teller) error {
	refuse := func(why string) error {
		return fmt.Errorf("the archive holds %q, %s: it is damaged or not Berth's", h.Name, why)
	}
	key, _, err := fsblob.KeyAt(h.Name)
	switch {
	case b.hasDB:
		return refuse("behind the database")
	case h.Name == databaseName:
		if b.hasDB = true; h.Size > b.head.Database.Size {
			return refuse("which is larger than it says at its beginning")
		}
		return notWholeIf(to.database(ctx, h.Size, b.r))
	case isFile(h.Name):
		if b.files++; b.files > min(b.head.Files, maxFiles) || h.Size > maxFile || b.last != "" {
			return refuse("which is one file too many")
		}
		return notWholeIf(to.file(ctx, h.Name, h.Size, b.r))
	case err != nil:
		return refuse("which no backup has")
	case key <= b.last:
		return refuse("in the wrong place")
	}
	b.last = key
	if b.objects++; b.objects > b.head.Objects || h.Size > b.head.Bytes-b.bytes {
		return refuse("more than it says at its beginning")
	}
	b.bytes += h.Size
	return b.object(ctx, key, h.Size, to, tell)
}

func (b *tarball) object(ctx context.Context, key blob.Key, size int64, to receiver, tell *teller) error {
	in := &told{r: b.r, t: tell, key: key}
	err := to.object(ctx, key, size, func() (io.ReadCloser, error) { return io.NopCloser(archived{in}), nil })
	if e, ok := damage(err); ok && ctx.Err() == nil {
		err = tell.damaged(e, nil)
	}
	if in.err != nil {
		return in.err
	}
	if err != nil {
		return notWholeIf(fmt.Errorf("copy %s: %w", key, err))
	}
	return tell.add(size - in.n)
}

// An archived reader reads what is in an archive: that it can't be read is no
// damage of one object, but of all that follows.
type archived struct{ in *told }

func (r archived) Read(p []byte) (int, error) {
	n, err := r.in.Read(p)
	if e, ok := damage(err); ok {
		err = fmt.Errorf("read the archive: %s: %w", e.Why, io.ErrUnexpectedEOF)
	}
	return n, err
}

func notWholeIf(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w (%w)", notWhole(io.ErrUnexpectedEOF), err)
	}
	return err
}

// end reads the manifest, behind which there must be nothing.
func (b *tarball) end(ctx context.Context, to receiver) error {
	m, err := readManifest(b.r)
	if err != nil {
		return notWhole(err)
	}
	switch h, err := b.r.Next(); {
	case err == nil:
		return fmt.Errorf("the archive holds %q behind its end: it is damaged or not Berth's", h.Name)
	case err != io.EOF:
		return notWhole(err)
	case !b.hasDB || m.ID != b.head.ID:
		return errors.New("the archive is damaged: its end does not belong to its beginning")
	}
	return to.end(ctx, m)
}
