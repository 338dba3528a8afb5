package backup

import (
	"archive/tar"
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"berth/internal/blob"
	"berth/internal/meta"
	"berth/internal/meta/sqlmeta"
	"berth/internal/osfile"
)

// RestoringName is the file of a data directory that says that it is being
// restored: no server may start from it.
const RestoringName = "berth/restoring.json"

// openSource opens a backup: a folder, an archive, or an archive from standard
// input if from is "-".
func openSource(ctx context.Context, from string, stdin io.Reader) (source, func(), error) {
	if from == "-" {
		return &tarball{r: tar.NewReader(bufio.NewReaderSize(stdin, 1<<20))}, func() {}, nil
	}
	f, err := os.Open(from)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	if !info.IsDir() {
		return &tarball{r: tar.NewReader(bufio.NewReaderSize(f, 1<<20))}, func() { f.Close() }, nil
	}
	f.Close()
	m, _, err := loadManifest(ctx, from)
	if err != nil {
		return nil, nil, err
	}
	t, err := openTree(ctx, Source{Data: from, Database: filepath.Join(from, filepath.FromSlash(databaseName)), Head: m}, backupTree)
	if err != nil {
		return nil, nil, err
	}
	return t, t.close, nil
}

// A Target is where a registry is restored to.
type Target struct {
	Data     string // the data directory: empty, or not there, or one whose restoring was interrupted
	Database string // the database's file, which must not be there
}

// A restored is a data directory that is being restored. The database gets its
// name last, and until then a file says that no server may start from it.
type restored struct {
	*base
	to  Target
	t   *teller
	sum string
	why map[blob.Key]string // what is wrong with objects that were left out, of some
}

// maxWhy is of how many objects it is remembered what is wrong with them.
const maxWhy = 1000

// Restore makes a data directory of the backup from, which is "-" for an archive
// from stdin. Interrupted, the same call goes on.
func Restore(ctx context.Context, from string, stdin io.Reader, to Target, o Options) (_ Result, err error) {
	if to.Data, err = filepath.Abs(to.Data); err != nil {
		return Result{}, err
	}
	if err := checkTarget(to); err != nil {
		return Result{}, err
	}
	src, closeSource, err := openSource(ctx, from, stdin)
	if err != nil {
		return Result{}, err
	}
	defer closeSource()
	if from != "-" {
		if err := apart(to.Data, from); err != nil {
			return Result{}, err
		}
	}
	b, err := openBase(ctx, to.Data)
	if err != nil {
		return Result{}, err
	}
	t := o.teller()
	heard := *t
	heard.o.Damaged = nil // it is told once the database says whose it is
	err = src.run(ctx, &restored{base: b, to: to, t: t, why: map[blob.Key]string{}}, &heard)
	b.res.Left, b.res.BadManifests = t.left, t.manifests
	err = errors.Join(err, b.close())
	return *b.res, err
}

// checkTarget refuses a data directory in which anything is.
func checkTarget(to Target) error {
	if exists(filepath.Join(to.Data, filepath.FromSlash(RestoringName))) {
		return nil
	}
	empty, err := isEmpty(to.Data)
	if err != nil {
		return err
	}
	if !empty && !onlyLocked(to.Data) {
		return fmt.Errorf("%s is not empty: a backup is restored into an empty folder; move what is there away, or name another one with --data", to.Data)
	}
	if exists(to.Database) {
		return fmt.Errorf("the database %s is there already: move it away, or name another place with database.path", to.Database)
	}
	return nil
}

// onlyLocked reports whether there is nothing in a folder but what taking it
// makes: a restore was interrupted before it had begun.
func onlyLocked(dir string) bool {
	n := 0
	err := filepath.WalkDir(dir, func(_ string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() && e.Name() != "lock" {
			n++
		}
		return err
	})
	return err == nil && n == 0
}

// begin implements receiver.
func (r *restored) begin(ctx context.Context, head Manifest) error {
	free, total, err := r.store.Free(ctx)
	if err != nil {
		return err
	}
	mark, err := r.root.ReadFile(RestoringName)
	if err == nil {
		if was, err := parseManifest(mark); err == nil && was.ID != head.ID {
			return fmt.Errorf("%s holds a part of another backup, whose restoring was interrupted: empty it first, or go on with that one", r.dir)
		}
	} else if need := head.Bytes + head.Database.Size; total > 0 && need > free {
		return fmt.Errorf("the backup needs %d bytes, and %d are free where %s is: nothing was restored", need, free, r.dir)
	}
	text, err := head.text()
	if err != nil {
		return err
	}
	return r.replace(RestoringName, text)
}

// object implements receiver.
func (r *restored) object(ctx context.Context, key blob.Key, size int64, open opener) error {
	err := r.base.object(ctx, key, size, open)
	if e, ok := damage(err); ok && len(r.why) < maxWhy {
		r.why[key] = e.Why
	}
	return err
}

// database implements receiver.
func (r *restored) database(ctx context.Context, size int64, from io.Reader) (err error) {
	if err := r.written(); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(r.to.Database), 0o700); err != nil {
		return err
	}
	r.sum, err = copyTo(ctx, r.to.Database+".restoring", size, from)
	return err
}

// end implements receiver.
func (r *restored) end(ctx context.Context, m Manifest) error {
	temp := r.to.Database + ".restoring"
	if r.sum != m.Database.SHA256 {
		return errors.New("the database of the backup is not the one that its manifest names: it is damaged")
	}
	if err := sqlmeta.CheckCopy(ctx, temp); err != nil {
		return err
	}
	if err := r.complete(ctx, temp, &m); err != nil {
		return err
	}
	r.res.Manifest = m
	if err := os.Rename(temp, r.to.Database); err != nil {
		return err
	}
	if err := osfile.SyncDir(filepath.Dir(r.to.Database)); err != nil {
		return err
	}
	if err := r.root.Remove(RestoringName); err != nil {
		return err
	}
	return osfile.SyncDir(filepath.Join(r.dir, filepath.Dir(filepath.FromSlash(RestoringName))))
}

// complete marks what is not there as damaged, and removes what is not named.
func (r *restored) complete(ctx context.Context, database string, m *Manifest) (err error) {
	records, err := sqlmeta.OpenCopy(ctx, database)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, records.Close()) }()
	last := blob.Key("")
	err = records.Objects(ctx, func(b meta.Blob) error {
		if b.Key == last || r.store.Has(b.Key, b.Size) {
			last = b.Key
			return nil
		}
		last = b.Key
		return r.missing(ctx, records, b.Key)
	})
	if err != nil {
		return err
	}
	if r.res.Removed, err = r.store.Tidy(ctx, records.HasKey); err != nil {
		return err
	}
	if m.Contents, err = records.Contents(ctx); err != nil {
		return err
	}
	return r.t.checkManifests(ctx, records)
}

// some is how many repositories are named of what is damaged.
const some = 5

func (r *restored) missing(ctx context.Context, records *sqlmeta.Copy, key blob.Key) error {
	repositories, err := records.Holders(ctx, key, some)
	if err != nil {
		return err
	}
	why := cmp.Or(r.why[key], "it is not in the backup as it should be")
	if err := r.t.damaged(&DamageError{Key: key, Why: why}, repositories); err != nil {
		return err
	}
	return records.MarkDamaged(ctx, key)
}
