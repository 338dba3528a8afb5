package htpasswd

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"berth/internal/osfile"
)

// Save writes d to path, with mode perm (before umask) if the file is new and
// with its own mode and owner if it is not. At any moment, also if the power
// fails, there is a whole file, old or new: the text goes to a new file in the
// same directory, which then takes the place of the old one.
//
// Where that cannot be, because the file is mounted by itself or belongs to
// somebody else, the text is written into the file, while the new file beside
// it keeps a whole copy. Save fails if the file changed since it was read.
func (d *Document) Save(path string, perm fs.FileMode) error {
	target := path
	if real, err := filepath.EvalSymlinks(path); err == nil {
		target = real
	}
	if err := d.unchanged(target); err != nil {
		return err
	}
	info, err := os.Stat(target)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("save password file: %w", err)
	}
	dir, base := filepath.Split(target)
	if dir == "" {
		dir = "."
	}
	temp := filepath.Join(dir, "."+base+"."+rand.Text()+".new")
	if err := writeNew(temp, d.text(), perm, info); err != nil {
		os.Remove(temp)
		return fmt.Errorf("save password file: the new text is written beside the old file first, "+
			"so its directory must be writable and have room: %w", err)
	}
	if err := replace(temp, target, d.text(), info); err != nil {
		return fmt.Errorf("save password file: %w", err)
	}
	if err := osfile.SyncDir(dir); err != nil {
		return fmt.Errorf("save password file: %w", err)
	}
	return nil
}

// unchanged reports an error if somebody else wrote the file since d was read.
func (d *Document) unchanged(path string) error {
	if d.isNew {
		return nil
	}
	data, _, err := read(path)
	if err != nil {
		return err
	}
	if sha256.Sum256(data) != d.sum {
		return fmt.Errorf("password file %s was changed by somebody else in the meantime: nothing was written, try again", path)
	}
	return nil
}

// writeNew makes a file that is on disk when it returns. old is what it will
// take the place of, or nil.
func writeNew(path, text string, perm fs.FileMode, old fs.FileInfo) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	defer f.Close()
	if old != nil {
		if err := f.Chmod(old.Mode().Perm()); err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
	}
	if _, err := f.WriteString(text); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return f.Close()
}

// replace puts temp in the place of target, or its text into target.
func replace(temp, target, text string, old fs.FileInfo) error {
	ownerErr := keepOwner(temp, old)
	if ownerErr == nil {
		err := os.Rename(temp, target)
		if err == nil {
			return nil
		}
		if old == nil {
			os.Remove(temp)
			return err
		}
	}
	if err := overwrite(target, text); err != nil {
		return fmt.Errorf("%w; the new text is in %s", err, temp)
	}
	return os.Remove(temp)
}

func overwrite(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte(text), 0); err != nil {
		return err
	}
	if err := f.Truncate(int64(len(text))); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return f.Close()
}
