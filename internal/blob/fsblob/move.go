package fsblob

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"berth/internal/blob"
	"berth/internal/oci"
)

// ErrWrong says that content is not that of its digest.
var ErrWrong = errors.New("fsblob: the content is not that of its digest")

// OwnKey returns the key of this package's own that Own gives an adopted object;
// other keys are returned as they are.
func OwnKey(key blob.Key) blob.Key {
	a, ok := parseAdopted(key)
	if !ok {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return object{a.digest, blob.Key(hex.EncodeToString(sum[:16]))}.key()
}

// PathOf returns the path, from a data directory, of the object that has a key
// of this package's own, and the digest that it was committed as.
func PathOf(key blob.Key) (string, oci.Digest, error) {
	o, err := parseFinished(key)
	if err != nil {
		return "", oci.Digest{}, err
	}
	return o.path(), o.digest, nil
}

// KeyAt is the inverse of PathOf.
func KeyAt(path string) (blob.Key, oci.Digest, error) {
	rest, ok := strings.CutPrefix(path, blobsDir+"/")
	parts := strings.Split(rest, "/")
	if ok && len(parts) == 4 {
		o, err := parseFinished(blob.Key(parts[0] + "/" + parts[2] + "/" + parts[3]))
		if err == nil && o.path() == path {
			return o.key(), o.digest, nil
		}
	}
	return "", oci.Digest{}, fmt.Errorf("%q is not the path of an object: %w", path, fs.ErrInvalid)
}

// Find opens the object of a key of this package's own, be it still registry:2's
// file under another key: whoever reads it compares it with its digest. The error
// wraps fs.ErrNotExist when there is none.
func (s *Store) Find(ctx context.Context, key blob.Key) (blob.Reader, error) {
	r, err := s.Open(ctx, key)
	if !isMissing(err) {
		return r, err
	}
	o, perr := parseFinished(key)
	if perr != nil {
		return nil, perr
	}
	f, info, ferr := s.d.open(dataPath(o.digest), os.O_RDONLY)
	if ferr != nil {
		return nil, err
	}
	return &reader{f: f.File, size: info.Size()}, nil
}

// Has reports whether there is an object of key, in a regular file of that size.
func (s *Store) Has(key blob.Key, size int64) bool {
	o, err := parseFinished(key)
	if err != nil {
		return false
	}
	info, err := s.d.lstat(o.path())
	return err == nil && info.Mode().IsRegular() && info.Size() == size
}

// Take makes what r gives the finished object of key, durably. It compares what it
// writes: the error wraps ErrWrong, and there is no object, if it is not the
// content of the key's digest.
func (s *Store) Take(ctx context.Context, key blob.Key, r io.Reader) error {
	o, err := parseFinished(key)
	if err != nil {
		return err
	}
	w, err := s.Create(ctx, o.id)
	if err != nil {
		return err
	}
	defer w.Close()
	h := o.digest.Algorithm().New()
	_, err = copyUntil(ctx, io.MultiWriter(w, h), r)
	if err == nil && o.digest.Algorithm().Digest(h) != o.digest {
		err = fmt.Errorf("take %s: %w", key, ErrWrong)
	}
	if err == nil {
		_, err = w.Commit(ctx, o.digest)
	}
	if err != nil {
		return errors.Join(err, w.Close(), s.Delete(context.WithoutCancel(ctx), o.id))
	}
	return w.Settle(ctx)
}

// copyUntil copies r to w for as long as ctx lasts.
func copyUntil(ctx context.Context, w io.Writer, r io.Reader) (n int64, err error) {
	buf := make([]byte, replayBuffer)
	for {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		k, err := r.Read(buf)
		if k > 0 {
			n += int64(k)
			if _, werr := w.Write(buf[:k]); werr != nil {
				return n, werr
			}
		}
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

// TidyUploads removes what Takes that were interrupted left. Nothing may be taken
// meanwhile.
func (s *Store) TidyUploads(ctx context.Context) error {
	return s.Recover(ctx, func(_ context.Context, key blob.Key) (bool, error) {
		return key.Check() != nil, nil // the finished names of what was taken are good
	})
}

// Tidy removes the finished objects that needed does not know.
func (s *Store) Tidy(ctx context.Context, needed func(context.Context, blob.Key) (bool, error)) (removed int, err error) {
	for o, err := range s.List(ctx) {
		if err != nil {
			return removed, err
		}
		ok, err := needed(ctx, o.Key)
		if err != nil {
			return removed, err
		}
		if !ok && o.Finished {
			if err := s.Delete(ctx, o.Key); err != nil {
				return removed, err
			}
			removed++
		}
	}
	return removed, nil
}
