package listen

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
)

// heldBytes is how much of an answer is held back at most: a header with what
// net/http's own buffer takes of the body behind it, twice that for TLS.
const heldBytes = 8 << 10

// A parcel is the beginning of an answer that a conn holds back, so that a short
// answer leaves in one piece: net/http would write its header with as much of the
// body as fits into a buffer, and then the rest.
type parcel struct {
	mu     sync.Mutex // held while something is written
	isOpen bool       // what is written is held back as long as there is room
	pool   *sync.Pool // of *[heldBytes]byte
	buf    *[heldBytes]byte
	n      int
}

func newParcels() *sync.Pool {
	return &sync.Pool{New: func() any { return new([heldBytes]byte) }}
}

// open begins to hold back what is written.
func (h *parcel) open(pool *sync.Pool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.isOpen, h.pool = true, pool
}

// put holds p back, if it can. The first p that doesn't fit ends it. mu is held.
func (h *parcel) put(p []byte) bool {
	h.isOpen = h.isOpen && h.n+len(p) <= heldBytes
	if !h.isOpen {
		return false
	}
	if h.buf == nil {
		h.buf = h.pool.Get().(*[heldBytes]byte)
	}
	h.n += copy(h.buf[h.n:], p)
	return true
}

// empty ends it, with what is still in it. mu is held.
func (h *parcel) empty() {
	if h.buf != nil {
		h.pool.Put(h.buf)
	}
	h.isOpen, h.buf, h.n = false, nil, 0
}

// Write writes p, or holds it back, and keeps on as long as the peer takes some
// of it.
func (c *conn) Write(p []byte) (int, error) {
	h := &c.parcel
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.put(p) {
		return len(p), nil
	}
	if h.n == 0 {
		return c.write(p)
	}
	defer h.empty()
	both := net.Buffers{h.buf[:h.n], p}
	n, err := c.keepOn(func() (int64, error) { return both.WriteTo(c.Conn) })
	return int(max(0, n-int64(h.n))), err
}

// sendHeld ends holding back, and writes what was.
func (c *conn) sendHeld() error {
	h := &c.parcel
	h.mu.Lock()
	defer h.mu.Unlock()
	defer h.empty()
	if h.n == 0 {
		return nil
	}
	_, err := c.write(h.buf[:h.n])
	return err
}

// dropHeld ends holding back.
func (c *conn) dropHeld() {
	c.parcel.mu.Lock()
	defer c.parcel.mu.Unlock()
	c.parcel.empty()
}

func (c *conn) holds() bool {
	c.parcel.mu.Lock()
	defer c.parcel.mu.Unlock()
	return c.parcel.n > 0
}

type connKey struct{}

// withConn keeps the conn for those who serve its requests.
func withConn(ctx context.Context, nc net.Conn) context.Context {
	if t, ok := nc.(interface{ NetConn() net.Conn }); ok {
		nc = t.NetConn()
	}
	c, _ := nc.(*conn)
	ctx = context.WithValue(ctx, connKey{}, c)
	if c != nil && c.direct != nil {
		c.newTurns(ctx)
	}
	return ctx
}

// A wholeWriter is the http.ResponseWriter of an HTTP/1 request whose conn holds
// back the beginning of the answer. A flush sends it.
type wholeWriter struct {
	http.ResponseWriter
	c      *conn
	copies *copyBuffers // that bodies go through; nil where the kernel can send them
}

// serveWhole has next answer a request without a body, which nobody waits for a
// 100 Continue of. A handler that panics leaves nothing behind that would be sent.
func (s *Server) serveWhole(w http.ResponseWriter, r *http.Request, next http.Handler) {
	c, _ := r.Context().Value(connKey{}).(*conn)
	if c == nil {
		next.ServeHTTP(w, r)
		return
	}
	c.parcel.open(s.parcels)
	defer c.dropHeld()
	whole := &wholeWriter{ResponseWriter: w, c: c}
	if r.TLS != nil {
		whole.copies = s.copies
	}
	next.ServeHTTP(whole, r)
	if c.holds() {
		whole.Flush() // what net/http has, too
	}
}

// ReadFrom sends what src holds; if that is a file, by the kernel, unless it has to be
// encrypted.
func (w *wholeWriter) ReadFrom(src io.Reader) (int64, error) {
	if w.copies != nil { // net/http would take twice as much memory
		return w.copies.copy(w.ResponseWriter, src)
	}
	return io.Copy(w.ResponseWriter, src) // which offers ReadFrom
}

// Flush sends what is buffered.
func (w *wholeWriter) Flush() { _ = w.FlushError() } // the next Write reports it

// FlushError sends what is buffered; http.ResponseController calls it.
func (w *wholeWriter) FlushError() error {
	return errors.Join(http.NewResponseController(w.ResponseWriter).Flush(), w.c.sendHeld())
}

// Unwrap is for http.ResponseController.
func (w *wholeWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
