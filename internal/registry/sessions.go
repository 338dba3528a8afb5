package registry

import (
	"sync"
	"time"

	"berth/internal/meta"
)

// sessions knows which uploads this process is writing, so that each has one
// writer at a time, and which ones it has followed from their first byte on.
type sessions struct {
	mu   sync.Mutex
	byID map[meta.UploadID]*session
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
}

// A turn is one Append's or Commit's right to write to a session.
type turn struct {
	s         *session
	recorded  int64 // the offset where another one may take over
	interrupt func()
}

// begin adds a new session, which nobody has written to.
func (ss *sessions) begin(id meta.UploadID, now time.Time) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.byID[id] = &session{continuous: true, used: now}
}

// get returns the session of id, a new one if the process didn't know it: one
// that was begun before a restart.
func (ss *sessions) get(id meta.UploadID, now time.Time) *session {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	s, ok := ss.byID[id]
	if !ok {
		s = &session{}
		ss.byID[id] = s
	}
	s.used = now
	return s
}

func (ss *sessions) end(id meta.UploadID) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	delete(ss.byID, id)
}

// forget drops what nobody used since before. An upload that goes on all the
// same is then read again at its end, no more.
func (ss *sessions) forget(before time.Time) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	for id, s := range ss.byID {
		if s.used.Before(before) && s.idle() {
			delete(ss.byID, id)
		}
	}
}

func (s *session) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writer == nil
}

// take gives the right to write to a caller that wants to write at offset. If
// somebody else has it, only a caller at just the recorded offset gets it: that
// one can't have been told of it by anything but the server, after its own
// connection was lost. ok is false for all others, with the recorded offset.
func (s *session) take(offset, recorded int64, interrupt func()) (t *turn, at int64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.writer; old != nil {
		if offset != old.recorded {
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

// release gives the right back, if t still has it.
func (t *turn) release() {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	if t.s.writer == t {
		t.s.writer = nil
	}
}
