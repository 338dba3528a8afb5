package berth

import (
	"maps"
	"net/http"
	"strings"

	"berth/internal/api"
	"berth/internal/auth"
	"berth/internal/distapi"
	"berth/internal/event"
	"berth/internal/listen"
	"berth/internal/ops"
	"berth/internal/registry"
	"berth/internal/webui"
)

// openHandlers sets up what clients and the operator reach.
func (s *Server) openHandlers() {
	s.clients = s.clientHandler(s.newAPI(s.open, func(by event.Actor) api.Core { return s.core.As(by) }))
	s.admin = s.adminHandler(s.newAPI(s.openToOperator, func(by event.Actor) api.Core { return s.core.As(byOperator(by)) }))
}

// clientHandler is everything that clients can reach.
func (s *Server) clientHandler(rest *api.Handler) http.Handler {
	headers := listen.NewHeaders(s.cfg.HTTP.Headers)
	dist := &distapi.Handler{
		Auth:        s.login.authenticator(),
		ProxyHeader: s.login.proxy,
		Open:        s.open,
		Pulled:      s.pulled(),
		Used:        s.meta.NoteUse,
		Policy:      s.login.policy,
		Tokens:      s.login.tokens,
		TokenServer: s.login.server,
		Realm:       s.cfg.Auth.Realm,
		MaxManifest: int64(s.cfg.Manifests.MaxSize),
		ExternalURL: s.externalURL(),
		Prefix:      s.cfg.HTTP.Prefix,
		Locations:   s.locations(),
		CrossSite:   headers.CrossSite,
		Peer:        s.peer,
		Known:       s.login.known,
		CatalogMax:  s.cfg.Lists.CatalogMax,
		TagsMax:     s.cfg.Lists.TagsMax,
		Begin:       begin,
		Observe:     observe,
		Log:         s.log,
	}
	return s.record(s.below(router{
		api:   headers.Wrap(s.unlessClosed(dist)),
		rest:  listen.NewHeaders(sameSite(s.cfg.HTTP.Headers)).Wrap(s.unlessClosed(beside(dist, rest))),
		live:  headers.Wrap(s.health.Liveness(ops.Bare)),
		ready: headers.Wrap(s.health.Readiness(ops.Bare)),
		page:  headers.Wrap(s.unlessClosed(webui.Home(webui.Options{Host: s.externalHost(), LogIn: s.cfg.Auth.LogIn()}))),
	}))
}

// A router sends requests on by their path as it was sent. http.ServeMux would
// clean it and redirect, where a path that is not clean is an error, and one
// that the API answers in JSON.
type router struct {
	api, rest, live, ready, page http.Handler
}

// ServeHTTP serves one request.
func (rt router) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch p := r.URL.EscapedPath(); {
	case p == "/v2" || strings.HasPrefix(p, "/v2/"):
		rt.api.ServeHTTP(w, r)
	case isRest(p):
		rt.rest.ServeHTTP(w, r)
	case p == "/healthz":
		rt.live.ServeHTTP(w, r)
	case p == "/readyz":
		rt.ready.ServeHTTP(w, r)
	default:
		rt.page.ServeHTTP(w, r)
	}
}

// peer tells the API who sent a request.
func (s *Server) peer(r *http.Request) distapi.Peer {
	p := s.proxies.Peer(r)
	return distapi.Peer{Addr: p.Addr, Scheme: p.Scheme, Host: p.Host, Trusted: p.Trusted}
}

// newAPI returns the handler of what is at /api/v1/, over what open opens.
func (s *Server) newAPI(open func(auth.Principal, event.Actor) registry.Service, core func(event.Actor) api.Core) *api.Handler {
	return api.New(api.Options{
		Version: s.version, ReadOnly: s.cfg.ReadOnly,
		Open: open, Core: core, History: s.meta, Usage: s.measuring,
		Retention: retaining{s}, Background: background{s}, Now: s.now,
		Begin: func(w http.ResponseWriter, operation string) { ops.SetRoute(w, "api_"+operation) },
	})
}

// beside serves rest to those who log in as they do to dist.
func beside(dist *distapi.Handler, rest *api.Handler) http.Handler {
	return dist.Beside(func(w http.ResponseWriter, r *http.Request, c distapi.Caller) error {
		if !c.Principal.Anonymous() {
			ops.SetUser(w, c.Principal.Name)
			ops.SetLogIn(w, string(c.Principal.Via))
		}
		return rest.ServeHTTP(w, r, api.Caller{Principal: c.Principal, By: c.By, Check: c.Check, Enter: c.Enter, Readable: c.Readable})
	})
}

// isRest reports whether a path is of the API that rest serves.
func isRest(path string) bool {
	return path == api.Prefix || strings.HasPrefix(path, api.Prefix+"/")
}

// sameSite returns headers without those that let pages of other sites in: what is
// configured for them is meant for pages that pull.
func sameSite(headers map[string][]string) map[string][]string {
	headers = maps.Clone(headers)
	maps.DeleteFunc(headers, func(key string, _ []string) bool {
		return strings.HasPrefix(strings.ToLower(key), "access-control-")
	})
	return headers
}
