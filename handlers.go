package berth

import (
	"net/http"
	"strings"

	"berth/internal/auth"
	"berth/internal/distapi"
	"berth/internal/ops"
	"berth/internal/registry"
	"berth/internal/webui"
)

// clientHandler is everything that clients can reach.
func (s *Server) clientHandler() http.Handler {
	api := &distapi.Handler{
		Auth:        s.login.authenticator(),
		Open:        s.open,
		Policy:      s.login.policy,
		Tokens:      s.login.tokens,
		Realm:       s.cfg.Auth.Realm,
		MaxManifest: int64(s.cfg.Manifests.MaxSize),
		ExternalURL: strings.TrimSuffix(s.cfg.HTTP.ExternalURL, "/"),
		Peer:        s.peer,
		Known:       s.login.known,
		Observe:     observe,
		Log:         s.log,
	}
	pages := http.NewServeMux()
	pages.Handle("/healthz", s.health.Liveness(ops.Bare))
	pages.Handle("/readyz", s.health.Readiness(ops.Bare))
	pages.Handle("/", webui.Home(webui.Options{Host: s.externalHost(), LogIn: s.login.users != nil}))
	return s.record(split(api, pages))
}

// split sends the API its requests before http.ServeMux can clean their paths
// and redirect them: a name that is not clean is an error, and one to answer in
// JSON.
func split(api, pages http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p := r.URL.EscapedPath(); p == "/v2" || strings.HasPrefix(p, "/v2/") {
			api.ServeHTTP(w, r)
			return
		}
		pages.ServeHTTP(w, r)
	})
}

// adminHandler is the API for the operator.
func (s *Server) adminHandler() http.Handler {
	return &distapi.Handler{
		Open:        func(auth.Principal) registry.Service { return s.core },
		Policy:      auth.AllowAll{},
		MaxManifest: int64(s.cfg.Manifests.MaxSize),
		Log:         s.log,
	}
}

// peer tells the API who sent a request.
func (s *Server) peer(r *http.Request) distapi.Peer {
	p := s.proxies.Peer(r)
	return distapi.Peer{Addr: p.Addr, Scheme: p.Scheme, Host: p.Host}
}
