package ops

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// statusGone is what is noted of a request whose client left before it had its
// answer. Nobody is ever sent it; nginx made the number known.
const statusGone = 499

// An exchange is what is known of one request and its answer.
//
// Most of it belongs to the handler's goroutine. What concerns the body is
// atomic, since a handler may leave reading it to another one.
type exchange struct {
	start   time.Time
	metrics *Metrics // may be nil
	route   string
	traffic *routeTraffic // of route; nil until that is known
	user    string
	logIn   string // who checked the user, if not the registry
	status  int    // 0 until a header is written
	out     int64
	in      atomic.Int64
	failed  atomic.Bool // a read from or a write to the client failed
	gone    atomic.Bool // because the client closed the connection
	late    atomic.Bool // because the client was too slow
}

// SetRoute notes what kind of thing a request asks for, such as "blob-get". It
// becomes a label of metrics: give one of a fixed set of names, never anything
// that comes from the request. w is where the answer to the request goes: what
// Record gave to the handler, or something that unwraps to it, as
// http.ResponseController asks of it. With any other it is without effect. Metrics
// count a request by the first route.
//
// SetRoute and SetUser are called from the handler's goroutine.
func SetRoute(w http.ResponseWriter, route string) {
	if e := exchangeOf(w); e != nil {
		e.route = route
		e.metrics.enter(e)
	}
}

// SetUser notes who sent a request, once that is known for sure; see SetRoute.
func SetUser(w http.ResponseWriter, user string) {
	if e := exchangeOf(w); e != nil {
		e.user = user
	}
}

// SetLogIn notes who has checked that the user is who they say, if it was not the
// registry itself: "proxy"; see SetRoute.
func SetLogIn(w http.ResponseWriter, by string) {
	if e := exchangeOf(w); e != nil {
		e.logIn = by
	}
}

// exchangeOf returns what is known of the request that w answers; nil outside of
// Record.
func exchangeOf(w http.ResponseWriter) *exchange {
	for {
		switch t := w.(type) {
		case *responseWriter:
			return t.e
		case interface{ Unwrap() http.ResponseWriter }:
			w = t.Unwrap()
		default:
			return nil
		}
	}
}

// outcome returns the status to note at the end of a request. ctx is its
// context as net/http made it, which ends early when the client leaves.
func (e *exchange) outcome(ctx context.Context) int {
	// A server that shuts down ends the context too, with a cause of its own.
	left := ctx.Err() != nil && errors.Is(context.Cause(ctx), context.Canceled)
	switch {
	case !e.late.Load() && (e.gone.Load() || left && (e.failed.Load() || e.status == 0)):
		return statusGone
	case e.status == 0:
		return http.StatusOK // net/http answers so for a handler that says nothing
	default:
		return e.status
	}
}

// failure notes an error of reading from or writing to the client.
func (e *exchange) failure(err error) {
	switch {
	case err == nil || err == io.EOF:
		return
	case errors.Is(err, os.ErrDeadlineExceeded):
		e.late.Store(true)
	case errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET):
		e.gone.Store(true)
	}
	e.failed.Store(true)
}

// A responseWriter counts what is answered.
//
// It passes ReadFrom on, so that a file still goes from the disk to the network
// inside the kernel, and lets http.ResponseController reach what it wraps.
type responseWriter struct {
	http.ResponseWriter
	e *exchange
}

// WriteHeader notes the status, unless it is an informational one.
func (w *responseWriter) WriteHeader(status int) {
	if w.e.status == 0 && status >= 200 {
		w.e.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *responseWriter) begin() {
	if w.e.status == 0 {
		w.e.status = http.StatusOK
	}
}

// Write writes p and counts it.
func (w *responseWriter) Write(p []byte) (int, error) {
	w.begin()
	n, err := w.ResponseWriter.Write(p)
	w.e.out += int64(n)
	w.e.failure(err)
	return n, err
}

// ReadFrom sends what src holds and counts it. An error may be one of reading
// src as well as one of sending: only net/http knows, and it then ends the
// request's context.
func (w *responseWriter) ReadFrom(src io.Reader) (int64, error) {
	w.begin()
	var n int64
	var err error
	if rf, ok := w.ResponseWriter.(io.ReaderFrom); ok {
		n, err = rf.ReadFrom(src)
	} else {
		n, err = io.Copy(struct{ io.Writer }{w.ResponseWriter}, src)
	}
	w.e.out += n
	w.e.failure(err)
	return n, err
}

// Flush sends what is buffered.
func (w *responseWriter) Flush() { _ = w.FlushError() }

// FlushError sends what is buffered; http.ResponseController calls it.
func (w *responseWriter) FlushError() error {
	w.begin()
	err := http.NewResponseController(w.ResponseWriter).Flush()
	w.e.failure(err)
	return err
}

// Unwrap is for http.ResponseController.
func (w *responseWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// A bodyReader counts what is read of a request's body.
type bodyReader struct {
	io.ReadCloser
	e *exchange
}

// Read reads and counts.
func (b *bodyReader) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.e.in.Add(int64(n))
	b.e.failure(err)
	return n, err
}
