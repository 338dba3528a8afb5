package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"

	"github.com/spf13/cobra"

	"berth"
	"berth/config"
)

// withAdmin reads the configuration and runs f with a client of the registry
// that it means.
func withAdmin(cmd *cobra.Command, configured func() (*config.Loaded, error), f func(context.Context, *adminClient) error) error {
	loaded, err := configured()
	if err != nil {
		return err
	}
	c, err := connectAdmin(cmd.Context(), loaded.Config)
	if err != nil {
		return err
	}
	c.progress = newProgress(cmd.ErrOrStderr())
	err = f(cmd.Context(), c)
	if cerr := c.Close(); err == nil {
		err = cerr
	}
	return err
}

// connectAdmin connects to the running server, or opens the data directory
// itself if none is running.
func connectAdmin(ctx context.Context, cfg config.Config) (*adminClient, error) {
	path := berth.SocketPath(cfg.Data)
	dial := func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}
	conn, err := dial(ctx)
	if err == nil {
		conn.Close()
		return newAdminClient(dial, func() error { return nil }), nil
	}
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("the registry of %s belongs to another user: run this as that user or as root", cfg.Data)
	}
	if _, err := os.Stat(cfg.Data); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no registry in %s: name its folder with --data", cfg.Data)
	}
	return openIdle(ctx, cfg)
}

// openIdle opens a data directory that no server is using, and serves it to this
// process alone. Nobody logs in, so what is configured for that need not be there.
func openIdle(ctx context.Context, cfg config.Config) (*adminClient, error) {
	cfg.Auth, cfg.Access = config.Default().Auth, nil
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	s, err := berth.Open(ctx, berth.Options{Config: cfg, Logger: log, Version: version})
	if err != nil {
		return nil, err
	}
	pipes := newPipeListener()
	server := &http.Server{Handler: s.Admin()}
	served := make(chan error, 1)
	go func() { served <- server.Serve(pipes) }()
	return newAdminClient(pipes.dial, func() error {
		err := server.Close()
		if serr := <-served; !errors.Is(serr, http.ErrServerClosed) {
			err = errors.Join(err, serr)
		}
		return errors.Join(err, s.Close())
	}), nil
}

// A pipeListener accepts the connections that its own dial makes.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *pipeListener) dial(ctx context.Context) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case l.conns <- far:
		return near, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept implements net.Listener.
func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. It is called once.
func (l *pipeListener) Close() error {
	close(l.closed)
	return nil
}

// Addr implements net.Listener.
func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }
