package listen

import (
	"io"
	"net/http"
	"sync"
	"time"
)

// A bodyReader reads the body of a request and gives up on a client that sends
// nothing for a while, or on the whole less than a certain rate. Only the time
// spent waiting for the client counts, never what the server does in between.
//
// The error then is or wraps os.ErrDeadlineExceeded.
type bodyReader struct {
	io.ReadCloser
	pace   pace
	guard  guard
	got    int64
	waited time.Duration
}

// A guard ends a read or a write that takes too long.
type guard interface {
	begin(left time.Duration) // before it: it may take so long
	end()                     // after it
}

// Read reads from the client, within its limits of time.
func (b *bodyReader) Read(p []byte) (int, error) {
	earned := time.Duration(float64(b.got) / float64(b.pace.rate) * float64(time.Second))
	b.guard.begin(min(b.pace.stall, b.pace.stall+earned-b.waited))
	start := time.Now()
	n, err := b.ReadCloser.Read(p)
	b.waited += time.Since(start)
	b.got += int64(n)
	b.guard.end()
	return n, err
}

// A connGuard moves the read deadline of an HTTP/1 connection. It leaves it
// standing between two reads, because net/http itself reads what is left of a
// body before it answers. Once the body has ended, net/http takes it away to
// wait in the background for the client to hang up.
type connGuard struct {
	rc  *http.ResponseController
	set time.Time
}

func (g *connGuard) begin(left time.Duration) {
	to := time.Now().Add(left)
	// A deadline that is nearly the same stays: moving it costs more than
	// reading from a full buffer.
	if d := to.Sub(g.set); d >= 0 && d < left/8 {
		return
	}
	g.set = to
	_ = g.rc.SetReadDeadline(to) // not supported means a test's recorder
}

func (g *connGuard) end() {}

// A watchdog ends one stream of an HTTP/2 connection. Deadlines of streams fire
// whether or not anybody waits, so they can't be left standing: the watchdog
// sets one, in the past, only when a read or write has really taken too long.
type watchdog struct {
	bite func(time.Time) error

	mu      sync.Mutex
	timer   *time.Timer
	waiting bool
	until   time.Time // when the wait is over: the timer may fire for an earlier one
}

func (g *watchdog) begin(left time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting, g.until = true, time.Now().Add(left)
	if g.timer == nil {
		g.timer = time.AfterFunc(left, g.fire)
		return
	}
	g.timer.Reset(left)
}

func (g *watchdog) fire() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.waiting && !time.Now().Before(g.until) {
		_ = g.bite(time.Now().Add(-time.Second)) // not supported means a test's recorder
	}
}

func (g *watchdog) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting = false
	g.timer.Stop()
}

// A streamWriter is the http.ResponseWriter of an HTTP/2 request. It ends the
// stream of a client that doesn't open its window for what is written.
//
// HTTP/1 needs none: there the connection itself watches (see conn).
type streamWriter struct {
	http.ResponseWriter
	guard guard
	stall time.Duration
	bufs  *copyBuffers
}

// ReadFrom sends what src holds, through a buffer that others have used before.
func (w *streamWriter) ReadFrom(src io.Reader) (int64, error) { return w.bufs.copy(w, src) }

// Write writes p, within its limit of time.
func (w *streamWriter) Write(p []byte) (int, error) {
	w.guard.begin(w.stall)
	defer w.guard.end()
	return w.ResponseWriter.Write(p)
}

// Flush sends what is buffered, within its limit of time.
func (w *streamWriter) Flush() {
	w.guard.begin(w.stall)
	defer w.guard.end()
	_ = http.NewResponseController(w.ResponseWriter).Flush() // the next Write reports it
}

// Unwrap is for http.ResponseController.
func (w *streamWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// paced gives every request its limits of time.
func (s *Server) paced(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.running.Add(1)
		defer s.running.Add(-1)
		hasBody := r.Body != nil && r.Body != http.NoBody
		switch {
		case r.ProtoMajor >= 2:
			rc := http.NewResponseController(w)
			if hasBody {
				r = withBody(r, &bodyReader{ReadCloser: r.Body, pace: s.body, guard: &watchdog{bite: rc.SetReadDeadline}})
			}
			w = &streamWriter{ResponseWriter: w, guard: &watchdog{bite: rc.SetWriteDeadline}, stall: streamStall * s.write.stall, bufs: s.copies}
		case hasBody:
			g := &connGuard{rc: http.NewResponseController(w)}
			g.begin(s.body.stall) // also where the handler never reads
			r = withBody(r, &bodyReader{ReadCloser: r.Body, pace: s.body, guard: g})
		default:
			s.serveWhole(w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// streamStall is how many times longer than a connection a stream of it may
// stand still. Behind a slow line megabytes wait in the kernel, and the streams
// behind them move only when a third of that has gone.
const streamStall = 20

// withBody returns a copy of r with another body: net/http goes by the body in
// the original.
func withBody(r *http.Request, b io.ReadCloser) *http.Request {
	r = r.WithContext(r.Context())
	r.Body = b
	return r
}
