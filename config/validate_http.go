package config

import (
	"net/textproto"
	"net/url"
	"path"
	"slices"
	"strings"
)

func (k *checker) http(h HTTP) {
	for i, address := range h.Listen {
		path := element("http.listen", i)
		text := badAddress(address, "")
		if socket, ok := socketPath(address); ok {
			text = badSocket(socket)
		}
		if text != "" {
			k.add(path, "%s", text)
			continue
		}
		if first := slices.Index(h.Listen, address); first < i && !anyPort(address) {
			k.add(path, "%q is the same as %s: remove one", address, element("http.listen", first))
		}
	}
	if h.Prefix != "" {
		if text := badPrefix(h.Prefix); text != "" {
			k.add("http.prefix", "%s", text)
		}
	}
	if h.ExternalURL != "" {
		k.externalURL(h.ExternalURL, h.Prefix)
	}
	for i, p := range h.TrustedProxies {
		if !p.IsValid() {
			k.add(element("http.trusted_proxies", i), "is no network: write one such as 10.0.0.0/8")
		}
	}
	k.headers(h.Headers)
	oneOf(k, "http.locations", h.Locations, LocationsRelative, LocationsAbsolute)
}

// externalURL checks the URL. What is wrong is told without repeating it, since
// it may hold a password.
func (k *checker) externalURL(text, prefix string) {
	const path = "http.external_url"
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		k.add(path, "is no URL: write one such as https://registry.example.com")
	case u.User != nil:
		k.add(path, "holds a user or a password, which everybody would see: remove them")
	case strings.TrimSuffix(u.Path, "/") != "" && prefix == "":
		k.cross(path, []string{"http.prefix"}, "has the path %q, but everything is served at the root, where docker looks for it: write %s://%s, or set http.prefix to that path", u.Path, u.Scheme, u.Host)
	case strings.TrimSuffix(u.Path, "/") != "" && strings.TrimSuffix(u.EscapedPath(), "/") != prefix:
		k.cross(path, []string{"http.prefix"}, "has the path %q and http.prefix is %q: they must be the same", u.Path, prefix)
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(text, "#"):
		k.add(path, "has a query or a fragment: write %s://%s", u.Scheme, u.Host)
	}
}

// socketPath returns the path of an address that is a socket.
func socketPath(address string) (string, bool) { return strings.CutPrefix(address, "unix:") }

// badSocket returns what is wrong with the path of a socket. How long it may be
// depends on the system, and is found when it is opened.
func badSocket(name string) string {
	switch {
	case strings.HasPrefix(name, "//"):
		return "a socket is written with one colon: unix:/run/berth/berth.sock"
	case name == "" || strings.HasSuffix(name, "/"):
		return "names no socket: write its path, such as unix:/run/berth/berth.sock"
	case path.Clean(name) != name:
		return "has a path that is not clean: write unix:" + path.Clean(name)
	}
	return ""
}

// badPrefix returns what is wrong with a prefix. A good one is one or more times
// a slash and a name that reads the same escaped and not.
func badPrefix(prefix string) string {
	const example = "write one such as /registry"
	switch {
	case prefix == "/":
		return "is the root: remove it"
	case prefix[0] != '/':
		return "does not begin with a slash: " + example
	case strings.HasSuffix(prefix, "/"):
		return "ends in a slash: write " + strings.TrimRight(prefix, "/")
	case path.Clean(prefix) != prefix:
		return "is no clean path: write " + path.Clean(prefix)
	case strings.Trim(prefix, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-") != "" || !isHost(strings.ReplaceAll(prefix, "/", "")):
		return "holds something else than letters, digits, dots, dashes and underlines: " + example
	}
	return ""
}

// headers checks the headers that are added to answers.
func (k *checker) headers(headers map[string][]string) {
	const path = "http.headers"
	names := make([]string, 0, len(headers))
	for name := range headers {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		switch {
		case !isToken(name):
			k.add(path, "%q is no name of a header: write letters, digits and dashes", name)
		case ownHeader(textproto.CanonicalMIMEHeaderKey(name)):
			k.add(path, "%q is for the registry to write, clients go by it: remove it", name)
		}
		for _, value := range headers[name] {
			if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
				k.add(path, "the value of %q holds a control character or a line break: remove it", name)
			}
		}
	}
}

// isToken reports whether s is a token of RFC 9110, section 5.6.2.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
		return !letter && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	})
}

// ownHeader reports whether a header says how an answer is to be read, or is
// part of what is answered: none that an operator could choose.
func ownHeader(canonical string) bool {
	switch canonical {
	case "Connection", "Content-Encoding", "Content-Length", "Content-Range", "Content-Type", "Keep-Alive", "Link", "Location",
		"Range", "Set-Cookie", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Www-Authenticate",
		"Docker-Content-Digest", "Docker-Upload-Uuid", "Etag", "Oci-Subject", "X-Request-Id":
		return true
	}
	return false
}
