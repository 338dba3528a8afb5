package fsblob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"berth/internal/blob"
	"berth/internal/osfile"
)

// aliveFile is written by Writable. Its name is always the same, so that a kill
// leaves one behind at most.
const aliveFile = "berth/alive"

// Reachable returns an error if the data directory can't be looked at, as when
// its disk is gone.
func (s *Store) Reachable(context.Context) error {
	_, err := s.d.root.Stat(blobsDir)
	return err
}

// Writable writes a small file, reads it back and removes it. That there is no
// space is not an error: pushes are answered so, and all else goes on.
func (s *Store) Writable(context.Context) error {
	err := s.writeAlive()
	if osfile.NoSpace(err) || errors.Is(err, blob.ErrNoSpace) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("the data directory can't be used: %w", err)
	}
	return nil
}

func (s *Store) writeAlive() (err error) {
	if err := s.d.remove(aliveFile); err != nil {
		return err
	}
	f, err := s.d.create(aliveFile)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close(), s.d.remove(aliveFile)) }()
	want := []byte(blob.NewKey())
	if _, err := f.Write(want); err != nil {
		return err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	got, err := io.ReadAll(f)
	if err == nil && !bytes.Equal(got, want) {
		err = fmt.Errorf("%s does not hold what was written to it", f.name)
	}
	return err
}
