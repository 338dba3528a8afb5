package htpasswd

import (
	"context"
	"crypto/sha256"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"
)

// A Status tells how a password file is doing, for metrics and reports.
type Status struct {
	Users    int       // who can log in
	Weak     int       // lines with a hash that is cheap to guess
	Problems []Problem // lines that log nobody in
	Loaded   time.Time // when the list in use was read
	Hashed   int64     // log-ins that had to be checked by hashing, since New
	Err      error     // why the file as it is now is not in use; nil if it is
}

// urgency is how soon after the last look a file is looked at again.
type urgency time.Duration

const (
	always      urgency = 0
	onceASecond         = urgency(time.Second)
)

// restless is how close to its reading a file may have been changed for a
// later change to leave its time as it was, because clocks of file systems are
// coarse.
const restless = 2 * time.Second

// A source watches one file. It may be used concurrently.
type source struct {
	path string
	log  *slog.Logger

	mu     sync.Mutex
	looked time.Time
	read   time.Time         // when content was read
	info   fs.FileInfo       // of what was read last, good or not; nil if nothing could be
	sum    [sha256.Size]byte // of the content in use
	loaded time.Time
	err    error // why what is there is not in use
}

// open reads the file for the first time.
func (s *source) open(ctx context.Context, now time.Time) (*table, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.load(ctx, now)
	s.err = err
	s.looked = now
	return t, err
}

// poll returns what the file says if it changed since the last time, else nil.
// Only a caller in a hurry waits for another that is reading it.
func (s *source) poll(ctx context.Context, now time.Time, when urgency) *table {
	if when == always {
		s.mu.Lock()
	} else if !s.mu.TryLock() {
		return nil
	}
	defer s.mu.Unlock()
	if since := now.Sub(s.looked); since >= 0 && since < time.Duration(when) {
		return nil
	}
	s.looked = now
	if !s.changed() {
		return nil
	}
	t, err := s.load(ctx, now)
	s.note(ctx, err)
	return t
}

// changed reports whether the file may differ from what was read last.
func (s *source) changed() bool {
	info, err := os.Stat(s.path)
	if err != nil || s.info == nil {
		return true
	}
	if !os.SameFile(info, s.info) || info.Size() != s.info.Size() || !info.ModTime().Equal(s.info.ModTime()) {
		return true
	}
	return s.read.Sub(info.ModTime()).Abs() < restless
}

// load reads and parses the file. It returns neither a table nor an error if
// the content is what is in use already.
func (s *source) load(ctx context.Context, now time.Time) (*table, error) {
	data, info, err := read(s.path)
	s.info, s.read = info, time.Now() // the clock that file times come from
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	if !s.loaded.IsZero() && sum == s.sum {
		return nil, nil
	}
	text, encoding := decodeText(data)
	t := parseTable(text)
	if len(t.users) == 0 {
		return nil, noUserError(s.path, data, t)
	}
	s.sum, s.loaded = sum, now.UTC()
	s.report(ctx, t, encoding)
	return t, nil
}

// report logs a file that is now in use, and once each what is wrong and what
// is weak in it.
func (s *source) report(ctx context.Context, t *table, encoding Encoding) {
	s.log.InfoContext(ctx, "password file read", "file", s.path, "users", len(t.users), "encoding", string(encoding))
	if len(t.problems) > 0 {
		s.log.WarnContext(ctx, "password file has lines that log nobody in; replace them with `berth htpasswd add`",
			"file", s.path, "problems", joinFew(describe(t.problems)))
	}
	if len(t.weak) > 0 {
		s.log.WarnContext(ctx, "password file has hashes that are quickly guessed by whoever gets the file; "+
			"replace them with `berth htpasswd add`, which uses bcrypt", "file", s.path, "weak", lineList(t.weak))
	}
}

// note keeps whether the file as it is now is in use, and logs when that changes.
func (s *source) note(ctx context.Context, err error) {
	before := s.err
	s.err = err
	switch {
	case err != nil && (before == nil || before.Error() != err.Error()):
		s.log.ErrorContext(ctx, "password file cannot be used; the users of the last good one, removed ones too, can still log in",
			"file", s.path, "error", err)
	case err == nil && before != nil:
		s.log.InfoContext(ctx, "password file is in use again", "file", s.path)
	}
}

func (s *source) status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Status{Loaded: s.loaded, Err: s.err}
}
