package fsblob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"berth/internal/blob"
	"berth/internal/oci"
)

// dataFile is the name that registry:2 gives the content of a digest.
const dataFile = "data"

// adoptedPrefix begins the keys of files that registry:2 wrote.
const adoptedPrefix = "adopted/"

// An adopted object is registry:2's own file of a digest. Its key also says which
// file it was when it was taken: inode, size and time. Reading does not ask for
// that, so that a copy of the folder serves. Delete leaves such a file alone.
type adopted struct {
	digest oci.Digest
	which  string // <inode>-<size>-<time in nanoseconds>
}

func (a adopted) path() string { return dataPath(a.digest) }

func (a adopted) key() blob.Key {
	return blob.Key(adoptedPrefix + string(a.digest.Algorithm()) + "/" + a.digest.Hex() + "/" + a.which)
}

// dataPath is where registry:2 keeps the content of d.
func dataPath(d oci.Digest) string { return object{digest: d}.hexDir() + "/" + dataFile }

// parseAdopted reads the key of an adopted object.
func parseAdopted(k blob.Key) (adopted, bool) {
	rest, ok := strings.CutPrefix(string(k), adoptedPrefix)
	parts := strings.Split(rest, "/")
	if !ok || len(parts) != 3 || strings.Trim(parts[2], "0123456789-") != "" {
		return adopted{}, false
	}
	d, err := oci.ParseDigest(parts[0] + ":" + parts[1])
	return adopted{d, parts[2]}, err == nil
}

// keyPath returns where the object of a key is that Commit or Data returned.
func keyPath(k blob.Key) (string, error) {
	if a, ok := parseAdopted(k); ok {
		return a.path(), nil
	}
	o, err := parseFinished(k)
	if err != nil {
		return "", err
	}
	return o.path(), nil
}

// View opens an existing data directory for looking at it: nothing is made or
// changed in it, so that it may be read-only, and in use. Only Open, Data and
// Unused may be called.
func View(dir string) (*Store, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	d, err := openRoot(root)
	if err != nil {
		return nil, err
	}
	return &Store{d: d}, nil
}

// Data finds the file in which registry:2 keeps the content of d, else the error
// wraps fs.ErrNotExist. Its Key is that of the object of which the file is a
// second name, if it is one that Expose gave, and one of its own otherwise.
func (s *Store) Data(ctx context.Context, d oci.Digest) (blob.Object, error) {
	f, info, err := s.d.open(dataPath(d), os.O_RDONLY)
	if err != nil {
		return blob.Object{}, fmt.Errorf("look for the file of %s: %w", d, mark(err))
	}
	defer f.Close()
	which := strings.Join([]string{strconv.FormatUint(fileNumber(info), 10), strconv.FormatInt(info.Size(), 10),
		strconv.FormatInt(info.ModTime().UnixNano(), 10)}, "-")
	o := blob.Object{Key: adopted{d, which}.key(), Finished: true, Digest: d, Size: info.Size(), ModTime: info.ModTime()}
	if n, err := linkCount(f.File); err != nil || n < 2 {
		return o, nil
	}
	own, err := s.sameFile(ctx, d, info)
	if own != "" {
		o.Key = own
	}
	return o, err
}

// sameFile returns the key of the finished object of d that is the file info
// describes; empty if there is none.
func (s *Store) sameFile(ctx context.Context, d oci.Digest, info fs.FileInfo) (found blob.Key, err error) {
	err = s.names(ctx, object{digest: d}.hexDir(), func(name string) error {
		o := object{d, blob.Key(name)}
		if o.id.Check() != nil {
			return nil
		}
		is, err := s.d.lstat(o.path())
		if err == nil && os.SameFile(is, info) {
			found = o.key()
		}
		return nil
	})
	return found, err
}

// Expose gives a finished object the name under which registry:2 looks for it,
// durably, and returns the digest that it has there. What stands there already is
// left alone unless its size is another one: it is damaged then. The name belongs
// to the key: Delete takes it away. Where there are no hard links the content is
// copied, and the copy stays.
func (s *Store) Expose(ctx context.Context, key blob.Key, size int64) (oci.Digest, error) {
	if a, ok := parseAdopted(key); ok {
		return a.digest, nil
	}
	o, err := parseFinished(key)
	if err != nil {
		return oci.Digest{}, err
	}
	if err := s.expose(ctx, o, size); err != nil {
		return oci.Digest{}, fmt.Errorf("give %s the name %s: %w", key, dataFile, mark(err))
	}
	return o.digest, nil
}

func (s *Store) expose(ctx context.Context, o object, size int64) error {
	to := dataPath(o.digest)
	there, err := s.d.lstat(to)
	switch {
	case err == nil && there.Mode().IsRegular() && there.Size() == size:
		return s.d.syncDir(o.hexDir())
	case err != nil && !isMissing(err):
		return err
	}
	return s.give(ctx, o.path(), to, o.id)
}

// give makes to another name of the file from, or a copy of it, in the place of
// whatever is there, and makes it durable.
func (s *Store) give(ctx context.Context, from, to string, id blob.Key) error {
	temp := to + "." + string(id) + ".tmp"
	if err := s.d.remove(temp); err != nil {
		return err
	}
	err := s.d.link(from, temp)
	if err != nil && noLinks(err) {
		err = s.copyData(ctx, from, temp)
	}
	if err != nil {
		return err
	}
	if err := s.d.rename(temp, to); err != nil {
		return err
	}
	// Renaming one name of a file to another one of its names does nothing.
	if err := s.d.remove(temp); err != nil {
		return err
	}
	return s.d.syncDir(parentOf(to))
}

func parentOf(name string) string { return name[:strings.LastIndexByte(name, '/')] }

func (s *Store) copyData(ctx context.Context, from, to string) error {
	if err := s.checkSpace(); err != nil {
		return err
	}
	src, info, err := s.d.open(from, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := s.d.create(to)
	if err != nil {
		return err
	}
	defer dst.Close()
	n, err := copyFile(ctx, &offsetWriter{f: dst}, src.File, info.Size())
	if err == nil && n < info.Size() {
		err = io.ErrUnexpectedEOF
	}
	if err == nil {
		err = dst.Sync()
	}
	return err
}

// An offsetWriter appends to a new file.
type offsetWriter struct {
	f   *file
	off int64
}

func (w *offsetWriter) Write(p []byte) (int, error) {
	n, err := w.f.WriteAt(p, w.off)
	w.off += int64(n)
	return n, err
}

// PutData keeps content where registry:2 looks for d, durably, unless a file of
// that size is there. It is for manifests, which are no objects of this store.
func (s *Store) PutData(_ context.Context, d oci.Digest, content []byte) error {
	if err := s.putData(d, content); err != nil {
		return fmt.Errorf("write %s as %s: %w", d, dataFile, mark(err))
	}
	return nil
}

func (s *Store) putData(d oci.Digest, content []byte) error {
	o := object{d, blob.NewKey()}
	if there, err := s.d.lstat(dataPath(d)); err == nil && there.Mode().IsRegular() && there.Size() == int64(len(content)) {
		return s.d.syncDir(o.hexDir())
	}
	if err := s.checkSpace(); err != nil {
		return err
	}
	temp := dataPath(d) + "." + string(o.id) + ".tmp"
	for range maxPlace {
		unsynced, err := s.makeDirs(s.d, o.hexDir())
		if err == nil {
			err = s.writeNew(temp, content)
		}
		if err == nil {
			if err = s.d.rename(temp, dataPath(d)); err == nil {
				return s.syncNames(s.d, unsynced)
			}
		}
		if !isMissing(err) { // else a Delete removed the directory under us
			return errors.Join(err, s.d.remove(temp))
		}
	}
	return errNotThere(temp)
}

func (s *Store) writeNew(name string, content []byte) error {
	f, err := s.d.create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteAt(content, 0); err != nil {
		return err
	}
	return f.Sync()
}

// Own gives an adopted object a key of this store's own, under which it is
// durable from then on, and returns that; the same one each time. Other keys are
// returned as they are.
func (s *Store) Own(ctx context.Context, key blob.Key) (blob.Key, error) {
	a, ok := parseAdopted(key)
	if !ok {
		return key, nil
	}
	o, err := parseFinished(OwnKey(key))
	if err != nil {
		return "", err
	}
	if err := s.own(ctx, a, o); err != nil {
		return "", fmt.Errorf("take over %s: %w", key, mark(err))
	}
	return o.key(), nil
}

func (s *Store) own(ctx context.Context, a adopted, o object) error {
	f, _, err := s.d.open(a.path(), os.O_RDONLY)
	if isMissing(err) { // it may be the second time, or a damaged object without a file
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil { // registry:2 need not have done so
		return err
	}
	return s.give(ctx, a.path(), o.path(), o.id)
}

// An Unused is what Unused counts.
type Unused struct {
	Files int
	Bytes int64 // that are on the disk under no other name
}

// Unused counts registry:2's files of which needed says that no record needs
// them.
func (s *Store) Unused(ctx context.Context, needed func(oci.Digest) (bool, error)) (Unused, error) {
	var u Unused
	err := s.eachDigest(ctx, func(d oci.Digest) error {
		info, err := s.d.lstat(dataPath(d))
		if err != nil {
			return nil // most of what is listed has none
		}
		if ok, err := needed(d); ok || err != nil {
			return err
		}
		u.Files++
		u.Bytes += info.Size()
		return nil
	})
	return u, err
}

// RemoveData takes registry:2's names of all content away. Every object that is
// needed must have a key of this store's own; see Own.
func (s *Store) RemoveData(ctx context.Context) error {
	return s.eachDigest(ctx, func(d oci.Digest) error {
		if s.d.throughLink(object{digest: d}.hexDir()) {
			return nil
		}
		if err := s.d.remove(dataPath(d)); err != nil {
			return err
		}
		s.d.remove(object{digest: d}.hexDir()) // fails as long as something is in it
		return nil
	})
}
