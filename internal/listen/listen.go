package listen

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
)

// An Address is one place to listen on.
type Address struct {
	// Network is "tcp" (also when empty) or "unix".
	Network string

	// Host is "host:port" for tcp, where the host may be empty (all addresses
	// of the machine), an IP address or "localhost" (both loopback addresses),
	// and the path of the socket for unix.
	Host string

	// Optional tolerates that this machine doesn't have the address at all, as
	// ::1 on a machine without IPv6. An address that is there but can't be had,
	// because another program holds it, stays an error.
	Optional bool

	// Mode is that of a unix socket: 0600 if 0. Who may write to a socket may
	// connect to it.
	Mode fs.FileMode
}

// ParseAddress reads an address as people write it: "host:port", or "unix:" and
// the path of a socket.
func ParseAddress(s string) Address {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		return Address{Network: "unix", Host: path}
	}
	return Address{Network: "tcp", Host: s}
}

// ListenOptions are what Listen needs.
type ListenOptions struct {
	Addresses []Address

	// Setting is how whoever runs the program chooses an address, such as
	// "--listen"; it is named in error messages. May be empty.
	Setting string
}

// Listen opens all addresses, in their order, or none: when one fails, the
// others are closed again. The error says what to do about it; errors.As finds
// an *AddressError in it.
//
// A unix socket is made with its mode. One that was left behind is replaced
// only if nobody answers on it. Closing the listener removes it.
func Listen(ctx context.Context, o ListenOptions) ([]net.Listener, error) {
	var ls []net.Listener
	for _, a := range expand(o.Addresses) {
		l, err := listenOne(ctx, a)
		if err == nil {
			ls = append(ls, l)
			continue
		}
		if a.Optional && isMissingAddress(err) {
			continue
		}
		closeAll(ls)
		return nil, explain(a, o.Setting, err)
	}
	if len(ls) == 0 {
		return nil, errors.New("nothing to listen on: this machine has none of the given addresses")
	}
	return ls, nil
}

// expand replaces localhost by the two loopback addresses: the name alone would
// give one of them, and clients try the other first.
func expand(in []Address) []Address {
	var out []Address
	for _, a := range in {
		if a.Network == "" {
			a.Network = "tcp"
		}
		port, ok := strings.CutPrefix(a.Host, "localhost:")
		if a.Network != "tcp" || !ok {
			out = append(out, a)
			continue
		}
		out = append(out,
			Address{Network: "tcp", Host: "127.0.0.1:" + port, Optional: a.Optional},
			Address{Network: "tcp", Host: "[::1]:" + port, Optional: true})
	}
	return out
}

func listenOne(ctx context.Context, a Address) (net.Listener, error) {
	switch a.Network {
	case "tcp":
		var lc net.ListenConfig
		return lc.Listen(ctx, "tcp", a.Host)
	case "unix":
		return listenUnix(ctx, a.Host, cmp.Or(a.Mode, 0o600))
	default:
		return nil, fmt.Errorf("unknown network %q: use tcp or unix", a.Network)
	}
}

func closeAll(ls []net.Listener) {
	for _, l := range ls {
		_ = l.Close() // nothing was accepted yet: there is nobody to tell
	}
}
