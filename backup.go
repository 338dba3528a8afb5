package berth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"berth/internal/backup"
	"berth/internal/blob"
	"berth/internal/blob/fsblob"
	"berth/internal/meta"
	"berth/internal/meta/sqlmeta"
	"berth/internal/oci"
)

// backupsDir is where copies of the database are while a backup is taken.
const backupsDir = "backups"

// backupIdle is for how long a backup goes on of which nothing is heard: whatever
// it writes to may hang, and nothing is deleted meanwhile.
const backupIdle = 15 * time.Minute

// backups are those that are being taken, by their id.
type backups struct {
	mu   sync.Mutex
	list map[blob.Key]*takenBackup
}

// A takenBackup is one of them.
type takenBackup struct {
	alive chan struct{} // is sent to when there is news of it
	end   chan struct{} // is closed when all of it has been read
	once  sync.Once
	ended chan struct{} // is closed when nothing is held for it any more
}

func (b *backups) add(id blob.Key) *takenBackup {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := &takenBackup{alive: make(chan struct{}, 1), end: make(chan struct{}), ended: make(chan struct{})}
	if b.list == nil {
		b.list = make(map[blob.Key]*takenBackup)
	}
	b.list[id] = t
	return t
}

func (b *backups) remove(id blob.Key) {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.list[id].ended)
	delete(b.list, id)
}

func (b *backups) find(parameters url.Values) (*takenBackup, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if t := b.list[blob.Key(parameters.Get("id"))]; t != nil {
		return t, nil
	}
	return nil, fmt.Errorf("the registry does not hold its files for this backup any more: it was started again, or has heard nothing for %s; "+
		"run the same command again", backupIdle)
}

// wait waits for the end of a backup: it is over, its operator has gone, or
// nothing was heard of it for too long.
func (t *takenBackup) wait(ctx context.Context) error {
	quiet := time.NewTimer(backupIdle)
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.end:
			return nil
		case <-t.alive:
			quiet.Reset(backupIdle)
		case <-quiet.C:
			return fmt.Errorf("the backup was given up: the registry has heard nothing of it for %s", backupIdle)
		}
	}
}

// A backupLine is what the action backup tells when everything is ready to be
// read.
type backupLine struct {
	Database string          `json:"database"` // its copy, from the data directory
	Head     backup.Manifest `json:"head"`
}

// takeBackup is an action: it copies the database as it is now, and keeps every
// object that it names until the operator, who reads them, goes or says that the
// backup has ended.
func (s *Server) takeBackup(ctx context.Context, _ url.Values, tell func(any) error) error {
	if err := s.awaitAdopted(ctx, func(any) error { return nil }); err != nil {
		return err
	}
	head := backup.Manifest{Format: backup.Format, ID: blob.NewKey(), Berth: s.version}
	taken := s.backups.add(head.ID)
	defer s.backups.remove(head.ID)
	release := s.collector.Hold() // before the database is looked at
	defer release()
	name := filepath.Join(ownDir, backupsDir, string(head.ID)+".db")
	path := filepath.Join(s.cfg.Data, name)
	defer os.Remove(path)
	if err := s.copyDatabase(ctx, path, &head); err != nil {
		return fmt.Errorf("copy the database: %w", err)
	}
	if err := tell(backupLine{filepath.ToSlash(name), head}); err != nil {
		return err
	}
	return taken.wait(ctx)
}

// copyDatabase makes the copy that a backup is to have, and says what is in it.
func (s *Server) copyDatabase(ctx context.Context, path string, head *backup.Manifest) (err error) {
	if head.Origin, err = s.origin(); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := s.meta.SaveClock(ctx); err != nil {
		return err
	}
	head.Taken = s.now().UTC().Truncate(time.Second)
	if err := s.meta.Snapshot(ctx, path); err != nil {
		return err
	}
	c, err := sqlmeta.OpenCopy(ctx, path)
	if err != nil {
		return err
	}
	err = c.Detach(ctx, fsblob.OwnKey)
	if err == nil {
		head.Contents, err = c.Contents(ctx)
	}
	if err = errors.Join(err, c.Close()); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err == nil {
		head.Database.Size = info.Size()
	}
	return err
}

// origin is what tells this registry from others. It is made up when it is first
// asked for, and goes with what is restored.
func (s *Server) origin() (string, error) {
	s.backups.mu.Lock()
	defer s.backups.mu.Unlock()
	path := filepath.Join(s.cfg.Data, filepath.FromSlash(backup.OriginName))
	text, err := os.ReadFile(path)
	if id := blob.Key(strings.TrimSpace(string(text))); err == nil && id.Check() == nil {
		return string(id), nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	id := blob.NewKey()
	if err := os.WriteFile(path+".new", []byte(id+"\n"), 0o600); err != nil {
		return "", err
	}
	return string(id), os.Rename(path+".new", path)
}

// backupAlive is an action: the backup id goes on.
func (s *Server) backupAlive(_ context.Context, parameters url.Values, _ func(any) error) error {
	t, err := s.backups.find(parameters)
	if err != nil {
		return err
	}
	select {
	case t.alive <- struct{}{}:
	default:
	}
	return nil
}

// backupEnd is an action: the backup id has read everything.
func (s *Server) backupEnd(ctx context.Context, parameters url.Values, _ func(any) error) error {
	t, err := s.backups.find(parameters)
	if err != nil {
		return err
	}
	t.once.Do(func() { close(t.end) })
	select {
	case <-t.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// backupDamaged is an action: a backup could not read the blob digest as it should
// be. It is marked as damaged if this process finds the same.
func (s *Server) backupDamaged(ctx context.Context, parameters url.Values, _ func(any) error) error {
	d, err := oci.ParseDigest(parameters.Get("digest"))
	if err != nil {
		return err
	}
	b, err := s.meta.FindContent(ctx, d)
	if errors.Is(err, meta.ErrNotFound) || err == nil && b.Damaged {
		return nil
	}
	if err != nil {
		return err
	}
	right, err := s.isRight(ctx, b)
	if err != nil || right {
		return err
	}
	s.log.Warn("a blob is damaged; the next push of it heals it", "digest", d.String(), "found by", "backup")
	return s.meta.MarkDamaged(ctx, d, b.Key)
}

// isRight reads a blob as a whole.
func (s *Server) isRight(ctx context.Context, b meta.Blob) (bool, error) {
	r, err := s.blobs.Open(ctx, b.Key)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer r.Close()
	h := b.Digest.Algorithm().New()
	n, err := io.Copy(h, r)
	return err == nil && n == b.Size && b.Digest.Algorithm().Digest(h) == b.Digest, ctx.Err()
}

// refuseUnfinished refuses a data directory that holds a part of a backup, and
// removes what interrupted backups of this one left.
func refuseUnfinished(data string) error {
	name := filepath.Join(data, filepath.FromSlash(backup.RestoringName))
	if _, err := os.Lstat(name); err == nil {
		return fmt.Errorf("the restoring of a backup into %s was interrupted, so it is not whole: run berth restore again with the same backup, "+
			"or empty the directory", data)
	}
	if err := os.RemoveAll(filepath.Join(data, ownDir, backupsDir)); err != nil {
		return fmt.Errorf("remove what an interrupted backup left: %w", err)
	}
	return nil
}
