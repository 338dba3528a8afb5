package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"berth/internal/blob"
	"berth/internal/blob/fsblob"
	"berth/internal/meta"
	"berth/internal/meta/sqlmeta"
)

// Source is a registry of which a backup is taken. Its data directory is only read.
type Source struct {
	Data     string   // the data directory
	Database string   // a copy of its database, detached; it is changed
	Head     Manifest // what is coming
}

// A tree is a source that has the form of a data directory: that of a registry,
// or a backup.
type tree struct {
	root  *os.Root
	store *fsblob.Store
	copy  *sqlmeta.Copy
	path  string // of the database
	head  Manifest
	kind  treeKind
}

// A treeKind says whether the database of a tree may be changed.
type treeKind int

const (
	registryTree treeKind = iota // what is damaged is marked in its database
	backupTree                   // nothing is changed
)

func openTree(ctx context.Context, s Source, kind treeKind) (_ *tree, err error) {
	t := &tree{path: s.Database, head: s.Head, kind: kind}
	defer func() {
		if err != nil {
			t.close()
		}
	}()
	if t.root, err = os.OpenRoot(s.Data); err != nil {
		return nil, err
	}
	if t.store, err = fsblob.View(s.Data); err != nil {
		return nil, err
	}
	if kind == backupTree {
		t.copy, err = sqlmeta.ViewCopy(ctx, s.Database)
	} else {
		t.copy, err = sqlmeta.OpenCopy(ctx, s.Database)
	}
	return t, err
}

func (t *tree) close() {
	if t.root != nil {
		t.root.Close()
	}
	if t.store != nil {
		t.store.Close()
	}
	if t.copy != nil {
		t.copy.Close()
	}
}

// run implements source.
func (t *tree) run(ctx context.Context, to receiver, tell *teller) error {
	files, err := t.files()
	if err != nil {
		return err
	}
	t.head.Files, tell.total = len(files), t.head.Bytes
	if err := to.begin(ctx, t.head); err != nil {
		return err
	}
	for _, name := range files {
		if err := t.file(ctx, to, name); err != nil {
			return err
		}
	}
	last := blob.Key("")
	err = t.copy.Objects(ctx, func(b meta.Blob) error {
		if b.Key == last {
			return nil
		}
		last = b.Key
		return t.object(ctx, to, tell, b)
	})
	if err != nil {
		return err
	}
	if t.kind == registryTree {
		if err := tell.checkManifests(ctx, t.copy); err != nil {
			return err
		}
		if t.head.Contents, err = t.copy.Contents(ctx); err != nil {
			return err
		}
	}
	return t.database(ctx, to, tell)
}

// files lists the small files there are.
func (t *tree) files() ([]string, error) {
	var names []string
	for _, name := range []string{OriginName, tokenKeyName} {
		if info, err := t.root.Lstat(name); err == nil && info.Mode().IsRegular() {
			names = append(names, name)
		}
	}
	list, err := fs.ReadDir(t.root.FS(), acmeDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("look for certificates: %w", err)
	}
	for _, e := range list {
		name := path.Join(acmeDir, e.Name())
		info, err := e.Info()
		if err == nil && info.Mode().IsRegular() && info.Size() <= maxFile && isFile(name) && len(names) < maxFiles {
			names = append(names, name)
		}
	}
	return names, nil
}

func (t *tree) file(ctx context.Context, to receiver, name string) error {
	f, err := t.root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return err
	}
	return to.file(ctx, name, int64(len(text)), bytes.NewReader(text))
}

func (t *tree) object(ctx context.Context, to receiver, tell *teller, b meta.Blob) error {
	var in *told
	var file io.Closer
	open := func() (_ io.ReadCloser, err error) {
		in, file, err = openTold(tell, b.Key, b.Size, func() (blob.Reader, error) { return t.store.Find(ctx, b.Key) })
		if err != nil {
			return nil, err
		}
		return readCloser{in, file}, nil
	}
	err := to.object(ctx, b.Key, b.Size, open)
	if in != nil && in.err != nil {
		return in.err
	}
	if e, ok := damage(err); ok && ctx.Err() == nil {
		if err = t.damaged(ctx, tell, e); err != nil {
			return err
		}
	}
	if err != nil {
		return fmt.Errorf("copy %s: %w", b.Key, err)
	}
	if in != nil {
		return tell.add(b.Size - in.n)
	}
	return tell.add(b.Size)
}

// damaged tells of damage, and marks it in the copy of the database.
func (t *tree) damaged(ctx context.Context, tell *teller, e *DamageError) error {
	const some = 5
	repositories, err := t.copy.Holders(ctx, e.Key, some)
	if err != nil {
		return err
	}
	if err := tell.damaged(e, repositories); err != nil || t.kind == backupTree {
		return err
	}
	return t.copy.MarkDamaged(ctx, e.Key)
}

// database gives the database, which does not change any more, and the manifest.
func (t *tree) database(ctx context.Context, to receiver, tell *teller) error {
	err := t.copy.Close()
	t.copy = nil
	if err != nil {
		return err
	}
	sum, size, err := hashFile(ctx, t.path)
	if err != nil {
		return err
	}
	f, err := os.Open(t.path)
	if err != nil {
		return err
	}
	defer f.Close()
	if t.kind == registryTree {
		t.head.Database = Database{Size: size, SHA256: sum}
	}
	if err := to.database(ctx, size, f); err != nil {
		return fmt.Errorf("copy the database: %w", err)
	}
	if confirm := tell.o.Confirm; confirm != nil {
		if err := confirm(); err != nil {
			return err
		}
	}
	return to.end(ctx, t.head)
}

// readCloser is a reader and what closes it.
type readCloser struct {
	io.Reader
	io.Closer
}
