package registry

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"berth/internal/meta"
)

// TestSessionsAreForgotten holds that sessions that nobody uses are kept for as long
// as was said, or briefly when there are too many, and used ones always.
func TestSessionsAreForgotten(t *testing.T) {
	ss, now := newSessions(), time.Now()
	at := func(id meta.UploadID, ago time.Duration) *session {
		return ss.get(meta.Upload{ID: id}, 0, now.Add(-ago))
	}
	at("old", time.Hour)
	at("rested", 2*briefly)
	at("new", briefly/2)
	if _, _, ok := at("written", time.Hour).take(0, 0, func() {}); !ok {
		t.Fatal("nobody else writes")
	}
	has := func(what string, want ...meta.UploadID) {
		t.Helper()
		for _, id := range []meta.UploadID{"old", "rested", "new", "written"} {
			_, has := ss.byID[id]
			wanted := false
			for _, w := range want {
				wanted = wanted || w == id
			}
			if has != wanted {
				t.Errorf("%s: %s is there: %v", what, id, has)
			}
		}
	}
	ss.forget(now, 30*time.Minute)
	has("few", "rested", "new", "written")
	for i := range mostSessions {
		ss.get(meta.Upload{ID: meta.UploadID(fmt.Sprint(i))}, 0, now.Add(-2*briefly))
	}
	ss.forget(now, 30*time.Minute)
	has("many", "new", "written")
	if len(ss.byID) != 2 {
		t.Errorf("%d sessions are left", len(ss.byID))
	}
}

// TestNewSessionIsTrusted holds that what runs along is believed of an upload from
// which on nothing was missed, and of no other.
func TestNewSessionIsTrusted(t *testing.T) {
	for _, c := range []struct {
		rec  meta.Upload
		want bool
	}{
		{meta.Upload{ID: "new"}, true},
		{meta.Upload{ID: "saved", Size: 5, Version: 1}, false},
		{meta.Upload{ID: "saved without a byte", Version: 1}, false},
	} {
		if s := newSessions().get(c.rec, 0, time.Now()); s.trusted() != c.want {
			t.Errorf("%s: got %v", c.rec.ID, !c.want)
		}
	}
}

// TestVersionOfNewSession holds that a record that was read is believed only if
// nobody can have saved it since.
func TestVersionOfNewSession(t *testing.T) {
	ss := newSessions()
	rec := meta.Upload{ID: "a", Version: 7}
	before := ss.dropped()
	if s := ss.get(rec, before, time.Now()); s.version.Load() != 7 {
		t.Errorf("nobody has had a session: got version %d", s.version.Load())
	}
	ss.end("a") // by somebody else, who had one meanwhile
	if s := ss.get(rec, before, time.Now()); s.version.Load() != unsure {
		t.Errorf("somebody has: got version %d", s.version.Load())
	}
	ss.forget(time.Now().Add(time.Hour), time.Minute)
	if ss.dropped() != before+2 {
		t.Errorf("%d were dropped, want 2", ss.dropped()-before)
	}
}

// TestEvery holds that what is called every so often is called again and again, and
// neither runs nor begins to once stop has returned.
func TestEvery(t *testing.T) {
	for range 200 {
		var over atomic.Bool
		calls := make(chan bool, 1)
		stop := every(time.Nanosecond, func() {
			if over.Load() {
				t.Error("it was called after stop")
			}
			select {
			case calls <- true:
			default:
			}
			if over.Load() {
				t.Error("stop did not wait for it")
			}
		})
		<-calls
		<-calls
		stop()
		over.Store(true)
	}
}
