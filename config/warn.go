package config

import (
	"net"
	"slices"
)

// Warnings returns what is allowed but hardly meant, in sentences for the
// operator: what a server should log when it starts with c.
func (c Config) Warnings() []string {
	c = c.Derive()
	var all []string
	open := c.reachable()
	if open != "" && !c.Auth.LogIn() && len(c.Access) == 0 {
		all = append(all, "http.listen is "+open+" and no log-in is configured: everybody who reaches this machine may push, pull and delete; set auth.htpasswd.path, or listen on 127.0.0.1:5000")
	}
	if open != "" && c.Auth.LogIn() && !c.HTTP.TLS.Enabled() && len(c.HTTP.TrustedProxies) == 0 {
		all = append(all, "http.listen is "+open+" and there is no TLS: passwords cross the network readable, and docker refuses to log in from other machines; set http.tls.certificate and http.tls.key, or put a proxy with TLS in front and name it in http.trusted_proxies")
	}
	if len(c.Access) > 0 && c.Auth.Anonymous == AnonymousPull {
		all = append(all, "auth.anonymous has no effect beside access: write the rule {anonymous: true, allow: [pull]} there, and remove auth.anonymous")
	}
	for i, r := range c.Access {
		if open != "" && r.Anonymous && len(r.Addresses) == 0 && slices.ContainsFunc(r.Allow, func(a Allowed) bool { return a != AllowPull }) {
			all = append(all, element("access", i)+" lets everybody do more than pull, from anywhere and without log-in: give it addresses, or users instead of anonymous")
		}
	}
	for _, p := range c.HTTP.TrustedProxies {
		if p.Bits() == 0 {
			all = append(all, "http.trusted_proxies holds "+p.String()+": everybody may then claim any address; name the proxies alone")
		}
	}
	if c.GC.Grace < c.GC.Delay {
		all = append(all, "gc.grace is shorter than gc.delay: a push that takes longer than gc.grace may have to be repeated")
	}
	return all
}

// reachable returns the first address that other machines can reach, or
// nothing. They can't reach a socket.
func (c Config) reachable() string {
	i := slices.IndexFunc(c.HTTP.Listen, func(address string) bool {
		if _, socket := socketPath(address); socket {
			return false
		}
		host, _, err := net.SplitHostPort(address)
		return err == nil && !loopback(host)
	})
	if i < 0 {
		return ""
	}
	return c.HTTP.Listen[i]
}
