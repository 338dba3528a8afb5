package listen

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// ServerOptions are the limits of a Server. The zero value of each field means
// the default that its comment names.
type ServerOptions struct {
	// TLS turns on TLS for the tcp listeners, as NewTLSConfig makes it; nil means
	// plain http. A unix socket is plain in any case.
	TLS *tls.Config

	// HTTP1 leaves HTTP/2 out.
	HTTP1 bool

	// H2C speaks HTTP/2 without TLS to who begins with it, as a proxy does that
	// was told to.
	H2C bool

	// Log gets what net/http reports, at debug, and trouble with accepting
	// connections, at warn. Nil discards.
	Log *slog.Logger

	ReadHeaderTimeout time.Duration // for the header of a request: 10 s
	IdleTimeout       time.Duration // between two requests: 120 s
	MaxHeaderBytes    int           // 64 KiB
	MaxStreams        int           // per HTTP/2 connection: 100
	MaxConns          int           // at once, over all listeners: from the limit of open files
	QueueTime         time.Duration // for which one more waits for a place before it is answered 503: 10 s

	// A body must bring something every BodyStall (60 s) and, after the first
	// BodyStall, BodyRate bytes per second (1024) on the whole.
	BodyStall time.Duration
	BodyRate  int64

	// A client must take WriteRate bytes per second (1024) of an answer, looked
	// at every WriteStall (60 s): one that takes nothing is cut after two.
	WriteStall time.Duration
	WriteRate  int64

	// BeforeShutdown is called when the context of Serve has ended, before
	// anything else: readiness is to fail now. May be nil.
	BeforeShutdown func()

	// Settle is how long requests are accepted as before after BeforeShutdown,
	// so that a load balancer can learn of it: 0.
	Settle time.Duration

	// ShutdownGrace is how long running requests may take after that: 30 s.
	ShutdownGrace time.Duration
}

// handlerGrace is how long handlers may still work after their connections were
// closed, to leave their storage in order.
const handlerGrace = 5 * time.Second

// ErrShutdown is the cause of the contexts of requests that are cut because the
// grace of a shutdown is over.
var ErrShutdown = errors.New("the server is shutting down")

// A CutError says how many running requests a shutdown had to cut.
type CutError struct {
	Requests int
	Grace    time.Duration
}

func (e *CutError) Error() string {
	return fmt.Sprintf("cut what was still running %s after it began, requests: %d", e.Grace, e.Requests)
}

// A Server serves a handler over HTTP/1 and, with TLS, HTTP/2.
type Server struct {
	opts    ServerOptions
	http    *http.Server
	limit   *limiter
	body    pace
	write   pace
	parcels *sync.Pool // for what is held back
	copies  *copyBuffers
	direct  *direct
	running atomic.Int64 // handlers
}

// NewServer returns a server of h. It opens nothing and starts nothing.
func NewServer(o ServerOptions, h http.Handler) *Server {
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	o.ShutdownGrace = cmp.Or(o.ShutdownGrace, 30*time.Second)
	s := &Server{
		opts:  o,
		limit: newLimiter(placesFor(o.MaxConns), cmp.Or(o.QueueTime, 10*time.Second)),
		body:  pace{stall: cmp.Or(o.BodyStall, 60*time.Second), rate: cmp.Or(o.BodyRate, 1024)},
		write: pace{stall: cmp.Or(o.WriteStall, 60*time.Second), rate: cmp.Or(o.WriteRate, 1024)},

		parcels: newParcels(),
		copies:  newCopyBuffers(),
	}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(!o.HTTP1)
	protocols.SetUnencryptedHTTP2(o.H2C)
	s.http = &http.Server{
		Handler:                      onlyHTTP(s.paced(h)),
		DisableGeneralOptionsHandler: true, // "OPTIONS *" is the handler's to answer
		ReadHeaderTimeout:            cmp.Or(o.ReadHeaderTimeout, 10*time.Second),
		IdleTimeout:                  cmp.Or(o.IdleTimeout, 120*time.Second),
		MaxHeaderBytes:               cmp.Or(o.MaxHeaderBytes, 64<<10),
		ErrorLog:                     slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
		ConnState:                    s.limit.state,
		ConnContext:                  withConn,
		Protocols:                    &protocols,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: cmp.Or(o.MaxStreams, 100),
			SendPingTimeout:      60 * time.Second, // finds peers that are gone without a word
		},
	}
	s.direct = &direct{
		handler: h, header: s.http.ReadHeaderTimeout, idle: s.http.IdleTimeout,
		limit: s.limit, running: &s.running, parcels: s.parcels, scraps: newScraps(),
	}
	if o.TLS != nil {
		s.http.TLSConfig = o.TLS.Clone()
		if !slices.Contains(o.TLS.NextProtos, "h2") {
			protocols.SetHTTP2(false)
		}
	}
	return s
}

// onlyHTTP closes connections on which another protocol than HTTP was agreed on,
// as a challenge is: net/http would serve them all the same, whatever else was
// asked of clients.
func onlyHTTP(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS != nil && r.TLS.NegotiatedProtocol != "" && r.TLS.NegotiatedProtocol != "h2" && r.TLS.NegotiatedProtocol != "http/1.1" {
			panic(http.ErrAbortHandler)
		}
		next.ServeHTTP(w, r)
	})
}

// MaxConns returns how many connections the server has at once, at most.
func (s *Server) MaxConns() int { return cap(s.limit.places) }

// Serve serves the listeners until ctx ends, or until one of them fails, and
// closes them. It may be called once.
//
// When ctx ends it calls BeforeShutdown, goes on for Settle, stops accepting
// connections and waits for running requests. Those that are not finished after
// ShutdownGrace are cut; the error then is a *CutError. The contexts of requests
// don't end with ctx, but when the client is gone, or with cause ErrShutdown
// when they are cut.
func (s *Server) Serve(ctx context.Context, listeners ...net.Listener) error {
	base, cut := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cut(ErrShutdown)
	s.http.BaseContext = func(net.Listener) context.Context { return base }

	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { failed <- s.serve(l) }()
	}
	var failure error
	left := len(listeners)
	select {
	case <-ctx.Done():
	case failure = <-failed:
		left--
	}
	stop := s.shutdown(context.WithoutCancel(ctx), cut)
	for range left {
		if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
			failure = errors.Join(failure, err)
		}
	}
	return errors.Join(failure, stop)
}

// serve serves one listener until the server is closed.
func (s *Server) serve(l net.Listener) error {
	secure := s.opts.TLS != nil && l.Addr().Network() != "unix"
	w := &listener{Listener: l, closed: make(chan struct{}), limit: s.limit, pace: s.write, copies: s.copies, direct: s.direct, log: s.opts.Log, expect: plainHTTP}
	var err error
	if secure {
		w.expect, w.direct = overTLS, nil
		err = s.http.ServeTLS(w, "", "")
	} else {
		err = s.http.Serve(w)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return fmt.Errorf("serve %s: %w", l.Addr(), err)
}

// shutdown ends the server as Serve says.
func (s *Server) shutdown(ctx context.Context, cut context.CancelCauseFunc) error {
	if s.opts.BeforeShutdown != nil {
		s.opts.BeforeShutdown()
	}
	time.Sleep(s.opts.Settle)
	grace, cancel := context.WithTimeout(ctx, s.opts.ShutdownGrace)
	defer cancel()
	err := s.http.Shutdown(grace)
	if err == nil { // connections that answer by themselves were idle to net/http
		err = s.waitForHandlers(grace)
	}
	if err == nil || !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	running := int(s.running.Load())
	cut(ErrShutdown)
	err = s.http.Close()
	s.limit.cut()
	after, cancel := context.WithTimeout(ctx, handlerGrace)
	defer cancel()
	_ = s.waitForHandlers(after) // they had their time
	if running > 0 {
		err = errors.Join(&CutError{Requests: running, Grace: s.opts.ShutdownGrace}, err)
	}
	return err
}

// waitForHandlers waits for handlers whose connections net/http has closed. The error
// is that ctx has ended before.
func (s *Server) waitForHandlers(ctx context.Context) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for s.running.Load() > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
