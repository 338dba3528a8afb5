package berth

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"

	"golang.org/x/sync/errgroup"

	"berth/internal/listen"
)

// ListenAndServe opens the listeners that the configuration names, for clients,
// for metrics and for the operator, and serves them and Run until ctx ends.
// Running transfers may finish then, for http.shutdown_grace. Once all is open
// it calls hello, which may be nil, with what a person who started it wants to
// know, in two lines.
func (s *Server) ListenAndServe(ctx context.Context, hello func(string)) error {
	secured, err := s.openDoor()
	if err != nil {
		return err
	}
	front, err := listen.Listen(ctx, listen.ListenOptions{Addresses: s.addresses(), Setting: "--listen (http.listen)"})
	if err != nil {
		return err
	}
	back, err := s.listenBehind(ctx, secured.challenges)
	if err != nil {
		closeAll(front)
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var group errgroup.Group
	// The listener for clients goes first when it ends: what stands behind it is
	// of use until the last transfer is done.
	behind, stopBehind := context.WithCancel(context.WithoutCancel(ctx))
	group.Go(func() error {
		defer stopBehind()
		defer stop()
		return s.serveFront(ctx, s.frontServer(secured.tls), front)
	})
	for _, b := range back {
		group.Go(func() error {
			return listen.NewServer(listen.ServerOptions{Log: s.log}, b.handler).Serve(behind, b.listener)
		})
	}
	group.Go(func() error { return s.Run(behind) })
	if secured.run != nil {
		group.Go(func() error { return secured.run(behind) })
	}
	s.health.SetReady()
	if hello != nil {
		hello(s.hello(front))
	}
	return group.Wait()
}

func (s *Server) frontServer(secured *tls.Config) *listen.Server {
	h := s.cfg.HTTP
	return listen.NewServer(listen.ServerOptions{
		TLS:            secured,
		HTTP1:          !h.HTTP2,
		H2C:            h.H2C,
		Log:            s.log,
		Settle:         h.ShutdownDelay,
		ShutdownGrace:  h.ShutdownGrace,
		BeforeShutdown: s.health.SetShuttingDown,
	}, s)
}

// serveFront serves clients. That some had to be cut when the time for a
// shutdown was over is not a failure: they were told how long they had.
func (s *Server) serveFront(ctx context.Context, server *listen.Server, front []net.Listener) error {
	err := server.Serve(ctx, front...)
	if cut, ok := errors.AsType[*listen.CutError](err); ok {
		s.log.Warn("shutdown: " + cut.Error() + "; http.shutdown_grace is how long they may take")
		return nil
	}
	return err
}

// A backListener is one that clients don't see.
type backListener struct {
	listener net.Listener
	handler  http.Handler
}

// listenBehind opens the listeners for metrics, for ACME's challenges and for the
// operator. Without the last, the registry only misses a convenience, so that is
// no reason to stop.
func (s *Server) listenBehind(ctx context.Context, challenges http.Handler) (_ []backListener, err error) {
	var list []backListener
	defer func() {
		for _, b := range list {
			if err != nil {
				b.listener.Close()
			}
		}
	}()
	open := func(address, setting string, handler http.Handler) error {
		ls, err := listen.Listen(ctx, listen.ListenOptions{Addresses: []listen.Address{{Host: address}}, Setting: setting})
		for _, l := range ls {
			list = append(list, backListener{l, handler})
		}
		return err
	}
	if a := s.cfg.Metrics.Listen; a != "" {
		if err := open(a, "--metrics (metrics.listen)", s.Ops()); err != nil {
			return nil, err
		}
	}
	if challenges != nil {
		if err := open(s.cfg.HTTP.TLS.ACME.Listen, "http.tls.acme.listen", challenges); err != nil {
			return nil, err
		}
	}
	socket := listen.Address{Network: "unix", Host: SocketPath(s.cfg.Data)}
	ls, err := listen.Listen(ctx, listen.ListenOptions{Addresses: []listen.Address{socket}})
	if err != nil {
		s.log.Warn("no admin socket: berth ls and berth rm can't reach this server", "error", err)
		return list, nil
	}
	return append(list, backListener{ls[0], s.Admin()}), nil
}

func closeAll(ls []net.Listener) {
	for _, l := range ls {
		l.Close()
	}
}

// Run does what has to be done beside requests, until ctx ends: it collects
// garbage, reads what is stored, looks after its health, sends notifications, saves the clock and
// writes snapshots of the database. It returns nil when ctx has ended.
func (s *Server) Run(ctx context.Context) error {
	var group errgroup.Group
	group.Go(func() error { return s.keepDatabase(ctx) })
	group.Go(func() error { return s.learn(ctx) })
	group.Go(func() error { return s.keepEvents(ctx) })
	group.Go(func() error { return s.keepUses(ctx) })
	group.Go(func() error { return s.keepMeasuring(ctx) })
	for _, e := range s.notifications.endpoints {
		group.Go(func() error { return e.Run(ctx) })
	}
	group.Go(func() error { s.health.Watch(ctx, s.checks(), s.log); return nil })
	group.Go(func() error {
		s.adopt(ctx) // before anything is collected, or written into registry:2's tree
		group.Go(func() error { return s.collector.Run(ctx) })
		group.Go(func() error { return s.runErrands(ctx) })
		group.Go(func() error { return s.scrubber.Run(ctx) })
		if s.shadow != nil && s.adopter.Done() {
			group.Go(func() error { return s.shadow.Run(ctx) })
		}
		return nil
	})
	err := group.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
