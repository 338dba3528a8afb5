package fsblob

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"strings"

	"berth/internal/blob"
	"berth/internal/oci"
)

// nothingKnown is the Known of who keeps no records.
func nothingKnown(context.Context, blob.Key) (bool, error) { return false, nil }

// Delete implements blob.Store. It needs no free space. An adopted object stays:
// its file is registry:2's.
//
// It is for unfinished objects that no record names any more. Of one that was
// committed and recorded but not settled, only the unfinished name goes.
func (s *Store) Delete(ctx context.Context, key blob.Key) error {
	if key.Check() == nil {
		if err := s.drop(ctx, key, s.known); err != nil {
			return fmt.Errorf("delete %s: %w", key, mark(err))
		}
		return nil
	}
	if _, ok := parseAdopted(key); ok {
		return nil
	}
	o, err := parseFinished(key)
	if err != nil {
		return err
	}
	if err := s.removeFinal(o); err != nil {
		return fmt.Errorf("delete %s: %w", key, mark(err))
	}
	return nil
}

// Size implements blob.Sizer.
func (s *Store) Size(_ context.Context, key blob.Key) (int64, error) {
	name := uploadPath(key)
	if key.Check() != nil {
		if _, ok := parseAdopted(key); ok {
			return 0, nil
		}
		o, err := parseFinished(key)
		if err != nil {
			return 0, err
		}
		name = o.path()
	}
	info, err := s.d.lstat(name)
	if isMissing(err) || err == nil && !info.Mode().IsRegular() {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("size of %s: %w", key, mark(err))
	}
	return info.Size(), nil
}

// removeFinal removes a finished object, and its directory if nothing else is in
// it. A Commit that was about to use the directory makes it again.
func (s *Store) removeFinal(o object) error {
	if s.d.throughLink(o.hexDir()) {
		return nil // whatever the link leads to is none of ours
	}
	if err := s.conceal(o); err != nil {
		return err
	}
	if err := s.d.remove(o.path()); err != nil {
		return err
	}
	s.d.remove(o.hexDir()) // fails as long as something is in it
	return nil
}

// conceal takes away the name that Expose gave a finished object. It goes first,
// so that what is left of an interrupted deletion can be found by the key.
func (s *Store) conceal(o object) error {
	data, err := s.d.lstat(dataPath(o.digest))
	if isMissing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	info, err := s.d.lstat(o.path())
	if isMissing(err) || err == nil && !os.SameFile(info, data) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.d.remove(dataPath(o.digest))
}

// drop removes an unfinished object and those names which an interrupted Commit
// gave it that known doesn't know. The unfinished name goes last, since it leads
// to the others.
func (s *Store) drop(ctx context.Context, key blob.Key, known func(context.Context, blob.Key) (bool, error)) error {
	f, _, err := s.d.open(uploadPath(key), os.O_RDONLY)
	if err != nil && !isMissing(err) {
		return err
	}
	if f == nil {
		// Here there is nothing, or a link or the like, which goes unread.
		if err := s.d.remove(uploadPath(key)); err != nil {
			return err
		}
	} else {
		defer f.Close()
		if err := s.dropFile(ctx, f, key, known); err != nil {
			return err
		}
	}
	o, err := s.readIntent(key)
	if err != nil && !isMissing(err) {
		return err
	}
	if err == nil {
		if err := s.removeUnknown(ctx, o, known); err != nil {
			return err
		}
	}
	if err := s.d.remove(uploadPath(key) + intentExt); err != nil {
		return err
	}
	s.lost.Delete(key)
	return nil
}

// dropFile removes the names of an unfinished object that is a file.
func (s *Store) dropFile(ctx context.Context, f *file, key blob.Key, known func(context.Context, blob.Key) (bool, error)) error {
	before, err := linkCount(f.File)
	if err != nil {
		return err
	}
	if before > 1 {
		if err := s.removeOtherNames(ctx, f, key, known); err != nil {
			return err
		}
	}
	if err := s.d.remove(uploadPath(key)); err != nil {
		return err
	}
	// A Commit may have linked the file just before its name went. Systems that
	// can't count the names of a file without any have none left.
	if after, err := linkCount(f.File); err != nil || after == 0 || before > 1 {
		return nil
	}
	return s.removeOtherNames(ctx, f, key, known)
}

// removeOtherNames removes the final names of f that nobody knows. It finds them
// by the content: they are made of its digest.
func (s *Store) removeOtherNames(ctx context.Context, f *file, key blob.Key, known func(context.Context, blob.Key) (bool, error)) error {
	h256, h512 := oci.SHA256.New(), oci.SHA512.New()
	if _, err := copyFile(ctx, io.MultiWriter(h256, h512), f.File, math.MaxInt64); err != nil {
		return err
	}
	for _, d := range []oci.Digest{oci.SHA256.Digest(h256), oci.SHA512.Digest(h512)} {
		if err := s.removeUnknown(ctx, object{d, key}, known); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) removeUnknown(ctx context.Context, o object, known func(context.Context, blob.Key) (bool, error)) error {
	ok, err := known(ctx, o.key())
	if err != nil || ok {
		return err
	}
	return s.removeFinal(o)
}

// undoLink takes the final names of an unfinished object away. If it is known
// under one of them it is not unfinished: the error wraps fs.ErrNotExist.
func (s *Store) undoLink(ctx context.Context, f *file, key blob.Key) error {
	n, err := linkCount(f.File)
	if err != nil || n <= 1 {
		return err
	}
	finished := false
	err = s.removeOtherNames(ctx, f, key, func(ctx context.Context, final blob.Key) (bool, error) {
		known, err := s.known(ctx, final)
		finished = finished || known
		return known, err
	})
	if err == nil && finished {
		err = errFinished(key)
	}
	return err
}

// writeIntent records durably which name an unfinished object is about to be
// renamed to.
func (s *Store) writeIntent(o object) error {
	name := uploadPath(o.id) + intentExt
	if err := s.d.remove(name); err != nil {
		return err
	}
	f, err := s.d.create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte(o.digest.String()+"\n"), 0); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return s.d.syncDir(uploadsDir)
}

// readIntent returns where the object was to be renamed to. The error wraps
// fs.ErrNotExist when it was not: what is there only in part was not fsynced, so
// there was no renaming.
func (s *Store) readIntent(key blob.Key) (object, error) {
	name := uploadPath(key) + intentExt
	f, _, err := s.d.open(name, os.O_RDONLY)
	if err != nil {
		return object{}, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 256))
	if err != nil {
		return object{}, err
	}
	line, ok := strings.CutSuffix(string(b), "\n")
	d, err := oci.ParseDigest(line)
	if err != nil || !ok {
		return object{}, errNotThere(name)
	}
	return object{d, key}, nil
}

func errFinished(key blob.Key) error {
	return fmt.Errorf("%s is finished: %w", uploadPath(key), fs.ErrNotExist)
}

// undoRename gives an object that an interrupted Commit renamed its unfinished
// name back. If it is known under the other it is not unfinished: the error wraps
// fs.ErrNotExist.
func (s *Store) undoRename(ctx context.Context, key blob.Key) error {
	if !s.intended && !s.renames.Load() {
		return nil // nobody has renamed anything
	}
	o, err := s.readIntent(key)
	if isMissing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if known, err := s.known(ctx, o.key()); known || err != nil {
		return cmp.Or(err, errFinished(key))
	}
	if _, err := s.d.lstat(uploadPath(key)); isMissing(err) {
		if err := s.d.rename(o.path(), uploadPath(key)); err != nil && !isMissing(err) {
			return err
		}
	} else if err != nil {
		return err
	}
	if err := s.removeFinal(o); err != nil {
		return err
	}
	if err := s.d.syncDir(uploadsDir); err != nil {
		return err
	}
	return s.d.remove(uploadPath(key) + intentExt)
}

// Recover implements blob.Recoverer. It needs no quiet: an upload's record is
// there before its file, and ends in the same transaction in which its blob's
// record begins.
func (s *Store) Recover(ctx context.Context, known func(context.Context, blob.Key) (bool, error)) error {
	var failed error
	err := s.names(ctx, uploadsDir, func(name string) error {
		key := blob.Key(strings.TrimSuffix(name, intentExt))
		if key.Check() != nil {
			return nil
		}
		ok, err := known(ctx, key)
		if err != nil {
			return err
		}
		if !ok {
			if err := s.drop(ctx, key, known); err != nil {
				failed = fmt.Errorf("recover %s: %w", key, mark(err))
			}
		}
		return ctx.Err()
	})
	return errors.Join(err, failed)
}
