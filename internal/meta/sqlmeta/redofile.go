package sqlmeta

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"berth/internal/osfile"
)

// How long the part of the file is that the records of a run are in, how long that of
// all records is, and how much room there is behind it.
//
// There are two runs, one after the other: so the records of the one before are there
// until the present one ends, for whoever copies the folder file by file, and has a
// database of some moments ago beside records of now.
//
// The room is what a COMMIT of answered changes may need and not find: it is given
// up then, see redo.cut. Of the pages that such a transaction changes no more than
// recordCache are only in memory; each is a frame of the log. The rest is for the
// pages in use meanwhile, and for the index of the log.
const (
	runSize   = 512 << 10
	redoSize  = 2 * runSize
	spareSize = 5 << 20

	recordCache = writerCache // KiB
)

// A redoFile is the file of records. It has its whole length from the beginning,
// so that a record changes nothing but the bytes of a file.
type redoFile interface {
	WriteAt(p []byte, off int64) (int, error)
	Sync() error // of the bytes
	Close() error
}

// errTaken says that another process has the file of records.
var errTaken = errors.New("another process has the database open: one process at a time may use it; " +
	"stop that one, or use the commands that talk to the running server")

// take opens the file of records, which is made if there is none, and locks it:
// whoever has it may record changes, and repeat those that are recorded. Without
// space for a new one there is none, and nothing to repeat.
func (r *redo) take() error {
	f, err := os.OpenFile(r.path, os.O_RDWR|os.O_CREATE, 0o600)
	if osfile.NoSpace(err) {
		return nil
	}
	if err != nil {
		return err
	}
	ok, err := osfile.TryLock(f)
	if err == nil && !ok {
		err = errTaken
	}
	if err != nil {
		return errors.Join(fmt.Errorf("lock %s: %w", r.path, err), f.Close())
	}
	r.held = f
	return nil
}

// read returns the records of a run that are in the file.
func (r *redo) read(run int64) ([]redoRecord, error) {
	if r.held == nil || run == 0 { // of which there is none
		return nil, nil
	}
	for _, at := range []int64{0, runSize} {
		head, err := r.part(at, redoHead)
		if err != nil {
			return nil, err
		}
		if runOf(head) != run { // most starts find nothing to repeat: a start is quick
			continue
		}
		b, err := r.part(at, runSize)
		if err != nil {
			return nil, err
		}
		if list := readRecords(b); len(list) > 0 {
			return list, nil
		}
	}
	return nil, nil
}

// part returns the n bytes at a place of the file, or as many of them as there are.
func (r *redo) part(at int64, n int) ([]byte, error) {
	b := make([]byte, n)
	n, err := r.held.ReadAt(b, at)
	if err == io.EOF {
		err = nil
	}
	return b[:n], err
}

// prepare sees to it that there is a file, and room behind it, and returns the number
// of a run that may begin, else 0. It is an error if another process has the file.
func (r *redo) prepare() (run int64, err error) {
	if r.file == nil || !r.spared {
		if r.wait--; r.wait > 0 {
			return 0, nil
		}
		if err := r.ready(); err != nil {
			r.wait = redoRetry
			if errors.Is(err, errTaken) {
				return 0, err
			}
			return 0, nil
		}
	}
	return newRun(), nil
}

func (r *redo) ready() error {
	if r.held == nil {
		if err := r.take(); err != nil {
			return err
		}
		if r.held == nil {
			return errNoRoom
		}
	}
	if err := r.fill(r.held); err != nil {
		return errors.Join(err, r.cut()) // what it took others need
	}
	if r.spared = true; r.file == nil {
		r.file = syncedFile{r.held}
	}
	return nil
}

var errNoRoom = errors.New("there is no room for records")

// cut gives up the room behind the records. It is not made again before long: the
// disk is full.
func (r *redo) cut() error {
	r.spared, r.wait = false, redoRetry
	info, err := r.held.Stat()
	if err == nil && info.Size() > redoSize {
		err = r.held.Truncate(redoSize)
	}
	return err
}

// fillRedo gives the file its whole length and its room, if the disk has as much
// room again: where it has not, whatever grows needs it more.
func fillRedo(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() < redoSize {
		if err = writeZeros(f, info.Size(), redoSize); err != nil {
			return errors.Join(err, f.Truncate(info.Size()))
		}
	}
	const end = redoSize + spareSize
	if err = allocate(f, redoSize, end+spareSize); err == nil {
		err = f.Truncate(end)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, osfile.SyncDir(filepath.Dir(f.Name())))
}

func writeZeros(f *os.File, from, to int64) error {
	zeros := make([]byte, 64<<10)
	for at := from; at < to; at += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), to-at)], at); err != nil {
			return err
		}
	}
	return nil
}

// A syncedFile is a file whose bytes alone are synced.
type syncedFile struct{ *os.File }

// Sync implements redoFile.
func (f syncedFile) Sync() error { return osfile.SyncData(f.File) }
