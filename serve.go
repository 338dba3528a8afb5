package berth

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"

	"golang.org/x/sync/errgroup"

	"berth/config"
	"berth/internal/listen"
)

// ListenAndServe opens the listeners that the configuration names, for clients,
// for metrics and for the operator, and serves them and Run until ctx ends.
// Running transfers may finish then, for http.shutdown_grace. Once all is open
// it calls hello, which may be nil, with what a person who started it wants to
// know, in two lines.
func (s *Server) ListenAndServe(ctx context.Context, hello func(string)) error {
	certs, err := s.certificates()
	if err != nil {
		return err
	}
	front, err := listen.Listen(ctx, listen.ListenOptions{Addresses: s.addresses(), Setting: "--listen (http.listen)"})
	if err != nil {
		return err
	}
	back, err := s.listenBehind(ctx)
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
		return s.serveFront(ctx, s.frontServer(certs), front)
	})
	for _, b := range back {
		group.Go(func() error {
			return listen.NewServer(listen.ServerOptions{Log: s.log}, b.handler).Serve(behind, b.listener)
		})
	}
	group.Go(func() error { return s.Run(behind) })
	if certs != nil {
		group.Go(func() error { return certs.Run(behind) })
	}
	s.health.SetReady()
	if hello != nil {
		hello(s.hello(front))
	}
	return group.Wait()
}

// certificates loads the certificate, if TLS is configured.
func (s *Server) certificates() (*listen.Certificates, error) {
	t := s.cfg.HTTP.TLS
	if !t.Enabled() {
		return nil, nil
	}
	o := listen.CertificateOptions{CertFile: t.Certificate, KeyFile: t.Key, Log: s.log}
	if t.Minimum == config.TLS13 {
		o.MinVersion = tls.VersionTLS13
	}
	if u, err := url.Parse(s.cfg.HTTP.ExternalURL); err == nil && u.Hostname() != "" {
		o.ExpectHosts = []string{u.Hostname()}
	}
	return listen.LoadCertificates(o)
}

// addresses are where clients come in. That a machine has no IPv6 is not an
// error where nobody asked for it.
func (s *Server) addresses() []listen.Address {
	var list []listen.Address
	for _, a := range s.cfg.HTTP.Listen {
		list = append(list, listen.Address{Host: a, Optional: strings.HasPrefix(a, "[::1]:")})
	}
	return list
}

func (s *Server) frontServer(certs *listen.Certificates) *listen.Server {
	return listen.NewServer(listen.ServerOptions{
		Certificates:   certs,
		Log:            s.log,
		ShutdownGrace:  s.cfg.HTTP.ShutdownGrace,
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

// listenBehind opens the listeners for metrics and for the operator. Without the
// latter, the registry only misses a convenience, so that is no reason to stop.
func (s *Server) listenBehind(ctx context.Context) ([]backListener, error) {
	var list []backListener
	if a := s.cfg.Metrics.Listen; a != "" {
		ls, err := listen.Listen(ctx, listen.ListenOptions{Addresses: []listen.Address{{Host: a}}, Setting: "--metrics (metrics.listen)"})
		if err != nil {
			return nil, err
		}
		for _, l := range ls {
			list = append(list, backListener{l, s.Ops()})
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

// hello says where the registry is, and what to type.
func (s *Server) hello(front []net.Listener) string {
	scheme := "http"
	if s.cfg.HTTP.TLS.Enabled() {
		scheme = "https"
	}
	var urls []string
	local := true
	for _, l := range front {
		urls = append(urls, scheme+"://"+l.Addr().String())
		if a, ok := l.Addr().(*net.TCPAddr); ok && !a.IP.IsLoopback() {
			local = false
		}
	}
	where := strings.Join(urls, " and ")
	if local {
		where += " (this machine only)"
	}
	host := s.pushHost(front[0])
	login := ""
	if s.cfg.Auth.LogIn() {
		login = "docker login " + host + " && "
	}
	return fmt.Sprintf("Berth %s listens on %s, data in %s\nPush an image: %sdocker tag IMAGE %s/IMAGE && docker push %s/IMAGE\n",
		s.version, where, s.cfg.Data, login, host, host)
}

// externalHost is the host of external_url; empty without one.
func (s *Server) externalHost() string {
	u, err := url.Parse(s.cfg.HTTP.ExternalURL)
	if err != nil {
		return ""
	}
	return u.Host
}

// pushHost is what stands before the slash in the name of an image here.
func (s *Server) pushHost(l net.Listener) string {
	if host := s.externalHost(); host != "" {
		return host
	}
	a, ok := l.Addr().(*net.TCPAddr)
	if !ok || !a.IP.IsUnspecified() {
		return l.Addr().String()
	}
	name := "localhost"
	if s.cfg.HTTP.TLS.Enabled() {
		if h, err := os.Hostname(); err == nil {
			name = h
		}
	}
	return net.JoinHostPort(name, fmt.Sprint(a.Port))
}

// Run does what has to be done beside requests, until ctx ends: it collects
// garbage, saves the clock and writes snapshots of the database. It returns nil
// when ctx has ended.
func (s *Server) Run(ctx context.Context) error {
	var group errgroup.Group
	group.Go(func() error { return s.collector.Run(ctx, s.cfg.GC.Every) })
	group.Go(func() error { return s.keepDatabase(ctx) })
	err := group.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
