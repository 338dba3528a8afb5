package registry

import (
	"sync"
	"sync/atomic"
	"time"

	"berth/internal/meta"
)

// sessions knows which uploads this process is writing, so that each has one
// writer at a time, and which ones it has followed from their first byte on.
type sessions struct {
	mu    sync.Mutex
	byID  map[meta.UploadID]*session
	drops uint64
}

func newSessions() *sessions { return &sessions{byID: make(map[meta.UploadID]*session)} }

// A session is what one process knows of an upload beyond its record.
type session struct {
	// mu is held for each write to the object and each save of the record, so
	// that a writer which was told to stop can't touch either any more.
	mu     sync.Mutex
	writer *turn // whoever may write now; nil when nobody is

	// continuous says that every byte went through this process, one writer
	// after the other: the hash state is then of the bytes that are stored.
	// Otherwise they are read again before they are believed.
	continuous bool
	used       time.Time

	// version is that of the record after the last save that this process knows
	// of, or unsure. Nobody else saves.
	version atomic.Int64
}

// unsure is the version of a record that has to be read.
const unsure = -1

// A turn is one Append's or Commit's right to write to a session.
type turn struct {
	s         *session
	recorded  int64 // the offset where another one may take over
	held      bool  // nobody may: see hold
	interrupt func()
}

// ending is the offset of whoever wants to end a session, wherever it is.
const ending = -2

// dropped counts the sessions that the process has no more.
func (ss *sessions) dropped() uint64 {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	return ss.drops
}

// get returns the session of an upload whose record was read, or made, when so many
// had been dropped. It is a new one if the process has none: nobody has written to
// it yet, or not since it was forgotten, or since a restart. What was written of one
// that was never saved is not gone on with.
func (ss *sessions) get(rec meta.Upload, dropped uint64, now time.Time) *session {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	s, ok := ss.byID[rec.ID]
	if !ok {
		s = &session{continuous: rec.Version == 0 && rec.Size == 0}
		s.version.Store(unsure)
		if ss.drops == dropped { // then nobody has had one since, and saved
			s.version.Store(rec.Version)
		}
		ss.byID[rec.ID] = s
	}
	s.used = now
	return s
}

func (ss *sessions) end(id meta.UploadID) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	delete(ss.byID, id)
	ss.drops++
}

// mostSessions is how many sessions may be kept of those that nobody uses: each takes
// some 150 bytes, whether or not there still is such an upload.
const (
	mostSessions = 100_000
	briefly      = time.Minute
)

// forget drops what nobody used for idle, or briefly if there are too many. An upload
// that goes on all the same is then read again at its end, no more.
func (ss *sessions) forget(now time.Time, idle time.Duration) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.drop(now.Add(-idle))
	if len(ss.byID) > mostSessions {
		ss.drop(now.Add(-briefly))
	}
}

// drop drops what nobody used since before. The lock is held.
func (ss *sessions) drop(before time.Time) {
	for id, s := range ss.byID {
		if s.used.Before(before) && s.idle() {
			s.over()
			delete(ss.byID, id)
			ss.drops++
		}
	}
}

// idle reports whether nobody is writing. It does not wait: whoever holds the
// lock is writing, and may be about to end the session.
func (s *session) idle() bool {
	if !s.mu.TryLock() {
		return false
	}
	defer s.mu.Unlock()
	return s.writer == nil
}

// take gives the right to write to a caller that wants to write at offset. If
// somebody else has it, only a caller at just the recorded offset gets it: that
// one can't have been told of it by anything but the server, after its own
// connection was lost. So does one that is ending the session. ok is false for
// all others, with the recorded offset.
func (s *session) take(offset, recorded int64, interrupt func()) (t *turn, at int64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.writer; old != nil {
		if old.held || offset != old.recorded && offset != ending {
			return nil, old.recorded, false
		}
		s.continuous = false
		old.interrupt()
	}
	s.writer = &turn{s: s, recorded: recorded, interrupt: interrupt}
	return s.writer, recorded, true
}

// do runs f while t has the right to write. It returns errTakenOver, and
// doesn't run f, when another one took it.
func (t *turn) do(f func() error) error {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	if t.s.writer != t {
		return errTakenOver
	}
	return f()
}

// hold keeps others from taking over until release: a commit is not to be
// disturbed between its object and its record, or the one would be taken back
// while the other is written.
func (t *turn) hold() error {
	return t.do(func() error { t.held = true; return nil })
}

// isAt reports whether the record is known to have a version still.
func (t *turn) isAt(version int64) bool { return t.s.version.Load() == version }

// saved notes what the record is now. It is called while t has the right to write.
func (t *turn) saved(rec meta.Upload) {
	t.recorded = rec.Size
	t.s.version.Store(rec.Version)
}

// over notes that the record may be another one, or gone.
func (s *session) over() { s.version.Store(unsure) }

// release gives the right back, if t still has it.
func (t *turn) release() {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	if t.s.writer == t {
		t.s.writer = nil
	}
}
