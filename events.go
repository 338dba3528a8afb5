package berth

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"berth/config"
	"berth/internal/event"
	"berth/internal/event/webhook"
	"berth/internal/meta"
	"berth/internal/oci"
)

// webhookReader is what the names of readers of events begin with that are
// endpoints; other readers are other parts of the program.
const webhookReader = "webhook:"

// notifications is what tells others of events.
type notifications struct {
	endpoints []*endpoint
	lost      atomic.Int64 // events that grew too old before they were sent
}

// An endpoint is one who is told.
type endpoint struct {
	*webhook.Endpoint
	*event.Dispatcher
	cfg config.Endpoint
}

func (e *endpoint) reader() string { return webhookReader + e.cfg.Name }

// openEvents makes the endpoints that are configured known as readers of events.
func (s *Server) openEvents(ctx context.Context) error {
	source := webhook.Source{Addr: s.sourceAddr(), InstanceID: event.NewID()}
	for i, cfg := range s.cfg.Notifications.Endpoints {
		e := &endpoint{cfg: cfg}
		var err error
		if e.Endpoint, err = s.newWebhook(cfg, source); err != nil {
			return fmt.Errorf("notifications.endpoints[%d]: %w", i, err)
		}
		cursor, err := s.meta.Subscribe(ctx, e.reader(), meta.NeedNews)
		if err != nil {
			return err
		}
		e.Dispatcher = event.NewDispatcher(event.DispatcherOptions{
			Outbox: s.meta, Reader: e.reader(), Cursor: cursor, Log: s.log,
			Sink: e.Endpoint, Wants: e.Wants, Backoff: e.Backoff,
			Batch: 1, // as registry:2 sends them: receivers need not be able to refuse a part
		})
		s.notifications.endpoints = append(s.notifications.endpoints, e)
	}
	return nil
}

// forgetEndpoints forgets how far endpoints were told that are no longer
// configured. Only a server does so: a command that opens an idle data directory
// may not have been given the configuration.
func (s *Server) forgetEndpoints(ctx context.Context) error {
	readers, err := s.meta.EventReaders(ctx)
	if err != nil {
		return err
	}
	for _, r := range readers {
		wanted := slices.ContainsFunc(s.notifications.endpoints, func(e *endpoint) bool { return e.reader() == r.Name })
		if !strings.HasPrefix(r.Name, webhookReader) || wanted {
			continue
		}
		s.log.Info("an endpoint of notifications is no longer configured: how far it was told is forgotten",
			"endpoint", strings.TrimPrefix(r.Name, webhookReader))
		if err := s.meta.Unsubscribe(ctx, r.Name); err != nil {
			return err
		}
	}
	return nil
}

// newWebhook returns the endpoint of a configuration that is valid.
func (s *Server) newWebhook(cfg config.Endpoint, source webhook.Source) (*webhook.Endpoint, error) {
	o := webhook.Options{
		Name: cfg.Name, URL: cfg.URL, Headers: cfg.Headers, Timeout: cfg.Timeout, Threshold: cfg.Threshold, Backoff: cfg.Backoff,
		IgnoreMediaTypes: cfg.IgnoreMediaTypes, IgnoreActions: cfg.IgnoreActions, Secret: cfg.Secret, Source: source, Log: s.log,
	}
	if s.cfg.Notifications.IncludeReferences {
		o.Manifest = s.manifestBody
	}
	if len(cfg.Repositories) == 0 {
		return webhook.New(o)
	}
	var patterns []oci.Pattern
	for _, text := range cfg.Repositories {
		p, err := oci.ParsePattern(text)
		if err != nil {
			return nil, err
		}
		patterns = append(patterns, p)
	}
	o.Repositories = func(repo oci.Repo) bool {
		return slices.ContainsFunc(patterns, func(p oci.Pattern) bool { return p.Match(repo) })
	}
	return webhook.New(o)
}

// manifestBody reads a manifest of which an event tells.
func (s *Server) manifestBody(ctx context.Context, repo oci.Repo, d oci.Digest) ([]byte, error) {
	m, err := s.meta.FindManifest(ctx, repo, oci.Ref{Digest: d})
	if isNotFound(err) {
		return nil, fs.ErrNotExist
	}
	return m.Body, err
}

// sourceAddr is what events call this registry, as registry:2 makes it up: the
// name of the machine and the port.
func (s *Server) sourceAddr() string {
	var address string
	if len(s.cfg.HTTP.Listen) > 0 {
		address = s.cfg.HTTP.Listen[0]
	}
	host, err := os.Hostname()
	if err != nil {
		return address
	}
	if _, port, err := net.SplitHostPort(address); err == nil {
		return net.JoinHostPort(host, port)
	}
	return host
}

// pulled is what the API tells of pulls; nil if no endpoint is told of them.
func (s *Server) pulled() func(event.Event) {
	told := func(e *endpoint) bool { return !slices.Contains(e.cfg.IgnoreActions, string(event.Pull)) }
	if slices.ContainsFunc(s.notifications.endpoints, told) {
		return s.meta.NoteEvent
	}
	return nil
}

// How often events are looked after.
const (
	flushEvents = time.Second // what a crash may lose of pulls
	trimEvents  = time.Minute
	trimLimit   = 1000 // events in one transaction
)

// keepEvents records what was noted, and removes what is old, until ctx ends.
func (s *Server) keepEvents(ctx context.Context) error {
	if err := s.forgetEndpoints(ctx); err != nil && ctx.Err() == nil {
		s.log.Error("look after the events", "error", err)
	}
	flush, trim := time.NewTicker(flushEvents), time.NewTicker(trimEvents)
	defer flush.Stop()
	defer trim.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case <-flush.C:
			err = s.meta.FlushEvents(ctx)
		case <-trim.C:
			err = s.trimEvents(ctx)
		}
		if err != nil && ctx.Err() == nil {
			s.log.Error("look after the events", "error", err)
		}
	}
}

// trimEvents removes events that are kept no longer. Without endpoints nobody
// could replay them.
func (s *Server) trimEvents(ctx context.Context) error {
	age := s.cfg.Notifications.Keep
	if len(s.notifications.endpoints) == 0 {
		age = 0
	}
	for {
		res, err := s.meta.TrimEvents(ctx, age, trimLimit)
		if err != nil {
			return err
		}
		for reader, n := range res.Lost {
			s.notifications.lost.Add(n)
			s.log.Warn("events were given up that could not be sent for as long as notifications.keep; look at the endpoint",
				"endpoint", strings.TrimPrefix(reader, webhookReader), "events", n)
		}
		if res.Events < trimLimit {
			return nil
		}
	}
}
