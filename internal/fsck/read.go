package fsck

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"berth/internal/blob"
	"berth/internal/meta"
	"berth/internal/oci"
)

// bufferSize is what reading needs of memory.
const bufferSize = 256 << 10

// errWrong says that an object's bytes are not what its digest says.
var errWrong = errors.New("fsck: wrong bytes")

// verify reads an object whole and returns nil if its bytes have the digest d,
// and errWrong if they don't. Any other error says that it could not be read,
// which proves nothing. pace is called before and after each piece of the reading;
// its error ends it.
func verify(ctx context.Context, s blob.Inspector, key blob.Key, d oci.Digest, buf []byte, pace func(n int) error) error {
	r, err := s.OpenOnce(ctx, key)
	if err != nil {
		return err
	}
	defer r.Close()
	h := d.Algorithm().New()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := r.Read(buf)
		h.Write(buf[:n])
		if perr := pace(n); perr != nil {
			return perr
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("read object %s: %w", key, err)
		}
	}
	if d.Algorithm().Digest(h) != d {
		return errWrong
	}
	return nil
}

// verifyTwice is verify, but believes that bytes are wrong only if they are so
// twice: memory and cables err, too.
func verifyTwice(ctx context.Context, s blob.Inspector, key blob.Key, d oci.Digest, buf []byte, pace func(n int) error) error {
	err := verify(ctx, s, key, d, buf, pace)
	if errors.Is(err, errWrong) {
		err = verify(ctx, s, key, d, buf, pace)
	}
	return err
}

// isMissing reports whether err says that there is no such object.
func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// An unknownRepo is why a repository that was named could not be found.
type unknownRepo struct {
	repo oci.Repo
	err  error
}

// Error leaves out that nothing was found, which the words say already.
func (u unknownRepo) Error() string {
	if errors.Is(u.err, meta.ErrNotFound) {
		return fmt.Sprintf("there is no repository %s: `berth ls` lists those there are", u.repo)
	}
	return fmt.Sprintf("repository %s: %v", u.repo, u.err)
}

// Unwrap lets callers see what it was.
func (u unknownRepo) Unwrap() error { return u.err }
