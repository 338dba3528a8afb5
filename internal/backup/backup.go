// Package backup copies a registry as a whole: into a folder, into a tar archive,
// from there into a new data directory, or nowhere, to see whether a backup is
// right.
//
// A backup has the form of a data directory, which `berth serve` starts from: the
// database, the objects that it names under keys of Berth's own, and the few
// files besides. A manifest (see Manifest) says what is in it and comes into
// being last, so that what has none is no backup.
//
// Everything is a stream of parts in one order, from a source to a receiver:
// what is coming, small files, objects by key, the database, the manifest. The
// database comes behind the objects because it says which of them turned out to
// be damaged. Nothing of it is held in memory.
//
// The package knows nothing of servers and commands. Who takes a backup of a
// registry that is running sees to it that no object of the database is deleted
// meanwhile.
package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"berth/internal/blob"
	"berth/internal/meta/sqlmeta"
	"berth/internal/oci"
)

// Where things are in a backup, and in a data directory.
const (
	manifestName = "berth-backup.json"
	headName     = "berth-backup-begun.json" // what is coming, or an unfinished backup
	databaseName = "berth/berth.db"
)

// A source gives the parts of a registry to a receiver. What is damaged it leaves
// out, and tells.
type source interface {
	run(ctx context.Context, to receiver, t *teller) error
}

// A receiver takes the parts of a backup, in this order.
type receiver interface {
	// begin says what is coming, at most.
	begin(ctx context.Context, head Manifest) error

	// file is one of the small files; see isFile.
	file(ctx context.Context, name string, size int64, r io.Reader) error

	// object is one object. It need not be opened. The error is a *DamageError when
	// there is nothing wrong but its content.
	object(ctx context.Context, key blob.Key, size int64, open opener) error

	database(ctx context.Context, size int64, r io.Reader) error

	// end makes what was received valid.
	end(ctx context.Context, m Manifest) error
}

// An opener opens the content of an object. Its error, and that of reading, is a
// *DamageError when the content is not there as it should be.
type opener func() (io.ReadCloser, error)

// A DamageError says what is wrong with the content of an object, or with a
// manifest, which is in the database.
type DamageError struct {
	Key      blob.Key // of the object
	Manifest oci.Digest
	Why      string
}

func (e *DamageError) Error() string {
	if !e.Manifest.IsZero() {
		return fmt.Sprintf("manifest %s: %s", e.Manifest, e.Why)
	}
	return fmt.Sprintf("%s: %s", e.Key, e.Why)
}

// damage returns the DamageError that err is or wraps.
func damage(err error) (*DamageError, bool) { return errors.AsType[*DamageError](err) }

// Options say what a caller wants to hear.
type Options struct {
	// Progress is called every now and then with how many bytes of the objects are
	// done, of how many. Its error ends the work.
	Progress func(done, total int64) error

	// Damaged is called for every object whose content is left out, and for every
	// manifest that is not as its digest says, with what is wrong with it and some
	// of the repositories that have it, where that is known.
	Damaged func(e DamageError, repositories []string) error

	// Confirm is called before a backup becomes valid. Its error says that objects
	// may have been deleted while it was taken.
	Confirm func() error

	// Temp is a folder for what has to be kept for a while; empty is the system's.
	Temp string
}

// A Result says what a backup is, or what became of it.
type Result struct {
	Manifest
	Left         int   // objects left out because they turned out to be damaged just now
	Copied       int   // objects that were not there yet
	CopiedBytes  int64 // of those
	Removed      int   // objects that were there and are not named any more
	BadManifests int   // whose bytes are not those of their digest; they are there as they are
}

// A teller counts, and tells what a caller wants to hear.
type teller struct {
	o           Options
	done, total int64
	left        int
	manifests   int
}

func (o Options) teller() *teller { return &teller{o: o} }

// add notes that n bytes more are done.
func (t *teller) add(n int64) error {
	t.done += n
	if t.o.Progress == nil {
		return nil
	}
	return t.o.Progress(t.done, t.total)
}

// damaged tells of an object that is left out.
func (t *teller) damaged(e *DamageError, repositories []string) error {
	t.left++
	if t.o.Damaged == nil {
		return nil
	}
	return t.o.Damaged(*e, repositories)
}

// checkManifests compares all manifests with their digests, and tells of those that
// are not as these say. No client is served them; pushing them again heals them.
func (t *teller) checkManifests(ctx context.Context, records *sqlmeta.Copy) error {
	return records.Manifests(ctx, func(repo string, d oci.Digest, body []byte) error {
		if d.Algorithm().FromBytes(body) == d {
			return nil
		}
		t.manifests++
		if t.o.Damaged == nil {
			return nil
		}
		return t.o.Damaged(DamageError{Manifest: d, Why: "its bytes in the database are not those of its digest"}, []string{repo})
	})
}

// A told reader tells how far it is, and takes what fails for damage.
type told struct {
	r   io.Reader
	t   *teller
	key blob.Key
	n   int64
	err error // of the teller
}

func (r *told) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	n, err := r.r.Read(p)
	r.n += int64(n)
	r.err = r.t.add(int64(n))
	if err != nil && err != io.EOF {
		err = &DamageError{Key: r.key, Why: "it can't be read: " + err.Error()}
	}
	return n, err
}

// openTold opens an object that must have size bytes.
func openTold(t *teller, key blob.Key, size int64, open func() (blob.Reader, error)) (*told, io.Closer, error) {
	r, err := open()
	switch {
	case errors.Is(err, blob.ErrBusy), errors.Is(err, fs.ErrPermission):
		return nil, nil, err
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil, &DamageError{Key: key, Why: "it is missing"}
	case err != nil:
		return nil, nil, &DamageError{Key: key, Why: "it can't be opened: " + err.Error()}
	case r.Size() != size:
		r.Close()
		return nil, nil, &DamageError{Key: key, Why: fmt.Sprintf("it has %d bytes and not %d", r.Size(), size)}
	}
	return &told{r: r, t: t, key: key}, r, nil
}
