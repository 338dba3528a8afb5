package berth

import (
	"net/http"
	"net/url"
	"strings"

	"berth/config"
	"berth/internal/distapi"
	"berth/internal/listen"
)

// externalURL is where clients find the registry, prefix included; empty if
// that is not configured.
func (s *Server) externalURL() string {
	u, err := url.Parse(s.cfg.HTTP.ExternalURL)
	if err != nil || u.Host == "" {
		return ""
	}
	return u.Scheme + "://" + u.Host + s.cfg.HTTP.Prefix
}

// externalHost is the host of external_url; empty without one.
func (s *Server) externalHost() string {
	u, err := url.Parse(s.cfg.HTTP.ExternalURL)
	if err != nil {
		return ""
	}
	return u.Host
}

func (s *Server) locations() distapi.Form {
	if s.cfg.HTTP.Locations == config.LocationsAbsolute {
		return distapi.Absolute
	}
	return distapi.Relative
}

// below puts everything below the prefix. What people and probes look for is
// found without it, too.
func (s *Server) below(inside router) http.Handler {
	outside := inside
	outside.rest = outside.page
	outside.api = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "The registry is at "+s.cfg.HTTP.Prefix+"/v2/.", http.StatusNotFound)
	})
	return listen.Below(s.cfg.HTTP.Prefix, inside, outside)
}

// addresses are where clients come in. That a machine has no IPv6 is not an
// error where nobody asked for it. The proxies that may connect to a socket are
// those of its group.
func (s *Server) addresses() []listen.Address {
	var list []listen.Address
	for _, text := range s.cfg.HTTP.Listen {
		a := listen.ParseAddress(text)
		a.Optional, a.Mode = strings.HasPrefix(text, "[::1]:"), 0o660
		list = append(list, a)
	}
	return list
}
