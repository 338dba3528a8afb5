package listen

import (
	"net/http"
	"net/netip"
	"strings"
)

// A forwardedHop is one element of a Forwarded header (RFC 7239): what one
// proxy noted. Fields it didn't note are empty.
type forwardedHop struct {
	client, proto, host string
}

// parseForwarded reads Forwarded header lines, joined. From an element that is
// malformed it keeps what stood before the mistake.
func parseForwarded(lines []string) []forwardedHop {
	var hops []forwardedHop
	for _, element := range splitQuoted(strings.Join(lines, ","), ',') {
		if strings.TrimSpace(element) == "" {
			continue
		}
		var hop forwardedHop
		for _, pair := range splitQuoted(element, ';') {
			name, value, ok := strings.Cut(pair, "=")
			if !ok {
				break
			}
			value = unquote(strings.TrimSpace(value))
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "for":
				hop.client = value
			case "proto":
				hop.proto = value
			case "host":
				hop.host = value
			}
		}
		hops = append(hops, hop)
	}
	return hops
}

// splitQuoted splits s at sep where it is not within a quoted string.
func splitQuoted(s string, sep byte) []string {
	var parts []string
	start, quoted := 0, false
	for i := 0; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == sep && !quoted:
			parts = append(parts, s[start:i])
			start = i + 1
		}
	}
	return append(parts, s[start:])
}

// unquote takes the quotes and backslashes off a quoted string, and leaves
// anything else as it is.
func unquote(s string) string {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return s
	}
	var b strings.Builder
	s = s[1 : len(s)-1]
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// parseNode reads an address as proxies write it: with or without a port, an
// IPv6 address with or without brackets.
func parseNode(s string) (netip.Addr, bool) {
	s = strings.TrimSpace(s)
	a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	if err != nil {
		ap, err := netip.ParseAddrPort(s)
		if err != nil {
			return netip.Addr{}, false
		}
		a = ap.Addr()
	}
	return a.Unmap().WithZone(""), true
}

// forwardedScheme returns the scheme that the nearest proxy names, if it is
// http or https.
func forwardedScheme(h http.Header, fwd []forwardedHop) (string, bool) {
	s := nearestValue(h.Values("X-Forwarded-Proto"))
	if s == "" && len(fwd) > 0 {
		s = fwd[len(fwd)-1].proto
	}
	s = strings.ToLower(s)
	return s, s == "http" || s == "https"
}

// forwardedHost returns the host that the nearest proxy names, if it can be one.
func forwardedHost(h http.Header, fwd []forwardedHop) (string, bool) {
	s := nearestValue(h.Values("X-Forwarded-Host"))
	if s == "" && len(fwd) > 0 {
		s = fwd[len(fwd)-1].host
	}
	return s, isHost(s)
}

// nearestValue returns the last element of a list: what the proxy that is
// connected to us wrote.
func nearestValue(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	list := splitList(lines)
	return strings.TrimSpace(list[len(list)-1])
}

// isHost reports whether s could be the host of a URL, with or without a port.
func isHost(s string) bool {
	if s == "" || len(s) > 261 {
		return false
	}
	if rest, ok := strings.CutPrefix(s, "["); ok {
		inner, port, ok := strings.Cut(rest, "]")
		a, err := netip.ParseAddr(inner)
		return ok && err == nil && a.Zone() == "" && isPortSuffix(port)
	}
	name, port, ok := strings.Cut(s, ":")
	if name == "" || ok && !isPortSuffix(":"+port) {
		return false
	}
	for i := range len(name) {
		if c := name[i]; !isAlnum(c) && c != '-' && c != '.' && c != '_' {
			return false
		}
	}
	return true
}

// isPortSuffix reports whether s is empty or a colon and a port.
func isPortSuffix(s string) bool {
	if s == "" {
		return true
	}
	digits, ok := strings.CutPrefix(s, ":")
	return ok && digits != "" && len(digits) <= 5 && strings.Trim(digits, "0123456789") == ""
}

func isAlnum(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
