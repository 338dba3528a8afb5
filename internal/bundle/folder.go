package bundle

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// errIsFolder says that a path is one of a folder.
var errIsFolder = errors.New("bundle: is a folder")

// A folder is a tree on disk. Links out of it are not followed.
type folder struct{ root *os.Root }

func openFolder(path string) (files, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	return folder{root}, nil
}

func (d folder) open(name string) (io.ReadCloser, int64, error) {
	info, err := d.root.Stat(name)
	switch {
	case err != nil:
		return nil, 0, err
	case info.IsDir():
		return nil, 0, errIsFolder
	case !info.Mode().IsRegular():
		return nil, 0, fmt.Errorf("%s is not a file: %w", name, fs.ErrInvalid)
	}
	f, err := d.root.Open(name)
	if err != nil {
		return nil, 0, err
	}
	return f, info.Size(), nil
}

func (d folder) close() error { return d.root.Close() }
