package listen

import (
	"errors"
	"os"
	"sync"
	"time"
)

// A readLimit is until when reads of a conn may take. net/http sets it six times
// for each request, and setting it at the socket costs more than reading what has
// come. So a socket whose deadline comes too soon keeps it: a read that it ends
// finds that there is time left, and goes on. And what is to end a read is not told
// to the socket while nobody reads there.
type readLimit struct {
	mu      sync.Mutex
	until   time.Time // as it was set; zero is without end
	armed   time.Time // what the socket has, which is never later; zero is none
	reading bool      // at the socket

	wake    *sync.Cond // of mu, for who is parked; nil until somebody was
	parked  bool
	hurried bool // who is parked, or will be before the next request, is to read
}

// soon is how long a socket's deadline may be kept. Those that net/http sets for
// headers and idle connections are later, so that they cost nothing.
const soon = 5 * time.Second

// SetReadDeadline implements net.Conn. A deadline that is earlier than before ends
// a read that is waiting.
func (c *conn) SetReadDeadline(t time.Time) error {
	l := &c.reads
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until = t
	if l.parked {
		l.wake.Signal()
	}
	if isPast(t) && !l.reading {
		return nil // who begins to read finds it
	}
	ended := isPast(l.armed) // by net/http, as it ends a read
	switch {
	case t.IsZero() && l.armed.IsZero():
		return nil
	case t.IsZero() && ended:
		t = time.Now().Add(soon)
	case !ended && !l.armed.IsZero() && (t.IsZero() || !t.Before(l.armed)):
		return nil
	}
	l.armed = t
	return c.Conn.SetReadDeadline(t)
}

// isPast reports whether t is what net/http sets to end a read.
func isPast(t time.Time) bool { return !t.IsZero() && t.Unix() <= 1 }

// read reads until the deadline that was meant.
func (c *conn) read(p []byte) (int, error) {
	l := &c.reads
	l.mu.Lock()
	if isPast(l.until) {
		l.mu.Unlock()
		return 0, os.ErrDeadlineExceeded
	}
	l.reading = true
	l.mu.Unlock()
	defer l.done()
	for {
		n, err := c.Conn.Read(p)
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) || !c.hasTime() {
			return n, err
		}
	}
}

func (l *readLimit) done() {
	l.mu.Lock()
	l.reading = false
	l.mu.Unlock()
}

// hasTime reports whether a read that the socket's deadline has ended may go on,
// and gives the socket the deadline that was meant.
func (c *conn) hasTime() bool {
	l := &c.reads
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.until.IsZero() && !time.Now().Before(l.until) {
		return false
	}
	l.armed = l.until
	return c.Conn.SetReadDeadline(l.until) == nil
}

// park waits until a read that has no deadline gets one, or is to hurry: net/http
// begins one for each request, to find out whether its client leaves, and ends nearly
// all of them before anything has come. It reports whether there is to be read.
func (c *conn) park() bool {
	l := &c.reads
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.wake == nil {
		l.wake = sync.NewCond(&l.mu)
	}
	l.parked = true
	for l.until.IsZero() && !l.hurried {
		l.wake.Wait()
	}
	l.parked = false
	return !isPast(l.until)
}

// hurry has who is parked read, and calm lets the next one park.
func (l *readLimit) hurry() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hurried = true
	if l.parked {
		l.wake.Signal()
	}
}

func (l *readLimit) calm() {
	l.mu.Lock()
	l.hurried = false
	l.mu.Unlock()
}
