package config

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// badAddress returns what is wrong with an address to listen on, and how to
// mend it; nothing if it is good: a port after a colon, and before it nothing,
// an IP address (v6 in brackets), or a host name. The mends it proposes name
// host where the person named none.
func badAddress(address, host string) string {
	if _, rest, found := strings.Cut(address, "://"); found {
		return fmt.Sprintf("%q is a URL: write the host and the port alone, such as %s", address, exampleFor(rest))
	}
	if a, err := netip.ParseAddr(address); err == nil && a.Is6() {
		return fmt.Sprintf("%q is an IPv6 address without brackets and port: write %q", address, bracketed(address))
	}
	given, port, err := net.SplitHostPort(address)
	if err != nil {
		return badParts(address, host)
	}
	if n, err := strconv.ParseUint(port, 10, 64); err != nil || n > 65535 {
		return fmt.Sprintf("%q has the port %q: write a number from 1 to 65535", address, port)
	}
	if given == "*" {
		return fmt.Sprintf("%q has a star: write \"0.0.0.0:%s\" for every network", address, port)
	}
	if !isHost(given) {
		return fmt.Sprintf("%q has the host %q, which is neither an address nor a name: write one such as 127.0.0.1:%s", address, given, port)
	}
	return ""
}

// bracketed returns an IPv6 address with a port. A last group that was meant
// as the port, as in ::1:5000, becomes it.
func bracketed(address string) string {
	i := strings.LastIndex(address, ":")
	host, port := address[:i], address[i+1:]
	if _, err := netip.ParseAddr(host); err == nil && len(port) >= 4 && isNumber(port) {
		return net.JoinHostPort(host, port)
	}
	return net.JoinHostPort(address, "5000")
}

// badParts explains an address that has no host and port to begin with.
func badParts(address, host string) string {
	switch {
	case isNumber(address):
		return fmt.Sprintf("%q has no colon: write \"%s:%s\"", address, host, address)
	case strings.Count(address, ":") > 1 && !strings.Contains(address, "["):
		return fmt.Sprintf("%q has too many colons: write IPv6 addresses in brackets, such as \"[::1]:5000\"", address)
	case address != "" && !strings.Contains(address, ":") && isHost(address):
		return fmt.Sprintf("%q has no port: write \"%s:5000\"", address, address)
	}
	return fmt.Sprintf("%q is no address to listen on: write a host and a port, such as \"127.0.0.1:5000\"", address)
}

// exampleFor returns the host and port of the rest of a URL, or an example.
func exampleFor(rest string) string {
	hostPort, _, _ := strings.Cut(rest, "/")
	if _, _, err := net.SplitHostPort(hostPort); err == nil && !strings.Contains(hostPort, "@") {
		return strconv.Quote(hostPort)
	}
	return `"127.0.0.1:5000"`
}

// isHost reports whether host is empty, an IP address, or looks like a name.
func isHost(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return !strings.ContainsFunc(host, func(r rune) bool {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
		return !letter && r != '-' && r != '.' && r != '_'
	})
}

// anyPort reports whether the system chooses the port of a good address.
func anyPort(address string) bool {
	_, port, _ := net.SplitHostPort(address)
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n == 0
}

// collide reports whether two good addresses cannot be listened on together:
// the same port, and hosts of which one includes the other.
func collide(a, b string) bool {
	hostA, portA, _ := net.SplitHostPort(a)
	hostB, portB, _ := net.SplitHostPort(b)
	if portA != portB || anyPort(a) {
		return false
	}
	return hostA == hostB || everyNetwork(hostA) || everyNetwork(hostB)
}

// everyNetwork reports whether listening on host is listening on all networks.
func everyNetwork(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "" || err == nil && a.IsUnspecified()
}

// loopback reports whether listening on host reaches this machine only.
func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && a.Unmap().IsLoopback()
}
