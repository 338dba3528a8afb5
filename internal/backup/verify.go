package backup

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"berth/internal/blob"
	"berth/internal/blob/fsblob"
	"berth/internal/meta"
	"berth/internal/meta/sqlmeta"
)

// A verified is a receiver that keeps nothing: it compares everything with its
// digest, and what it saw with what the database names.
type verified struct {
	t    *teller
	res  Result
	temp string // a folder
	seen *os.File
	list *bufio.Writer // of seen: a line for each object, by key
	sum  string
}

// Verify reads the backup from, which is "-" for an archive from stdin, as a
// whole. Nothing is changed. What is wrong with the backup is an error, or, if it
// is the content of single objects, Left.
func Verify(ctx context.Context, from string, stdin io.Reader, o Options) (_ Result, err error) {
	src, closeSource, err := openSource(ctx, from, stdin)
	if err != nil {
		return Result{}, err
	}
	defer closeSource()
	v := &verified{t: o.teller()}
	if v.temp, err = os.MkdirTemp(o.Temp, "berth-verify-"); err != nil {
		return Result{}, fmt.Errorf("make a temporary folder (TMPDIR says where): %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(v.temp)) }()
	if v.seen, err = os.Create(filepath.Join(v.temp, "objects")); err != nil {
		return Result{}, err
	}
	defer v.seen.Close()
	v.list = bufio.NewWriter(v.seen)
	heard := *v.t
	heard.o.Damaged = nil // they are told once the database says whose they are
	err = src.run(ctx, v, &heard)
	v.res.Left, v.res.BadManifests = v.t.left, v.t.manifests
	return v.res, err
}

// begin implements receiver.
func (v *verified) begin(context.Context, Manifest) error { return nil }

// file implements receiver.
func (v *verified) file(_ context.Context, name string, size int64, r io.Reader) error {
	n, err := io.Copy(io.Discard, r)
	if err == nil && (n != size || !isFile(name)) {
		err = fmt.Errorf("%q is no file of a backup", name)
	}
	return err
}

// object implements receiver.
func (v *verified) object(ctx context.Context, key blob.Key, size int64, open opener) error {
	why, err := digested(ctx, key, size, open)
	if err != nil {
		return err
	}
	if why == "" {
		v.res.Copied++
		v.res.CopiedBytes += size
	}
	_, err = fmt.Fprintf(v.list, "%s %d %q\n", key, size, why)
	return err
}

// digested reads an object and returns what is wrong with it; nothing if it is
// empty.
func digested(ctx context.Context, key blob.Key, size int64, open opener) (string, error) {
	_, d, err := fsblob.PathOf(key)
	if err != nil {
		return err.Error(), nil
	}
	r, err := open()
	if e, ok := damage(err); ok {
		return e.Why, nil
	}
	if err != nil {
		return "", err
	}
	defer r.Close()
	h := d.Algorithm().New()
	n, err := io.Copy(h, until(ctx, r))
	if e, ok := damage(err); ok {
		return e.Why, nil
	}
	switch {
	case err != nil:
		return "", err
	case n != size || d.Algorithm().Digest(h) != d:
		return "its content is not that of its digest", nil
	}
	return "", nil
}

// database implements receiver.
func (v *verified) database(ctx context.Context, size int64, r io.Reader) (err error) {
	v.sum, err = copyTo(ctx, v.databasePath(), size, r)
	return err
}

func (v *verified) databasePath() string { return filepath.Join(v.temp, "berth.db") }

// end implements receiver.
func (v *verified) end(ctx context.Context, m Manifest) error {
	if v.sum != m.Database.SHA256 {
		return errors.New("the database of the backup is not the one that its manifest names: it is damaged")
	}
	if err := sqlmeta.CheckCopy(ctx, v.databasePath()); err != nil {
		return err
	}
	v.res.Manifest = m
	records, err := sqlmeta.ViewCopy(ctx, v.databasePath())
	if err != nil {
		return err
	}
	defer records.Close()
	if has, err := records.Contents(ctx); err != nil || has != m.Contents {
		return errors.Join(err, errors.New("the manifest counts other things than its database names: it was changed by hand"))
	}
	if err := v.list.Flush(); err != nil {
		return err
	}
	if _, err := v.seen.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if err := v.compare(ctx, records); err != nil {
		return err
	}
	return v.t.checkManifests(ctx, records)
}

// compare goes through what the database names and what was seen, side by side:
// both are in the order of their keys.
func (v *verified) compare(ctx context.Context, records *sqlmeta.Copy) error {
	in := bufio.NewReader(v.seen)
	is, err := nextSeen(in)
	if err != nil {
		return err
	}
	last := blob.Key("")
	return records.Objects(ctx, func(b meta.Blob) error {
		if b.Key == last {
			return nil
		}
		last = b.Key
		for is.key != "" && is.key < b.Key { // nothing needs it
			if is, err = nextSeen(in); err != nil {
				return err
			}
		}
		switch {
		case is.key != b.Key:
			return v.wrong(ctx, records, b.Key, "it is missing")
		case is.why != "":
			return v.wrong(ctx, records, b.Key, is.why)
		case is.size != b.Size:
			return v.wrong(ctx, records, b.Key, fmt.Sprintf("it has %d bytes and not %d", is.size, b.Size))
		}
		return nil
	})
}

func (v *verified) wrong(ctx context.Context, records *sqlmeta.Copy, key blob.Key, why string) error {
	repositories, err := records.Holders(ctx, key, some)
	if err != nil {
		return err
	}
	return v.t.damaged(&DamageError{Key: key, Why: why}, repositories)
}

// A seen is an object that was in the backup.
type seen struct {
	key  blob.Key
	size int64
	why  string // what is wrong with it
}

// nextSeen reads the next line; behind the last one, the key is empty.
func nextSeen(r *bufio.Reader) (s seen, err error) {
	_, err = fmt.Fscanf(r, "%s %d %q\n", &s.key, &s.size, &s.why)
	if err == io.EOF {
		return seen{}, nil
	}
	return s, err
}
