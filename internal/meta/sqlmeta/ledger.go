package sqlmeta

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"berth/internal/blob"
	"berth/internal/meta"
	"berth/internal/oci"
	"berth/internal/osfile"
)

// A ledger keeps the uploads that run: in memory, from where all questions are
// answered, and as lines of a file, from which the next process has them again.
//
// Each change is one line, in one write that nothing waits for: it survives the
// end of the process and not the loss of power. What an upload is about to end as
// is a line, too, so that after a kill the database tells whether it has. Only a
// loss of power can leave a file that tells of uploads that are over; what comes of
// that is harmless: see load, and fsblob.Options.Known.
type ledger struct {
	path  string
	most  int // uploads; 0 is without limit
	ticks func() int64
	open  func(path string) (ledgerFile, error)

	mu     sync.Mutex
	closed bool
	all    map[meta.UploadID]*running
	keys   map[blob.Key]bool // of all
	file   ledgerFile        // nil: to be opened
	size   int64             // of the file
	kept   int64             // its size when only what runs was in it
	torn   bool              // it does not end with a whole line, or lacks some
	late   []byte            // lines that wait for the next
	vain   int64             // ticks until which no upload that is empty need be looked for

	scratch []byte // of line
	err     error  // why the last line was not written; nil if it was
}

// A ledgerFile is the file of a ledger.
type ledgerFile interface {
	WriteAt(p []byte, off int64) (int, error)
	Close() error
}

// A running is an upload that runs. Its fields are changed with the ledger's lock
// held, and its Upload is never changed in parts.
type running struct {
	meta.Upload
	saved  int64    // ticks
	final  blob.Key // of the object that it is ending as, or was to
	ending bool     // somebody is ending it in a transaction
}

// ledgerExt is what stands behind the name of the database in that of the file.
const ledgerExt = "-uploads"

// ledgerSlack is how large the file may become, and how many times what runs
// takes, before it is written anew.
const (
	ledgerSlack = 1 << 20
	ledgerTimes = 4
)

func newLedger(path string, ticks func() int64) *ledger {
	return &ledger{
		path: path, ticks: ticks, all: make(map[meta.UploadID]*running), keys: make(map[blob.Key]bool),
		open: func(path string) (ledgerFile, error) { return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) },
	}
}

// load reads what an earlier process left, and takes over the uploads of older
// than those. gone says that what is under a key is a blob, or waits to be deleted:
// an upload that went there is over, whatever the file says.
//
// An upload of which nothing is recorded to have come gets a new key. Its object
// may be there all the same, finished even; nobody writes to that one any more.
//
// It reports whether the file says it all. Without space it does not, but then it
// will before anything else is written to it.
func (l *ledger) load(older []*running, gone func(blob.Key) (bool, error)) (whole bool, err error) {
	b, err := os.ReadFile(l.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range older {
		l.all[r.ID] = r
	}
	readLines(b, l.all)
	for id, r := range l.all {
		over, err := gone(r.Key)
		if err == nil && !over && r.final != "" {
			over, err = gone(r.final)
		}
		if err != nil {
			return false, err
		}
		if over {
			delete(l.all, id)
			continue
		}
		if r.Size == 0 {
			r.Key = blob.NewKey()
		}
		l.keys[r.Key] = true
	}
	if len(b) == 0 && len(l.all) == 0 {
		return true, nil
	}
	if err = l.rewrite(); err == nil {
		err = errors.Join(syncFile(l.path), osfile.SyncDir(filepath.Dir(l.path)))
	}
	if l.torn = err != nil; l.torn && osfile.NoSpace(err) {
		return false, nil
	}
	return true, err
}

// rewrite makes the file one of those that run.
func (l *ledger) rewrite() error {
	var b []byte
	for _, r := range l.all {
		b = appendLine(b, r)
	}
	next := l.path + "-new"
	if err := os.WriteFile(next, b, 0o600); err != nil {
		return err
	}
	if l.file != nil { // which could not be renamed to everywhere
		l.file.Close()
		l.file = nil
	}
	l.torn = true // until it is known which of the two it is
	if err := os.Rename(next, l.path); err != nil {
		return err
	}
	l.size, l.kept, l.torn, l.late = int64(len(b)), int64(len(b)), false, nil
	return nil
}

// line returns what there is to say of an upload, until it is called again.
func (l *ledger) line(r *running) []byte {
	l.scratch = appendLine(l.scratch[:0], r)
	return l.scratch
}

// write adds lines about what was changed already to the file.
func (l *ledger) write(lines []byte) error {
	l.err = l.tryWrite(lines)
	if l.err == nil {
		return nil
	}
	l.torn = true
	if osfile.NoSpace(l.err) {
		l.err = fmt.Errorf("%w: %w", meta.ErrNoSpace, l.err)
	}
	l.err = fmt.Errorf("record an upload: %w", l.err)
	return l.err
}

func (l *ledger) tryWrite(lines []byte) (err error) {
	if l.torn || l.size > ledgerSlack && l.size > ledgerTimes*l.kept {
		return l.rewrite()
	}
	if l.file == nil {
		if l.file, err = l.open(l.path); err != nil {
			l.file = nil
			return err
		}
	}
	late := len(l.late)
	l.late = append(l.late, lines...)
	n, err := l.file.WriteAt(l.late, l.size)
	if err != nil {
		l.late = l.late[:late]
		return err
	}
	l.size += int64(n)
	l.late = l.late[:0]
	return nil
}

// begin adds an upload.
func (l *ledger) begin(u meta.Upload) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return errClosed
	}
	if l.all[u.ID] != nil || l.keys[u.Key] {
		return fmt.Errorf("upload %s is there already: %w", u.ID, meta.ErrConflict)
	}
	if l.most > 0 && len(l.all) >= l.most {
		return meta.ErrTooManyUploads
	}
	r := &running{Upload: u, saved: l.ticks()}
	l.all[u.ID], l.keys[u.Key] = r, true
	if err := l.write(l.line(r)); err != nil {
		l.forget(r)
		return err
	}
	return nil
}

// find returns an upload of a repository, else meta.ErrNotFound.
func (l *ledger) find(repo oci.Repo, id meta.UploadID) (meta.Upload, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r, err := l.get(repo, id)
	if err != nil {
		return meta.Upload{}, err
	}
	return r.Upload, nil
}

func (l *ledger) get(repo oci.Repo, id meta.UploadID) (*running, error) {
	if l.closed {
		return nil, errClosed
	}
	r := l.all[id]
	if r == nil || r.Repo != repo {
		return nil, notFound(meta.ErrNotFound, "upload "+string(id), repo)
	}
	return r, nil
}

// save moves an upload on.
func (l *ledger) save(u meta.Upload) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	r, err := l.get(u.Repo, u.ID)
	switch {
	case err != nil:
		return err
	case r.ending:
		return notFound(meta.ErrNotFound, "upload "+string(u.ID), u.Repo)
	case r.Version != u.Version || r.Key != u.Key:
		return fmt.Errorf("upload %s: %w", u.ID, meta.ErrConflict)
	}
	before := *r
	r.Upload, r.saved, r.final = u, l.ticks(), ""
	r.Version++
	if err := l.write(l.line(r)); err != nil {
		*r = before
		return err
	}
	return nil
}

// claim returns an upload that its caller alone may end, with over or committed,
// or leave as it is, with unclaim. Who else wants to end it finds it gone.
func (l *ledger) claim(repo oci.Repo, id meta.UploadID) (*running, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r, err := l.get(repo, id)
	if err != nil {
		return nil, err
	}
	if r.ending {
		return nil, notFound(meta.ErrNotFound, "upload "+string(id), repo)
	}
	r.ending = true
	return r, nil
}

func (l *ledger) unclaim(list ...*running) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range list {
		r.ending = false
	}
}

// endsAs writes down which object an upload that was claimed is about to end as.
// If that fails it will look as if it went on, after a kill at the wrong moment.
func (l *ledger) endsAs(r *running, final blob.Key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.final = final
	if !l.closed {
		_ = l.write(l.line(r))
	}
}

// over ends uploads that were claimed, after the transaction that did. If it
// can't be written down it will be with the next line.
func (l *ledger) over(list ...*running) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forget(list...)
	l.writeLate()
}

// settle writes the lines that wait for another one.
func (l *ledger) settle() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writeLate()
}

func (l *ledger) writeLate() {
	if len(l.late) > 0 && !l.closed {
		_ = l.write(nil)
	}
}

// committed is over for an upload that ended as endsAs said: the database says so,
// too, and the line waits for the next one.
func (l *ledger) committed(r *running) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forget(r)
}

func (l *ledger) forget(list ...*running) {
	for _, r := range list {
		delete(l.all, r.ID)
		delete(l.keys, r.Key)
		l.late = appendOver(l.late, r.ID)
	}
}

// has reports whether an upload is going to key.
func (l *ledger) has(key blob.Key) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.keys[key]
}

func (l *ledger) count() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int64(len(l.all))
}

func (l *ledger) trouble() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// close ends the ledger. What is still being ended is not written down any more.
func (l *ledger) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writeLate() // else the database says so
	l.closed = true
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file = nil
	return err
}
