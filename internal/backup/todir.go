package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"berth/internal/meta/sqlmeta"
	"berth/internal/osfile"
)

// A folder is a backup in the form of a folder that is being written or brought
// up to date. Until its end it holds the backup that it held before: objects are
// only added, since their keys are never used again.
type folder struct {
	*base
	sum string // of the database
}

// Folder brings the backup in the folder dir up to date, or begins one there.
func Folder(ctx context.Context, s Source, dir string, o Options) (Result, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Result{}, err
	}
	if err := apart(s.Data, dir); err != nil {
		return Result{}, err
	}
	if err := checkFolder(ctx, dir, s.Head); err != nil {
		return Result{}, err
	}
	from, err := openTree(ctx, s, registryTree)
	if err != nil {
		return Result{}, err
	}
	defer from.close()
	b, err := openBase(ctx, dir)
	if err != nil {
		return Result{}, err
	}
	t, to := o.teller(), &folder{base: b}
	if err = to.settle(ctx); err == nil {
		err = from.run(ctx, to, t)
	}
	b.res.Left, b.res.BadManifests = t.left, t.manifests
	err = errors.Join(err, b.close())
	return *b.res, err
}

// checkFolder refuses a folder that holds anything but backups of this registry.
func checkFolder(ctx context.Context, dir string, head Manifest) error {
	empty, err := isEmpty(dir)
	if err != nil || empty {
		return err
	}
	if !exists(filepath.Join(dir, manifestName)) && !exists(filepath.Join(dir, manifestName+next)) {
		if exists(filepath.Join(dir, headName)) {
			return nil // the first one was interrupted
		}
		return fmt.Errorf("%s is neither empty nor a backup of Berth's: name another folder", dir)
	}
	m, _, err := loadManifest(ctx, dir)
	if err != nil {
		return fmt.Errorf("%w; it is left alone: name another folder for new backups", err)
	}
	if m.Origin != head.Origin && m.Origin != "" && head.Origin != "" {
		return fmt.Errorf("%s holds a backup of another registry, taken at %s: name another folder", dir, m.Taken.Format(time.RFC3339))
	}
	return nil
}

// settle ends what an earlier run began to make valid: its manifest is needed
// until the next one is.
func (f *folder) settle(ctx context.Context) error {
	if !exists(filepath.Join(f.dir, manifestName+next)) {
		return nil
	}
	_, name, err := loadManifest(ctx, f.dir)
	if err != nil || name == manifestName {
		return nil // there is none yet, or it was not begun
	}
	return f.rename(name, manifestName)
}

// apart refuses a backup inside of what it is a backup of, and the reverse.
func apart(data, dir string) error {
	in := func(outer, inner string) bool {
		rel, err := filepath.Rel(resolved(outer), resolved(inner))
		return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
	}
	data, err := filepath.Abs(data)
	if err != nil {
		return err
	}
	if in(data, dir) || in(dir, data) {
		return fmt.Errorf("%s and the data directory %s are inside each other: name a folder elsewhere, best on another disk", dir, data)
	}
	return nil
}

// resolved follows the links in that part of a path that exists.
func resolved(p string) string {
	if r, err := filepath.EvalSymlinks(p); err == nil {
		return r
	}
	if parent := filepath.Dir(p); parent != p {
		return filepath.Join(resolved(parent), filepath.Base(p))
	}
	return p
}

// begin implements receiver.
func (f *folder) begin(_ context.Context, head Manifest) error {
	text, err := head.text()
	if err != nil {
		return err
	}
	return f.replace(headName, text)
}

// database implements receiver.
func (f *folder) database(ctx context.Context, size int64, r io.Reader) (err error) {
	if err := f.written(); err != nil {
		return err
	}
	f.sum, err = copyTo(ctx, filepath.Join(f.dir, filepath.FromSlash(databaseName))+next, size, r)
	return err
}

// end implements receiver. The new manifest is there before the new database is,
// so that at every moment one of two manifests is that of the database.
func (f *folder) end(ctx context.Context, m Manifest) error {
	if f.sum != m.Database.SHA256 {
		return errors.New("the database changed while it was copied: run the same command again")
	}
	text, err := m.text()
	if err != nil {
		return err
	}
	f.res.Manifest = m
	if err := f.write(manifestName+next, text); err != nil {
		return err
	}
	if err := osfile.SyncDir(f.dir); err != nil {
		return err
	}
	if err := f.rename(databaseName+next, databaseName); err != nil {
		return err
	}
	if err := f.rename(manifestName+next, manifestName); err != nil {
		return err
	}
	if err := f.root.Remove(headName); err != nil {
		return err
	}
	records, err := sqlmeta.ViewCopy(ctx, filepath.Join(f.dir, filepath.FromSlash(databaseName)))
	if err != nil {
		return err
	}
	defer records.Close()
	f.res.Removed, err = f.store.Tidy(ctx, records.HasKey)
	return err
}

// loadManifest reads the manifest of the backup in a folder: that of the database
// which is there. Name is where it stands.
func loadManifest(ctx context.Context, dir string) (m Manifest, name string, err error) {
	sum, size, err := hashFile(ctx, filepath.Join(dir, filepath.FromSlash(databaseName)))
	if err != nil {
		return m, "", fmt.Errorf("%s holds no whole backup: %w", dir, err)
	}
	var problem error
	for _, name := range []string{manifestName, manifestName + next} {
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			problem = errors.Join(problem, err)
			continue
		}
		m, err := readManifest(f)
		f.Close()
		if err == nil && m.Database == (Database{Size: size, SHA256: sum}) {
			return m, name, nil
		}
		if err == nil {
			err = errors.New("the database is not the one that the manifest names: it is damaged, or the folder was used as a data directory")
		}
		problem = errors.Join(problem, err)
	}
	return m, "", fmt.Errorf("%s holds no whole backup: %w", dir, problem)
}
