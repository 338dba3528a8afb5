package config

import (
	"crypto/tls"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

func (k *checker) tls(t TLS) {
	const certificate, key, auth, ca = "http.tls.certificate", "http.tls.key", "http.tls.client_auth", "http.tls.client_ca"
	switch {
	case t.Certificate != "" && t.Key == "":
		k.cross(certificate, []string{key}, "has no key: set %s to the file with the certificate's private key", key)
	case t.Certificate == "" && t.Key != "":
		k.cross(key, []string{certificate}, "has no certificate: set %s to the file with the certificate", certificate)
	case t.Certificate != "" && t.ACME.Enabled():
		k.cross(certificate, []string{"http.tls.acme.hosts"}, "is set and so is http.tls.acme.hosts: either the certificate is in a file, or it comes by ACME; remove one")
	}
	switch t.Minimum {
	case "1.0", "1.1":
		k.add("http.tls.minimum", "TLS %s is broken and not spoken any more: write 1.2, which docker speaks since it speaks to registries of this kind", string(t.Minimum))
	default:
		oneOf(k, "http.tls.minimum", t.Minimum, TLS12, TLS13)
	}
	for i, name := range t.Ciphers {
		if _, text := cipherSuite(name); text != "" {
			k.add(element("http.tls.ciphers", i), "%s", text)
		}
	}
	oneOf(k, auth, t.ClientAuth, ClientAuthNone, ClientAuthRequest, ClientAuthRequire, ClientAuthVerify, ClientAuthRequireAndVerify)
	verifies := t.ClientAuth == ClientAuthVerify || t.ClientAuth == ClientAuthRequireAndVerify
	switch {
	case verifies && len(t.ClientCA) == 0:
		k.cross(auth, []string{ca}, "is %s, but %s is empty: name the file with the authority of your clients' certificates", string(t.ClientAuth), ca)
	case !verifies && len(t.ClientCA) > 0:
		k.cross(ca, []string{auth}, "is set, but %s is %s, which verifies no certificate: write %s: %s", auth, string(t.ClientAuth), auth, string(ClientAuthRequireAndVerify))
	case t.ClientAuth != ClientAuthNone && !t.Enabled():
		k.cross(auth, []string{certificate}, "is %s, but there is no TLS: set %s and %s, or http.tls.acme.hosts", string(t.ClientAuth), certificate, key)
	}
	for i, file := range t.ClientCA {
		if strings.TrimSpace(file) == "" {
			k.add(element(ca, i), "is empty: name a file")
		}
	}
}

// CipherSuites returns the numbers of the suites that t.Ciphers names. Those of
// TLS 1.3 are not among them: they are always on.
func (t TLS) CipherSuites() []uint16 {
	var ids []uint16
	for _, name := range t.Ciphers {
		if id, _ := cipherSuite(name); id != 0 {
			ids = append(ids, id)
		}
	}
	return ids
}

// cipherSuite returns the suite of TLS 1.2 that is called name, 0 for one of TLS
// 1.3, and otherwise what is wrong with the name.
func cipherSuite(name string) (id uint16, wrong string) {
	var names []string
	for _, s := range tls.CipherSuites() {
		old := slices.Contains(s.SupportedVersions, tls.VersionTLS12)
		switch {
		case s.Name != name && old:
			names = append(names, s.Name)
		case s.Name == name && old:
			return s.ID, ""
		case s.Name == name:
			return 0, ""
		}
	}
	known := strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
	if slices.ContainsFunc(tls.InsecureCipherSuites(), func(s *tls.CipherSuite) bool { return s.Name == name }) {
		return 0, name + " is weak and not spoken: remove it; there is " + known
	}
	return 0, "is no cipher suite: write " + known
}

func (k *checker) acme(c Config) {
	const hosts, listen = "http.tls.acme.hosts", "http.tls.acme.listen"
	a := c.HTTP.TLS.ACME
	for i, host := range a.Hosts {
		if text := badACMEHost(host); text != "" {
			k.add(element(hosts, i), "%s", text)
		}
	}
	if (a.EABID == "") != (a.EABKey == "") {
		k.cross("http.tls.acme.eab_id", []string{"http.tls.acme.eab_key"}, "and http.tls.acme.eab_key belong together: set both, or none")
	}
	if a.Email != "" && (strings.Count(a.Email, "@") != 1 || strings.ContainsAny(a.Email, " ,:<>?")) {
		k.add("http.tls.acme.email", "is no address of mail: write one such as admin@example.com, or none")
	}
	if !a.Enabled() {
		if a.Email != "" || a.EABID != "" || a.CA != "" {
			k.add(hosts, "is empty, so no certificate is asked for: name the hosts, such as registry.example.com")
		}
		return
	}
	if u, err := url.Parse(a.Directory); err != nil || u.Host == "" || u.Scheme != "https" {
		k.add("http.tls.acme.directory", "is no https address: write that of the ACME server, such as %s", LetsEncrypt)
	}
	if a.Listen == "" {
		return
	}
	if text := badAddress(a.Listen, ""); text != "" {
		k.add(listen, "%s", text)
		return
	}
	for _, other := range c.Derive().HTTP.Listen {
		if badAddress(other, "") == "" && collide(a.Listen, other) {
			k.cross(listen, []string{"http.listen"}, "%q is taken by http.listen (%q): it must be another port, the one that port 80 of this host leads to", a.Listen, other)
		}
	}
}

// badACMEHost returns why no certificate can be had for a host.
func badACMEHost(host string) string {
	const example = "write a name such as registry.example.com"
	switch {
	case strings.HasPrefix(host, "*."):
		return "is a wildcard, which takes a change of the DNS that Berth can't make: name each host"
	case strings.ContainsAny(host, ":/@") && !isAddress(host):
		return "is no name of a host: " + example + ", without scheme and port"
	case isAddress(host):
		return "is an address: " + example
	case host == "" || !isHost(host) || strings.HasPrefix(host, ".") || strings.HasSuffix(host, ".") || strings.Contains(host, "_") || strings.Contains(host, ".."):
		return "is no name of a host: " + example + "; one outside of ASCII in its xn-- form"
	case !strings.Contains(host, "."):
		return "has no dot: a certificate is for a whole name, " + example
	case strings.ToLower(host) != host:
		return "has upper case letters: write " + strings.ToLower(host)
	}
	return ""
}

func isAddress(host string) bool {
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil
}
