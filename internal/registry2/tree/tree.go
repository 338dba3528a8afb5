package tree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"berth/internal/meta"
	"berth/internal/oci"
)

// reposDir holds the repositories, from the data directory.
const reposDir = "docker/registry/v2/repositories"

// What a repository's own folders are called.
const (
	layersDir    = "_layers"
	manifestsDir = "_manifests"
	uploadsDir   = "_uploads"
	revisionsDir = "_manifests/revisions"
	tagsDir      = "_manifests/tags"
	linkFile     = "link"
)

// maxLink is more than a link holds.
const maxLink = 4 << 10

// A Tree is registry:2's tree of links in a data directory.
type Tree struct{ root *os.Root }

// Open opens the tree of a data directory, which need not have one. Nothing is
// made or changed until something is written.
func Open(dir string) (*Tree, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &Tree{root}, nil
}

// Close gives the directory up.
func (t *Tree) Close() error { return t.root.Close() }

// Exists reports whether there is anything in the tree.
func (t *Tree) Exists() (bool, error) {
	f, err := openDir(t.root, reposDir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	_, err = f.ReadDir(1)
	if err == io.EOF {
		return false, nil
	}
	return err == nil, err
}

// openDir opens a directory. What is something else is not merely missing: nobody
// shall take that for a deletion.
func openDir(root *os.Root, name string) (*os.File, error) {
	info, err := root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%s is %s", name, describe(info.Mode()))
	}
	return root.Open(name)
}

func describe(m fs.FileMode) string {
	switch {
	case m.Type() == fs.ModeSymlink:
		return "a symbolic link, which is not followed: use a bind mount"
	case m.IsDir():
		return "a directory"
	case m.IsRegular():
		return "a file"
	}
	return "a special file"
}

// entries calls found with what is in a directory, which may be missing.
func entries(ctx context.Context, root *os.Root, dir string, found func(fs.DirEntry) error) error {
	f, err := openDir(root, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		batch, err := f.ReadDir(256)
		for _, e := range batch {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := found(e); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// walk calls found with the name of each directory that is a repository, and bad
// with what stood in the way.
func (t *Tree) walk(ctx context.Context, name string, found func(name string) error, bad func(Problem)) error {
	isRepo := false
	var below []string
	dir := path.Join(reposDir, name)
	err := entries(ctx, t.root, dir, func(e fs.DirEntry) error {
		switch {
		case e.Type() == fs.ModeSymlink:
			bad(Problem{Path: path.Join(name, e.Name()), What: describe(e.Type())})
		case !e.IsDir(): // nothing of registry:2's
		case !strings.HasPrefix(e.Name(), "_"):
			below = append(below, e.Name())
		case name != "" && (e.Name() == layersDir || e.Name() == manifestsDir || e.Name() == uploadsDir):
			isRepo = true
		}
		return nil
	})
	if err != nil && ctx.Err() == nil {
		bad(Problem{Path: name, What: "cannot be read: " + reason(err)})
		err = nil
	}
	if err == nil && isRepo {
		err = found(name)
	}
	for i := 0; err == nil && i < len(below); i++ {
		err = t.walk(ctx, path.Join(name, below[i]), found, bad)
	}
	return err
}

// reason is what is wrong with a file, without its path.
func reason(err error) string {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err.Error()
	}
	return err.Error()
}

// openRepo opens the directory of a repository. The error wraps fs.ErrNotExist
// when there is none.
func (t *Tree) openRepo(repo oci.Repo) (*os.Root, error) {
	dir := reposDir
	for part := range strings.SplitSeq(repo.String(), "/") {
		dir += "/" + part
		info, err := t.root.Lstat(dir)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			return nil, fmt.Errorf("%s is %s", dir, describe(info.Mode()))
		}
	}
	return t.root.OpenRoot(dir)
}

// linkPath is where a link is in its repository.
func linkPath(l meta.LinkName) string { return linkDir(l) + "/" + linkFile }

func linkDir(l meta.LinkName) string {
	alg, hex, _ := strings.Cut(l.Name, ":")
	switch l.Kind {
	case meta.LayerLink:
		return layersDir + "/" + alg + "/" + hex
	case meta.RevisionLink:
		return revisionsDir + "/" + alg + "/" + hex
	}
	return tagsDir + "/" + l.Name + "/current"
}

// An entry is a link as it stands in the tree.
type entry struct {
	meta.LinkName
	target  oci.Digest
	modTime time.Time
	known   bool  // it is what is remembered, and was not read
	err     error // why it is none
}

// links calls found with every link of a repository, layers first, then
// revisions, then tags. was is what is remembered.
func links(ctx context.Context, root *os.Root, was map[meta.LinkName]meta.Link, found func(entry)) error {
	for _, top := range []struct {
		kind meta.LinkKind
		dir  string
	}{{meta.LayerLink, layersDir}, {meta.RevisionLink, revisionsDir}} {
		err := entries(ctx, root, top.dir, func(alg fs.DirEntry) error {
			return within(ctx, root, top.dir+"/"+alg.Name(), func(dir *os.Root, hex fs.DirEntry) {
				l := meta.LinkName{Kind: top.kind, Name: alg.Name() + ":" + hex.Name()}
				look(dir, hex.Name()+"/"+linkFile, l, hex, was[l], found)
			})
		})
		if err != nil {
			return err
		}
	}
	return within(ctx, root, tagsDir, func(dir *os.Root, tag fs.DirEntry) {
		l := meta.LinkName{Kind: meta.TagLink, Name: tag.Name()}
		look(dir, tag.Name()+"/current/"+linkFile, l, tag, was[l], found)
	})
}

// within is entries for those who open what is there: each step on the way to a
// file costs an open, and the way from here is short.
func within(ctx context.Context, root *os.Root, name string, found func(*os.Root, fs.DirEntry)) error {
	info, err := root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode().IsRegular() {
		return nil
	}
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is %s", name, describe(info.Mode()))
	}
	dir, err := root.OpenRoot(name)
	if err != nil {
		return err
	}
	defer dir.Close()
	return entries(ctx, dir, ".", func(e fs.DirEntry) error {
		found(dir, e)
		return nil
	})
}

// look calls found with a link, if there is one: a deletion leaves its directory
// behind.
func look(root *os.Root, name string, l meta.LinkName, dir fs.DirEntry, was meta.Link, found func(entry)) {
	e := entry{LinkName: l}
	if !dir.IsDir() {
		if dir.Type() == fs.ModeSymlink {
			e.err = errors.New(describe(dir.Type()))
			found(e)
		}
		return
	}
	info, err := root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return
	case err != nil:
		e.err = err
	case !info.Mode().IsRegular():
		e.err = errors.New(describe(info.Mode()))
	default:
		e.modTime = info.ModTime()
		if !was.Changing && !was.Target.IsZero() && was.ModTime.Equal(e.modTime) {
			e.known, e.target = true, was.Target
			break
		}
		e.target, e.err = readLink(root, name)
	}
	found(e)
}

// readLink reads a link. registry:2 writes a digest and nothing else; white space
// around it, as editors leave it, is no reason to lose an image.
func readLink(root *os.Root, name string) (oci.Digest, error) {
	f, err := root.Open(name)
	if err != nil {
		return oci.Digest{}, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxLink))
	if err != nil {
		return oci.Digest{}, err
	}
	return parseLink(b)
}

// parseLink reads what a link holds.
func parseLink(b []byte) (oci.Digest, error) {
	text := strings.TrimSpace(string(b))
	if text == "" {
		return oci.Digest{}, errors.New("the link is empty, as after a crash")
	}
	d, err := oci.ParseDigest(text)
	if err != nil {
		return d, errors.New("the link holds no digest")
	}
	return d, nil
}
