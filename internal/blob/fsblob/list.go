package fsblob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"path"
	"strings"

	"berth/internal/blob"
	"berth/internal/oci"
)

// errStop ends a walk whose consumer has seen enough.
var errStop = errors.New("stop")

// listBatch is how many names of a directory are in memory at once.
const listBatch = 256

// List implements blob.Store. What has no name that a Store gives is passed over
// in silence: registry:2's files, temporary ones, whatever else people keep.
func (s *Store) List(ctx context.Context) iter.Seq2[blob.Object, error] {
	return func(yield func(blob.Object, error) bool) {
		err := s.list(ctx, func(o blob.Object) error {
			if !yield(o, nil) {
				return errStop
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStop) {
			yield(blob.Object{}, fmt.Errorf("list objects: %w", mark(err)))
		}
	}
}

func (s *Store) list(ctx context.Context, found func(blob.Object) error) error {
	err := s.names(ctx, uploadsDir, func(name string) error {
		key := blob.Key(name)
		if key.Check() != nil {
			return nil
		}
		return s.describe(uploadPath(key), blob.Object{Key: key, Begun: key}, found)
	})
	if err != nil {
		return err
	}
	return s.eachDigest(ctx, func(d oci.Digest) error { return s.listDigest(ctx, d, found) })
}

// eachDigest calls found with every digest that has a directory in the tree.
func (s *Store) eachDigest(ctx context.Context, found func(oci.Digest) error) error {
	for _, a := range []oci.Algorithm{oci.SHA256, oci.SHA512} {
		top := path.Join(blobsDir, string(a))
		err := s.names(ctx, top, func(hh string) error {
			if !isHex(hh) {
				return nil
			}
			return s.names(ctx, path.Join(top, hh), func(hex string) error {
				d, err := oci.ParseDigest(string(a) + ":" + hex)
				if err != nil || hex[:2] != hh {
					return nil
				}
				return found(d)
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) listDigest(ctx context.Context, d oci.Digest, found func(blob.Object) error) error {
	return s.names(ctx, object{digest: d}.hexDir(), func(name string) error {
		o := object{d, blob.Key(name)}
		if o.id.Check() != nil {
			return nil
		}
		return s.describe(o.path(), blob.Object{Key: o.key(), Begun: o.id, Finished: true, Digest: d}, found)
	})
}

// describe adds size and time to o and passes it on, if its file is one.
func (s *Store) describe(name string, o blob.Object, found func(blob.Object) error) error {
	info, err := s.d.lstat(name)
	if isMissing(err) || err == nil && !info.Mode().IsRegular() {
		return nil
	}
	if err != nil {
		return err
	}
	o.Size, o.ModTime = info.Size(), info.ModTime()
	return found(o)
}

// isHex reports whether name is one of the 256 directories of an algorithm.
func isHex(name string) bool {
	return len(name) == 2 && strings.Trim(name, "0123456789abcdef") == ""
}

// names calls found with each name in a directory, which may be missing or no
// directory at all.
func (s *Store) names(ctx context.Context, dir string, found func(string) error) error {
	f, err := s.d.openDir(dir)
	if isMissing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		batch, err := f.Readdirnames(listBatch)
		for _, name := range batch {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := found(name); err != nil {
				return err
			}
		}
		if err == io.EOF || isMissing(err) { // a Delete removed the directory
			return nil
		}
		if err != nil {
			return err
		}
	}
}
