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
// finds that there is time left, and goes on.
type readLimit struct {
	mu    sync.Mutex
	until time.Time // as it was set; zero is without end
	armed time.Time // what the socket has, which is never later; zero is none
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
	ended := !l.armed.IsZero() && l.armed.Unix() <= 1 // by net/http, as it ends a read
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

// read reads until the deadline that was meant.
func (c *conn) read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) || !c.hasTime() {
			return n, err
		}
	}
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
