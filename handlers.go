package berth

import (
	"net/http"
	"strings"

	"berth/internal/distapi"
	"berth/internal/listen"
	"berth/internal/ops"
	"berth/internal/webui"
)

// clientHandler is everything that clients can reach.
func (s *Server) clientHandler() http.Handler {
	headers := listen.NewHeaders(s.cfg.HTTP.Headers)
	api := &distapi.Handler{
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
	return s.record(headers.Wrap(s.below(router{
		api:   s.unlessClosed(api),
		live:  s.health.Liveness(ops.Bare),
		ready: s.health.Readiness(ops.Bare),
		page:  s.unlessClosed(webui.Home(webui.Options{Host: s.externalHost(), LogIn: s.cfg.Auth.LogIn()})),
	})))
}

// A router sends requests on by their path as it was sent. http.ServeMux would
// clean it and redirect, where a path that is not clean is an error, and one
// that the API answers in JSON.
type router struct {
	api, live, ready, page http.Handler
}

// ServeHTTP serves one request.
func (rt router) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch p := r.URL.EscapedPath(); {
	case p == "/v2" || strings.HasPrefix(p, "/v2/"):
		rt.api.ServeHTTP(w, r)
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
