package listen

import (
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// placesFor returns how many connections may be open at once when asked names
// no number. Each needs a file descriptor and mostly a second one for a blob;
// the database, logs and listeners need theirs as well.
func placesFor(asked int) int {
	const reserve, atLeast, atMost = 64, 16, 1 << 16
	if asked > 0 {
		return asked
	}
	limit, ok := fileLimit()
	if !ok {
		return atMost
	}
	if limit > 4*atMost {
		return atMost
	}
	return min(max((int(limit)-reserve)/2, atLeast), atMost)
}

// A limiter bounds the connections of all listeners of a server. When there is
// no place left, the connection that idles longest loses its own.
type limiter struct {
	places chan struct{} // holds one element per open connection
	queue  time.Duration // how long a connection waits for a place

	mu      sync.Mutex
	waiting int
	idle    ring // of the idle ones, longest idle first
	busy    ring // of those with a request, longest busy first
	slow    ring // of those with one that has taken long
	round   uint // of looking for those that take long
	looks   bool // the next round will be
	look    *time.Timer
}

// roundTime is how often is looked for requests that take long, as long as there are
// any. They have taken between one and two rounds then.
const roundTime = 50 * time.Millisecond

// A ring is a list of connections that are linked with each other, so that a
// request, before which one leaves it and after which one enters it, costs no
// memory. It is guarded by the limiter's lock.
type ring struct{ first, last *conn }

// A link is what a connection knows of its place in a ring.
type link struct {
	in         *ring // nil outside of any
	prev, next *conn
	round      uint // in which it came in
	answers    bool // to a request that net/http knows nothing of
}

func (r *ring) push(c *conn) {
	c.place = link{in: r, prev: r.last}
	if r.last == nil {
		r.first = c
	} else {
		r.last.place.next = c
	}
	r.last = c
}

// remove takes c out of the ring that it is in, if any.
func remove(c *conn) {
	at, r := c.place, c.place.in
	if r == nil {
		return
	}
	c.place = link{}
	if at.prev == nil {
		r.first = at.next
	} else {
		at.prev.place.next = at.next
	}
	if at.next == nil {
		r.last = at.prev
	} else {
		at.next.place.prev = at.prev
	}
}

func newLimiter(n int, queue time.Duration) *limiter {
	l := &limiter{places: make(chan struct{}, n), queue: queue}
	l.look = time.AfterFunc(time.Hour, l.findSlow)
	l.look.Stop()
	return l
}

// enter takes a place and reports false if there was none for the time of
// the queue, or when done is closed.
func (l *limiter) enter(done <-chan struct{}) bool {
	select {
	case l.places <- struct{}{}:
		return true
	default:
	}
	l.mu.Lock()
	l.waiting++
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		l.waiting--
		l.mu.Unlock()
	}()
	l.closeIdle()
	t := time.NewTimer(l.queue)
	defer t.Stop()
	select {
	case l.places <- struct{}{}:
		return true
	case <-t.C:
	case <-done:
	}
	return false
}

// closeIdle closes the connection that idles longest, if any does. To its
// client that is the ordinary end of a kept-alive connection.
func (l *limiter) closeIdle() {
	l.mu.Lock()
	first := l.idle.first
	if first != nil {
		remove(first)
	}
	l.mu.Unlock()
	if first != nil {
		_ = first.Close() // it is thrown away either way
	}
}

// leave gives the place of c back.
func (l *limiter) leave(c *conn) {
	l.mu.Lock()
	remove(c)
	l.mu.Unlock()
	<-l.places
}

// state follows net/http's view of a connection; it is its ConnState hook.
func (l *limiter) state(nc net.Conn, s http.ConnState) {
	c, ok := nc.(*conn)
	if t, secure := nc.(interface{ NetConn() net.Conn }); !ok && secure {
		c, ok = t.NetConn().(*conn)
	}
	if !ok {
		return
	}
	l.mu.Lock()
	remove(c)
	makeRoom := false
	switch {
	case s == http.StateIdle:
		makeRoom = l.rest(c)
		c.turns.rest()
		c.reads.calm()
	case s == http.StateHijacked:
		c.turns.stage = blind
	case s == http.StateActive && c.direct != nil:
		l.work(c)
	}
	l.mu.Unlock()
	if makeRoom {
		l.closeIdle()
	}
}

// A listener accepts connections of one socket for a server.
type listener struct {
	net.Listener
	closed chan struct{} // closed by Close, once
	once   sync.Once
	limit  *limiter
	pace   pace
	copies *copyBuffers
	direct *direct // nil under TLS
	expect protocol
	log    *slog.Logger
}

// Accept waits for a connection and for a place for it. Only closing the
// listener ends it: lack of files or memory passes, and the server must be
// there when it has.
func (l *listener) Accept() (net.Conn, error) {
	const firstWait = 5 * time.Millisecond
	wait := firstWait
	for {
		nc, err := l.Listener.Accept()
		if errors.Is(err, net.ErrClosed) || err != nil && l.isClosed() {
			return nil, net.ErrClosed
		}
		if err != nil {
			if wait == firstWait {
				l.log.Warn("connections can't be accepted; trying on", "address", l.Addr().String(), "error", err)
			}
			l.makeRoom(err, wait)
			wait = min(2*wait, time.Second)
			continue
		}
		wait = firstWait
		if l.limit.enter(l.closed) {
			return l.wrap(nc), nil
		}
		go l.turnAway(nc)
	}
}

// makeRoom does what it can after an accept that failed, and waits.
func (l *listener) makeRoom(err error, wait time.Duration) {
	if isOutOfFiles(err) {
		l.limit.closeIdle()
	}
	select {
	case <-time.After(wait):
	case <-l.closed:
	}
}

func (l *listener) isClosed() bool {
	select {
	case <-l.closed:
		return true
	default:
		return false
	}
}

func (l *listener) wrap(nc net.Conn) net.Conn {
	c := &conn{Conn: nc, pace: l.pace, expect: l.expect, copies: l.copies, direct: l.direct}
	c.release = func() { l.limit.leave(c) }
	return c
}

// turnAway tells a connection that there is no place for it. Under TLS there is
// no way to say so without one.
func (l *listener) turnAway(nc net.Conn) {
	if l.expect != overTLS && !l.isClosed() {
		answer(nc, "503 Service Unavailable", "Retry-After: 5\r\n", "UNAVAILABLE", saysBusy)
	}
	_ = nc.Close()
}

// Close stops accepting.
func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}
