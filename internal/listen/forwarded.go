package listen

import (
	"cmp"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
)

// A Peer is who a request comes from and how its sender addressed us, as far as
// that can be believed.
type Peer struct {
	Addr    netip.Addr // of the client; invalid if it has none (a unix socket)
	Scheme  string     // "http" or "https"
	Host    string     // what the client addressed; with the port, if it named one
	Trusted bool       // the connection comes from a configured proxy, or over a unix socket
}

// ProxyOptions are what NewProxies needs.
type ProxyOptions struct {
	// Trusted are the addresses of the proxies whose headers are believed.
	Trusted []netip.Prefix

	// Setting is the name of the setting that Trusted comes from; it is named
	// in the hint that is logged.
	Setting string

	Log *slog.Logger // nil discards
}

// Proxies decides what is believed of X-Forwarded-For, X-Real-IP, Forwarded,
// X-Forwarded-Proto and X-Forwarded-Host. It may be used concurrently.
type Proxies struct {
	trusted []netip.Prefix
	setting string
	log     *slog.Logger
	hint    sync.Once
}

// NewProxies returns Proxies that believe the headers of o.Trusted.
func NewProxies(o ProxyOptions) *Proxies {
	p := &Proxies{setting: o.Setting, log: cmp.Or(o.Log, slog.New(slog.DiscardHandler))}
	for _, prefix := range o.Trusted {
		p.trusted = append(p.trusted, unmap(prefix))
	}
	return p
}

// Peer tells who sent r.
//
// Headers count only if the connection comes from a trusted address. The client
// is the rightmost address of X-Forwarded-For that isn't itself trusted: what
// stands further left was written by that client. Without X-Forwarded-For the
// for= of Forwarded is read the same way, and without both X-Real-IP. A proxy
// must therefore set or remove these headers, not pass its clients' through.
// Whoever may open a unix socket, which its mode says, is trusted.
//
// The first request with such headers from a private address that is not
// trusted is logged with the line that would make it so.
func (p *Proxies) Peer(r *http.Request) Peer {
	peer := Peer{Addr: farEndOf(r).addr, Scheme: "http", Host: r.Host}
	if r.TLS != nil {
		peer.Scheme = "https"
	}
	if !p.trusts(peer.Addr) && (peer.Addr.IsValid() || !overSocket(r)) {
		p.hintAt(peer.Addr, r.Header)
		return peer
	}
	peer.Trusted = true
	fwd := parseForwarded(r.Header.Values("Forwarded"))
	peer.Addr = p.client(peer.Addr, r.Header, fwd)
	if s, ok := forwardedScheme(r.Header, fwd); ok {
		peer.Scheme = s
	}
	if h, ok := forwardedHost(r.Header, fwd); ok {
		peer.Host = h
	}
	return peer
}

// Client returns the address that Peer tells, as text; empty if it has none.
func (p *Proxies) Client(r *http.Request) string {
	c := farEndOf(r)
	if c.addr.IsValid() && !p.trusts(c.addr) {
		return c.text
	}
	if a := p.Peer(r).Addr; a.IsValid() {
		return a.String()
	}
	return ""
}

// client walks the addresses that proxies noted from the nearest to the first
// that isn't trusted. An entry that is no address ends the walk: the one before
// it is the last that is known.
func (p *Proxies) client(nearest netip.Addr, h http.Header, fwd []forwardedHop) netip.Addr {
	var chain []string
	switch {
	case len(h.Values("X-Forwarded-For")) > 0:
		chain = splitList(h.Values("X-Forwarded-For"))
	case len(fwd) > 0:
		for _, hop := range fwd {
			chain = append(chain, hop.client)
		}
	case len(h.Values("X-Real-Ip")) == 1:
		chain = h.Values("X-Real-Ip")
	}
	client := nearest
	for _, entry := range slices.Backward(chain) {
		addr, ok := parseNode(entry)
		if !ok {
			return client
		}
		client = addr
		if !p.trusts(addr) {
			return client
		}
	}
	return client
}

func (p *Proxies) trusts(a netip.Addr) bool {
	return a.IsValid() && slices.ContainsFunc(p.trusted, func(t netip.Prefix) bool { return t.Contains(a) })
}

// hintAt logs once that a proxy seems to be there which isn't configured.
func (p *Proxies) hintAt(a netip.Addr, h http.Header) {
	if !isNear(a) || !isForwarded(h) {
		return
	}
	p.hint.Do(func() {
		p.log.Warn("a proxy forwards requests but isn't trusted: its own address stands for all of its clients. "+
			"If it is yours, add its address to the trusted ones",
			"proxy", a.String(),
			"add", fmt.Sprintf("%s: [%q]", p.setting, netip.PrefixFrom(a, a.BitLen()).String()))
	})
}

// isNear reports whether a is of this machine or of a private network.
func isNear(a netip.Addr) bool {
	return a.IsLoopback() || a.IsPrivate() || a.IsLinkLocalUnicast() ||
		netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64}), 10).Contains(a) // carrier-grade NAT, RFC 6598
}

func isForwarded(h http.Header) bool {
	return h["X-Forwarded-For"] != nil || h["X-Real-Ip"] != nil || h["Forwarded"] != nil || h["X-Forwarded-Proto"] != nil
}

// overSocket reports whether r came over a unix socket.
func overSocket(r *http.Request) bool {
	_, ok := r.Context().Value(http.LocalAddrContextKey).(*net.UnixAddr)
	return ok
}

// unmap makes a prefix of IPv4-mapped addresses one of IPv4 addresses.
func unmap(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked()
}

// splitList splits header lines that hold lists into their elements.
func splitList(lines []string) []string {
	return strings.Split(strings.Join(lines, ","), ",")
}
