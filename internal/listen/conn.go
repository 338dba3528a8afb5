package listen

import (
	"errors"
	"io"
	"math"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// sendChunk is how much of a file goes to the kernel in one call: large enough
// that the calls cost nothing, small enough that the write deadline moves with
// the progress of all but slow peers, which are asked about when it has passed.
const sendChunk = 8 << 20

// A conn is one accepted connection. It cuts a peer that stops taking what is
// written to it, and answers a peer that speaks the wrong protocol.
//
// It offers io.ReaderFrom, so that net/http hands it whole files, and passes
// them on in chunks of a form in which *net.TCPConn still uses sendfile.
//
// A write deadline set from outside (net/http and crypto/tls do so around
// handshake and close) is kept beside the rolling one; the earlier one counts.
type conn struct {
	net.Conn
	pace    pace
	expect  protocol
	release func()

	closing sync.Once
	place   link    // among the idle or the busy ones; the limiter's
	direct  *direct // nil where net/http answers everything
	turns   turns
	watch   watch
	ending  atomic.Bool // it ends with the answer that is being given; set by the limiter
	parcel  parcel
	copies  *copyBuffers
	reads   readLimit

	mu       sync.Mutex
	explicit time.Time // write deadline set from outside; zero is none
	armed    time.Time // write deadline the socket has
}

// A pace is how fast a peer must take what is written to it.
type pace struct {
	stall time.Duration // looked at in steps of this length
	rate  int64         // bytes per second that must be taken over a step
}

// write writes p and keeps on as long as the peer takes some of it.
func (c *conn) write(p []byte) (int, error) {
	n, err := c.keepOn(func() (int64, error) {
		n, err := c.Conn.Write(p)
		p = p[n:]
		return int64(n), err
	})
	return int(n), err
}

// keepOn calls write, which goes on where it was, until that has written all or
// the peer takes nothing any more.
func (c *conn) keepOn(write func() (int64, error)) (int64, error) {
	w := patience{c: c}
	done := int64(0)
	for {
		if err := c.arm(); err != nil {
			return done, err
		}
		n, err := write()
		done += n
		if err == nil || !w.goOn(n, err) {
			return done, err
		}
	}
}

// ReadFrom sends what src holds. Where src is a file, or an *io.LimitedReader
// over one, no byte passes through this process.
func (c *conn) ReadFrom(src io.Reader) (int64, error) {
	if err := c.sendHeld(); err != nil {
		return 0, err
	}
	to, ok := c.Conn.(io.ReaderFrom)
	from, left := src, int64(math.MaxInt64)
	limited, _ := src.(*io.LimitedReader)
	if limited != nil {
		from, left = limited.R, limited.N
	}
	if _, file := from.(syscall.Conn); !ok || !file {
		return c.copies.copy(c, src)
	}
	sent, err := c.sendFile(to, from, left)
	if limited != nil {
		limited.N -= sent
	}
	return sent, err
}

// sendFile sends at most left bytes of from, in chunks.
func (c *conn) sendFile(to io.ReaderFrom, from io.Reader, left int64) (int64, error) {
	w := patience{c: c}
	chunk := &io.LimitedReader{R: from}
	sent := int64(0)
	for sent < left {
		if err := c.arm(); err != nil {
			return sent, err
		}
		want := min(left-sent, sendChunk)
		chunk.N = want
		n, err := to.ReadFrom(chunk)
		sent += n
		switch lost := want - chunk.N - n; {
		case err == nil && n == 0:
			return sent, nil // the end of the file
		case err == nil:
			w = patience{c: c}
		case lost != 0:
			// The kernel couldn't do it and the copy in its place had read more
			// than the peer took: there is no going on from here.
			return sent, err
		case !w.goOn(n, err):
			return sent, err
		}
	}
	return sent, nil
}

// arm moves the write deadline of the socket ahead, unless it was moved just
// before. It fails when the deadline set from outside has passed.
func (c *conn) arm() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if !c.explicit.IsZero() && !now.Before(c.explicit) {
		return os.ErrDeadlineExceeded
	}
	if c.armed.Sub(now) > c.pace.stall*3/4 {
		return nil
	}
	to := now.Add(c.pace.stall)
	if !c.explicit.IsZero() && c.explicit.Before(to) {
		to = c.explicit
	}
	c.armed = to
	return c.Conn.SetWriteDeadline(to)
}

// SetWriteDeadline sets a deadline that the rolling one never exceeds. The zero
// time takes it away.
func (c *conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.IsZero() && c.explicit.IsZero() {
		return nil // net/http does so after every request
	}
	c.explicit, c.armed = t, time.Time{}
	return c.Conn.SetWriteDeadline(t)
}

// SetDeadline sets both deadlines.
func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// expired reports whether the deadline set from outside has passed.
func (c *conn) expired() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.explicit.IsZero() && !time.Now().Before(c.explicit)
}

// unacked returns how many bytes the peer hasn't acknowledged yet.
func (c *conn) unacked() (int64, bool) {
	sc, ok := c.Conn.(syscall.Conn)
	if !ok {
		return 0, false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return 0, false
	}
	n, ok := unacked(raw)
	return int64(n), ok
}

// reset makes Close drop what the peer hasn't taken, so that the kernel doesn't
// keep megabytes for somebody who is gone.
func (c *conn) reset() {
	if l, ok := c.Conn.(interface{ SetLinger(sec int) error }); ok {
		_ = l.SetLinger(0) // if it fails, the kernel gives up later by itself
	}
}

// CloseWrite ends the sending side, as net/http does before it closes.
func (c *conn) CloseWrite() error {
	if cw, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return errors.ErrUnsupported
}

// A patience decides how long one write waits for a slow peer.
//
// That a write moved no byte doesn't prove that the peer takes none: the kernel
// lets a writer go on only when a third of its buffer (up to megabytes) is
// free, which takes an honest modem minutes. So the bytes that the peer has
// acknowledged count, where the system tells.
type patience struct {
	c      *conn
	waited bool
	queued int64 // unacknowledged bytes at the end of the last step
}

// goOn reports whether to continue after a write that moved n bytes and ended
// with err. The first step that runs out only sets the mark for the next.
func (w *patience) goOn(n int64, err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) || w.c.expired() {
		return false
	}
	queued, known := w.c.unacked()
	first := !w.waited
	taken := n
	if known {
		taken += w.queued - queued
	}
	w.waited, w.queued = true, queued
	// Deadlines are moved in quarters of a step, so a step may be that shorter.
	need := max(1, int64(w.c.pace.stall.Seconds()*float64(w.c.pace.rate))*3/4)
	if first || taken >= need {
		return true
	}
	w.c.reset()
	return false
}
