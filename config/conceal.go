package config

import (
	"net/url"
	"slices"
)

// hidden stands where a secret was.
const hidden = "HIDDEN"

// Conceal returns l as it may be shown to others: what endpoints and health checks
// are sent in headers, and users, passwords and queries of their addresses, may be
// secrets and are hidden. All other secrets are in files.
func (l *Loaded) Conceal() *Loaded {
	shown := *l
	shown.Config.Notifications.Endpoints = slices.Clone(l.Config.Notifications.Endpoints)
	for i, e := range shown.Config.Notifications.Endpoints {
		shown.Config.Notifications.Endpoints[i].URL = concealURL(e.URL)
		shown.Config.Notifications.Endpoints[i].Headers = concealHeaders(e.Headers)
	}
	shown.Config.Health.HTTP = slices.Clone(l.Config.Health.HTTP)
	for i, c := range shown.Config.Health.HTTP {
		shown.Config.Health.HTTP[i].URL = concealURL(c.URL)
		shown.Config.Health.HTTP[i].Headers = concealHeaders(c.Headers)
	}
	return &shown
}

func concealURL(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return hidden
	}
	if u.User != nil {
		u.User = url.User(hidden)
	}
	if u.RawQuery != "" {
		u.RawQuery = hidden
	}
	return u.String()
}

func concealHeaders(headers map[string][]string) map[string][]string {
	if headers == nil {
		return nil
	}
	shown := make(map[string][]string, len(headers))
	for name, values := range headers {
		shown[name] = slices.Repeat([]string{hidden}, len(values))
	}
	return shown
}
