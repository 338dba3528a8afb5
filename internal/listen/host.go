package listen

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// A Host is whom a certificate is made for, as a person wrote it.
type Host struct {
	Name string // DNS name, perhaps with *. before it, or IP address; lower case
	Port string // as given; may be empty
}

// String returns the host as it stands in an image's name.
func (h Host) String() string {
	name := h.Name
	if strings.Contains(name, ":") {
		name = "[" + name + "]"
	}
	if h.Port == "" {
		return name
	}
	return name + ":" + h.Port
}

// ParseHost reads a DNS name or an IP address, with or without a port.
func ParseHost(s string) (Host, error) {
	if strings.Contains(s, "://") || strings.Contains(s, "/") {
		return Host{}, fmt.Errorf("%q is not a host: give only its name or IP address, such as registry.example.com or 192.168.1.20", s)
	}
	name, port := s, ""
	if n, p, err := net.SplitHostPort(s); err == nil {
		name, port = n, p
		if !isPortSuffix(":" + p) {
			return Host{}, fmt.Errorf("%q has no valid port", s)
		}
	}
	name = strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
	if ip, err := netip.ParseAddr(name); err == nil {
		if ip.Zone() != "" {
			return Host{}, fmt.Errorf("%q has a zone, which certificates can't hold", s)
		}
		return Host{Name: ip.Unmap().String(), Port: port}, nil
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if !isDNSName(strings.TrimPrefix(name, "*.")) {
		return Host{}, fmt.Errorf("%q is neither a DNS name nor an IP address. A name outside of ASCII is given in its xn-- form", s)
	}
	return Host{Name: name, Port: port}, nil
}

func isDNSName(s string) bool {
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			if !isAlnum(label[i]) && label[i] != '-' && label[i] != '_' {
				return false
			}
		}
	}
	// An all-numeric last label would be a mistyped IP address.
	last := s[strings.LastIndexByte(s, '.')+1:]
	return strings.Trim(last, "0123456789") != ""
}
