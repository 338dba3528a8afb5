package registry2

import (
	"crypto/tls"
	"net"
	"slices"
	"strings"

	"berth/internal/yamltree"
)

// http says where the registry is: what it listens on, and how it is called from
// outside.
func (t *translation) http() {
	h := t.root.field("http")
	t.listen(h)
	if host := h.field("host"); host != nil {
		t.set(host, "http.external_url", strings.TrimRight(host.value(), "/"))
		if !h.field("relativeurls").on() {
			t.set(host, "http.locations", "absolute")
		}
	}
	if relative := h.field("relativeurls"); relative.on() {
		t.set(relative, "http.locations", "relative")
	} else if relative != nil && h.field("host") == nil {
		t.noteAt("http.relativeurls", relative.origin, "locations in answers are relative all the same, which works behind any proxy: set http.host for absolute ones")
	}
	if p := h.field("prefix"); p != nil {
		if path := strings.Trim(p.value(), "/"); path != "" {
			t.set(p, "http.prefix", "/"+path)
		}
	}
	if n := h.find("http2.disabled"); n != nil {
		t.set(n, "http.http2", not(n))
	}
	if n := h.field("headers"); n != nil && n.kind == yamltree.Map {
		t.set(n, "http.headers", flowLists(n))
	}
}

// listen joins the address with its network.
func (t *translation) listen(h *node) {
	addr, network := h.field("addr"), h.field("net")
	switch network.value() {
	case "", "tcp":
		if addr != nil {
			t.list(addr, "http.listen", []string{addr.value()}) // one address, whatever commas it holds
		}
	case "unix":
		if addr == nil {
			t.refuse("http.net", network.origin, "asks for a socket, but http.addr does not name one")
			return
		}
		t.list(addr, "http.listen", []string{"unix:" + addr.value()})
	default:
		t.refuse("http.net", network.origin, "asks for another network than tcp or unix, which Berth does not listen on")
	}
}

// not returns the opposite of a truth value. What is none stays what it is, so
// that it is found wrong.
func not(n *node) string {
	switch {
	case n.on():
		return "false"
	case slices.Contains([]string{"false", "no", "off", "n"}, strings.ToLower(n.value())):
		return "true"
	}
	return n.value()
}

// tls says what the door is guarded with.
func (t *translation) tls() {
	n := t.root.find("http.tls")
	if m := n.field("minimumtls"); m != nil {
		version := strings.TrimPrefix(m.value(), "tls")
		if version == "1.0" || version == "1.1" {
			t.noteAt("http.tls.minimumtls", m.origin, "TLS 1.0 and 1.1 are broken, and Berth does not speak them: 1.2 is the oldest")
			version = "1.2"
		}
		t.set(m, "http.tls.minimum", version)
	}
	t.ciphers(n.field("ciphersuites"))
	t.clientCertificates(n)
	t.letsEncrypt(n)
}

// ciphers leaves out what cannot be chosen: the suites of TLS 1.3, which are
// always on, and those that are broken.
func (t *translation) ciphers(n *node) {
	if n == nil {
		return
	}
	var choice, left []string
	for _, name := range n.texts() {
		suites := tls.CipherSuites()
		i := slices.IndexFunc(suites, func(s *tls.CipherSuite) bool { return s.Name == name })
		switch {
		case i >= 0 && slices.Contains(suites[i].SupportedVersions, tls.VersionTLS12):
			choice = append(choice, name)
		case i >= 0, slices.ContainsFunc(tls.InsecureCipherSuites(), func(s *tls.CipherSuite) bool { return s.Name == name }):
			left = append(left, name)
		default:
			choice = append(choice, name) // a wrong name is found wrong
		}
	}
	if len(left) > 0 {
		t.noteAt("http.tls.ciphersuites", n.origin, "these are broken or belong to TLS 1.3, where nobody chooses: "+strings.Join(left, ", ")+" are left out")
	}
	if len(choice) > 0 {
		t.list(n, "http.tls.ciphers", choice)
	}
}

// clientCertificates says what is asked of clients. Without authorities
// registry:2 asks nothing, whatever clientauth says.
func (t *translation) clientCertificates(n *node) {
	const path = "http.tls.clientauth"
	auth, authorities := n.field("clientauth"), n.field("clientcas")
	kinds := map[string]string{
		"request-client-cert": "request", "require-any-client-cert": "require",
		"verify-client-cert-if-given": "verify", "require-and-verify-client-cert": "require_and_verify",
	}
	kind, known := kinds[auth.value()]
	if auth != nil && !known {
		t.refuse(path, auth.origin, "is none of its values: write request-client-cert, require-any-client-cert, verify-client-cert-if-given or require-and-verify-client-cert")
		return
	}
	if authorities == nil || len(authorities.items) == 0 {
		if auth != nil {
			t.noteAt(path, auth.origin, "asks nothing of clients without http.tls.clientcas, as with registry:2: ignored")
		}
		return
	}
	t.list(authorities, "http.tls.client_ca", authorities.texts())
	if auth == nil {
		t.set(authorities, "http.tls.client_auth", "require_and_verify")
		return
	}
	t.set(auth, "http.tls.client_auth", kind)
}

// letsEncrypt takes the section if it names its cache, as registry:2 does.
func (t *translation) letsEncrypt(tls *node) {
	const path = "http.tls.letsencrypt"
	n := tls.field("letsencrypt")
	cache := n.field("cachefile")
	if cache == nil {
		if n != nil && len(n.fields) > 0 {
			t.noteAt(path, n.origin, "is off without cachefile, as with registry:2: ignored")
		}
		return
	}
	hosts := n.field("hosts")
	switch {
	case tls.field("certificate") != nil:
		t.refuse(path, n.origin, "gets certificates, and http.tls.certificate names one: remove one of them")
		return
	case hosts == nil || len(hosts.items) == 0:
		t.refuse(path, n.origin, "names no hosts to get certificates for: set "+path+".hosts")
		return
	}
	t.set(cache, "http.tls.acme.cache", cache.value())
	t.set(cache, "http.tls.acme.listen", "") // registry:2 is asked on its own port only
	t.list(hosts, "http.tls.acme.hosts", hosts.texts())
	if email := n.field("email"); email != nil {
		t.set(email, "http.tls.acme.email", email.value())
	}
	if directory := n.field("directoryurl"); directory != nil {
		t.set(directory, "http.tls.acme.directory", directory.value())
	}
}

// debug says what the listener for the operator serves. registry:2 has no numbers
// for Prometheus there unless they are asked for.
func (t *translation) debug() {
	d := t.root.find("http.debug")
	addr := d.field("addr")
	if addr == nil {
		if d != nil && len(d.fields) > 0 {
			t.noteAt("http.debug", d.origin, "is off without addr, as with registry:2: ignored")
		}
		return
	}
	address := addr.value()
	if host, port, err := net.SplitHostPort(address); err == nil && host == "" {
		address = "0.0.0.0:" + port
		t.noteAt("http.debug.addr", addr.origin, "every network reaches this without log-in: write 127.0.0.1:"+port+" if only this machine shall")
	}
	t.set(addr, "metrics.listen", address)
	p := d.field("prometheus")
	if enabled := p.field("enabled"); enabled != nil {
		t.set(enabled, "metrics.prometheus", enabled.value())
	} else {
		t.set(addr, "metrics.prometheus", "false")
	}
	if path := p.field("path"); path != nil {
		t.set(path, "metrics.path", path.value())
	}
}
