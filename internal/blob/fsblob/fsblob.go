// Package fsblob keeps objects as files in the data directory, so that what was
// acknowledged survives the loss of power.
//
// Unfinished objects are berth/uploads/<key>. Finished ones lie in the tree that
// registry:2 uses, at docker/registry/v2/blobs/<algorithm>/<hh>/<hex>/<id>: the
// digest is in the path, so that a person with sha256sum can check them. The
// file "data" beside them is registry:2's: its own, which can be read under a key
// that Data returns and is not deleted, or a second name of an object (Expose).
//
// Every step from name to file goes through an os.Root and, for a file's
// content, never through a symbolic link.
//
// The package knows nothing of repositories, records or requests. One process
// has a data directory at a time: LockDir sees to it, Open does not.
package fsblob

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"berth/internal/blob"
	"berth/internal/oci"
	"berth/internal/osfile"
)

// Where things are, from the data directory.
const (
	berthDir   = "berth"
	uploadsDir = "berth/uploads"
	blobsDir   = "docker/registry/v2/blobs"
	intentExt  = ".intent"
)

// Modes of what is created. Contents are for their owner only, and so is berth/,
// which also holds the database. The directories of registry:2's tree stay
// readable, as registry:2 makes them: they show digests, no content. A
// registry:2 that is to take over the tree as another user needs a chown in any
// case, since it writes there; its image runs as root and needs nothing.
const (
	privateDir fs.FileMode = 0o700
	sharedDir  fs.FileMode = 0o755
	fileMode   fs.FileMode = 0o600
)

// Options say where a Store is and what it leaves to others.
type Options struct {
	// Dir is the data directory. It is made if it doesn't exist.
	Dir string

	// Reserve is how many bytes of the file system are left free, for the
	// database above all. Writes beyond that fail with blob.ErrNoSpace.
	Reserve int64

	// Known reports whether a finished object is recorded under key. Nothing that
	// is recorded is taken for what an interrupted Commit left behind, whoever
	// believes that its upload still runs. Nil: nothing is recorded.
	Known func(ctx context.Context, key blob.Key) (bool, error)

	// Log gets what nobody is told of otherwise; nil for nothing.
	Log *slog.Logger
}

// A Store keeps objects in a data directory. It implements blob.Store,
// blob.Recoverer and blob.Spacer.
type Store struct {
	d       *disk
	reserve int64
	known   func(context.Context, blob.Key) (bool, error)
	log     *slog.Logger

	// renames is set once the file system has turned out to have no hard links.
	renames atomic.Bool

	// intended is set if there were intents when the store was opened: its file
	// system had no hard links for a process before.
	intended bool

	// ordered says that a name of a file never survives a loss of power without the
	// content that the disk had been given before the file got it.
	ordered bool

	// synced holds the directories of the tree whose entry in their parent this
	// process has fsynced. That such a directory exists is not enough to know:
	// another request, or a process that was killed, may have made it and not
	// come to the fsync.
	synced sync.Map

	// lost holds the keys of objects whose fsync failed and whose file could not
	// be removed either: what the page cache says of them must not be believed.
	lost sync.Map
}

var (
	_ blob.Store     = (*Store)(nil)
	_ blob.Recoverer = (*Store)(nil)
	_ blob.Spacer    = (*Store)(nil)
	_ blob.Sizer     = (*Store)(nil)
)

// Open opens the data directory, which the caller has locked.
func Open(o Options) (*Store, error) { return open(o, nil) }

func open(o Options, h hook) (*Store, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Known == nil {
		o.Known = nothingKnown
	}
	d, err := openDisk(o.Dir)
	if err != nil {
		return nil, explain(o.Dir, err)
	}
	d.hook = h
	s := &Store{d: d, reserve: o.Reserve, known: o.Known, log: o.Log}
	if err := s.prepare(); err != nil {
		d.close()
		return nil, explain(o.Dir, err)
	}
	return s, nil
}

// Close gives up the data directory. Readers and Writers that are open go on.
func (s *Store) Close() error { return s.d.close() }

// prepare makes the fixed part of the tree durable and finds out whether files
// can be moved from one part to the other.
func (s *Store) prepare() error {
	for _, dir := range []string{berthDir, uploadsDir} {
		if err := s.makeDir(dir, privateDir); err != nil {
			return err
		}
	}
	for _, dir := range prefixes(blobsDir) {
		if err := s.makeDir(dir, sharedDir); err != nil {
			return err
		}
	}
	err := s.names(context.Background(), uploadsDir, func(name string) error {
		s.intended = s.intended || strings.HasSuffix(name, intentExt)
		return nil
	})
	if err != nil {
		return err
	}
	s.ordered = s.d.isOrdered()
	return s.tryLink()
}

// makeDir makes a directory, which may exist, and fsyncs its parent.
func (s *Store) makeDir(dir string, mode fs.FileMode) error {
	if err := s.d.mkdir(dir, mode); err != nil {
		return err
	}
	return s.d.syncDir(path.Dir(dir))
}

// tryLink links a file from the uploads to the blobs, to choose between linking
// and renaming before there is anything to lose.
func (s *Store) tryLink() error {
	const from, to = uploadsDir + "/.probe", blobsDir + "/.probe"
	remove := func() { s.d.remove(from); s.d.remove(to) }
	remove() // what a process that was killed just here left
	defer remove()
	f, err := s.d.create(from)
	if err == nil {
		f.Close()
		err = s.d.link(from, to)
	}
	if err == nil || osfile.NoSpace(err) { // without space there is nothing to choose for
		return nil
	}
	if !noLinks(err) {
		return err
	}
	s.useRenames(err)
	if err := s.d.rename(from, to); errors.Is(err, syscall.EXDEV) {
		return fmt.Errorf("%s and %s must be on the same file system, and not under different mounts: %w", uploadsDir, blobsDir, err)
	} else if err != nil {
		return err
	}
	return nil
}

// useRenames gives up hard links, for the reason why.
func (s *Store) useRenames(why error) {
	if !s.renames.Swap(true) {
		s.log.Warn("the file system has no hard links; blobs are renamed to their place instead", "error", why)
	}
}

// An object is a finished object: its digest and the key it was begun under.
type object struct {
	digest oci.Digest
	id     blob.Key
}

func (o object) hexDir() string {
	h := o.digest.Hex()
	return blobsDir + "/" + string(o.digest.Algorithm()) + "/" + h[:2] + "/" + h
}

func (o object) path() string { return o.hexDir() + "/" + string(o.id) }

func (o object) key() blob.Key {
	return blob.Key(string(o.digest.Algorithm()) + "/" + o.digest.Hex() + "/" + string(o.id))
}

// parseFinished reads a Key that Commit returned. Only what it accepts becomes
// part of a path.
func parseFinished(k blob.Key) (object, error) {
	parts := strings.Split(string(k), "/")
	if len(parts) == 3 {
		d, err := oci.ParseDigest(parts[0] + ":" + parts[1])
		id := blob.Key(parts[2])
		if err == nil && id.Check() == nil {
			return object{d, id}, nil
		}
	}
	return object{}, fmt.Errorf("key %q is none of this store: %w", string(k), fs.ErrInvalid)
}

func uploadPath(id blob.Key) string { return uploadsDir + "/" + string(id) }

// prefixes returns a, a/b and a/b/c for a/b/c.
func prefixes(name string) []string {
	var all []string
	for i := range len(name) {
		if name[i] == '/' {
			all = append(all, name[:i])
		}
	}
	return append(all, name)
}

// mark adds to err the sentinel of package blob that says what kind it is.
func mark(err error) error {
	switch {
	case err == nil || errors.Is(err, blob.ErrNoSpace) || errors.Is(err, blob.ErrBusy):
		return err
	case osfile.NoSpace(err):
		return fmt.Errorf("%w: %w", blob.ErrNoSpace, err)
	case busy(err):
		return fmt.Errorf("%w: %w", blob.ErrBusy, err)
	}
	return err
}

// isMissing reports whether err says that there is no such file.
func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// Free returns how many bytes can still be written before the reserve is
// reached, and the size of the file system.
func (s *Store) Free(context.Context) (free, total int64, err error) {
	free, total, err = s.d.space()
	if err != nil {
		return 0, 0, fmt.Errorf("ask for free space: %w", err)
	}
	return max(free-s.reserve, 0), total, nil
}

// Space returns how many bytes of the file system are free, the reserve among
// them, and its size.
func (s *Store) Space() (free, total int64, err error) { return s.d.space() }

// checkSpace returns an error that wraps blob.ErrNoSpace when less than the
// reserve is free. A file system that doesn't say how large it is passes.
func (s *Store) checkSpace() error {
	free, total, err := s.d.space()
	if err != nil {
		return err
	}
	if total > 0 && free < s.reserve {
		return &blob.ReserveError{Free: free, Reserve: s.reserve}
	}
	return nil
}

// reader is a blob.Reader over a file.
type reader struct {
	f    source
	size int64
}

func (r *reader) Read(p []byte) (int, error)                   { return r.f.Read(p) }
func (r *reader) Seek(offset int64, whence int) (int64, error) { return r.f.Seek(offset, whence) }
func (r *reader) Close() error                                 { return r.f.Close() }
func (r *reader) Size() int64                                  { return r.size }
func (r *reader) SyscallConn() (syscall.RawConn, error)        { return r.f.SyscallConn() }

// Open implements blob.Store with one open and one fstat.
func (s *Store) Open(ctx context.Context, key blob.Key) (blob.Reader, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	_, f, stamp, err := s.openFile(key)
	if err != nil {
		return nil, err
	}
	return &reader{f: f, size: stamp.size}, nil
}

// openFile opens the file of a finished object and returns its name, too.
func (s *Store) openFile(key blob.Key) (string, source, stamp, error) {
	name, err := keyPath(key)
	if err != nil {
		if key.Check() == nil {
			err = fmt.Errorf("open blob %s: not finished: %w", key, fs.ErrNotExist)
		}
		return "", nil, stamp{}, err
	}
	f, stamp, err := s.d.openSource(name)
	if err != nil {
		err = fmt.Errorf("open blob %s: %w", key, mark(err))
	}
	return name, f, stamp, err
}
