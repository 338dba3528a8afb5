package main

import (
	"context"
	"net"
	"strings"

	"berth/config"
)

// A healthTarget is where to ask: an address, and for a registry on a socket its
// path.
type healthTarget struct {
	url    string
	socket string
}

// configuredTarget returns where the registry that file, the environment and the
// defaults describe is to be asked. file may be empty. A configuration that can't
// be read is not a matter of health: the answer at the default address is.
func configuredTarget(file string) healthTarget {
	loaded, err := loadConfig(file, config.Overlay{})
	if err != nil {
		return healthTarget{url: defaultHealthURL}
	}
	return targetOf(loaded.Config.HTTP)
}

// targetOf picks the first address that the registry listens to. It may be every
// address of the machine, or one of a name.
func targetOf(h config.HTTP) healthTarget {
	scheme := "http://"
	if h.TLS.Enabled() {
		scheme = "https://"
	}
	for _, a := range h.Listen {
		if path, ok := strings.CutPrefix(a, "unix:"); ok {
			return healthTarget{url: scheme + "localhost/readyz", socket: path}
		}
		host, port, err := net.SplitHostPort(a)
		if err != nil {
			continue
		}
		if host == "" || host == "0.0.0.0" || host == "::" {
			host = "127.0.0.1"
		}
		return healthTarget{url: scheme + net.JoinHostPort(host, port) + "/readyz"}
	}
	return healthTarget{url: defaultHealthURL}
}

// dial connects to the socket of a target, whatever address is asked for.
func (t healthTarget) dial(ctx context.Context, network, address string) (net.Conn, error) {
	var d net.Dialer
	if t.socket != "" {
		network, address = "unix", t.socket
	}
	return d.DialContext(ctx, network, address)
}
