package fsblob

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// explain words what kept the data directory from being used so that whoever
// started the program knows what to do.
func explain(dir string, err error) error {
	if abs, aerr := filepath.Abs(dir); aerr == nil {
		dir = abs
	}
	switch {
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("data directory %s is on a read-only file system; mount it writable, or choose another directory with --data: %w", dir, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("data directory %s can't be written%s: %w", dir, owner(dir, err), err)
	case errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("data directory %s is not a directory; choose another one with --data: %w", dir, err)
	}
	return fmt.Errorf("data directory %s: %w", dir, err)
}

// owner says whose the place is where access was denied: a file in dir, dir, or
// the first directory above it that exists.
func owner(dir string, err error) string {
	at := dir
	if pe, ok := errors.AsType[*fs.PathError](err); ok && filepath.IsLocal(pe.Path) {
		at = filepath.Join(dir, pe.Path)
	}
	for {
		info, serr := os.Stat(at)
		if serr == nil {
			return whose(at, info)
		}
		up := filepath.Dir(at)
		if up == at {
			return ""
		}
		at = up
	}
}
