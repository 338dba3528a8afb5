package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"berth/internal/blob"
	"berth/internal/blob/fsblob"
	"berth/internal/osfile"
)

// next is added to the name of what is going to take the place of something.
const next = ".next"

// A base is a data directory that is being written: a backup, or a restored one.
type base struct {
	dir   string
	root  *os.Root
	lock  *fsblob.Lock
	store *fsblob.Store
	small *writers
	res   *Result
}

// openBase takes a folder, which it makes if need be, for itself.
func openBase(ctx context.Context, dir string) (_ *base, err error) {
	b := &base{dir: dir, small: newWriters(), res: &Result{}}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	if b.lock, err = fsblob.LockDir(dir); err != nil {
		return nil, err
	}
	if b.store, err = fsblob.Open(fsblob.Options{Dir: dir}); err != nil {
		return nil, err
	}
	if b.root, err = os.OpenRoot(dir); err != nil {
		return nil, err
	}
	return b, b.store.TidyUploads(ctx)
}

func (b *base) close() (err error) {
	_ = b.written() // whoever wants to know has asked
	if b.root != nil {
		err = b.root.Close()
	}
	if b.store != nil {
		err = errors.Join(err, b.store.Close())
	}
	if b.lock != nil {
		err = errors.Join(err, b.lock.Close())
	}
	return err
}

// file implements receiver.
func (b *base) file(_ context.Context, name string, size int64, r io.Reader) error {
	if !isFile(name) || size > maxFile {
		return fmt.Errorf("%q is no file of a backup", name)
	}
	if err := b.root.MkdirAll(path.Dir(name), 0o700); err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(r, size))
	if err != nil {
		return err
	}
	return b.replace(name, text)
}

// replace puts a small file in the place of what is there, durably.
func (b *base) replace(name string, text []byte) error {
	if err := b.write(name+next, text); err != nil {
		return err
	}
	return b.rename(name+next, name)
}

func (b *base) write(name string, text []byte) error {
	f, err := b.root.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}

func (b *base) rename(from, to string) error {
	if err := b.root.Rename(from, to); err != nil {
		return err
	}
	return osfile.SyncDir(filepath.Join(b.dir, filepath.FromSlash(path.Dir(to))))
}

// object implements receiver.
func (b *base) object(ctx context.Context, key blob.Key, size int64, open opener) error {
	if b.store.Has(key, size) {
		return nil // it was compared with its digest before it got its name
	}
	r, err := open()
	if err != nil {
		return err
	}
	defer r.Close()
	if size <= smallObject {
		err = b.small.write(ctx, b.store, key, size, r)
	} else if err = b.store.Take(ctx, key, r); err == nil {
		b.small.note(size, nil)
	}
	if _, ok := damage(err); !ok && errors.Is(err, fsblob.ErrWrong) {
		return &DamageError{Key: key, Why: "its content is not that of its digest"}
	}
	return err
}

// written waits until all objects are, and counts them.
func (b *base) written() error {
	err := b.small.wait()
	b.res.Copied, b.res.CopiedBytes = b.small.count, b.small.bytes
	return err
}

// copyTo writes size bytes of r into a new file, durably, and returns their
// SHA-256.
func copyTo(ctx context.Context, name string, size int64, r io.Reader) (sum string, err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, h), io.LimitReader(until(ctx, r), size))
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// hashFile returns the SHA-256 of a file, and its size.
func hashFile(ctx context.Context, name string) (sum string, size int64, err error) {
	f, err := os.Open(name)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	h := sha256.New()
	size, err = io.Copy(h, until(ctx, f))
	return hex.EncodeToString(h.Sum(nil)), size, err
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

// isEmpty reports whether nothing of anybody's is in a folder, which need not
// exist.
func isEmpty(dir string) (bool, error) {
	list, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	for _, e := range list {
		if e.Name() != "lost+found" {
			return false, nil
		}
	}
	return true, err
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}
