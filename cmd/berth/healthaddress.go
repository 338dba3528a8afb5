package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"slices"
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

// firstProcess is the command line of a container's first process.
const firstProcess = "/proc/1/cmdline"

// servedFile returns the configuration file that the container's registry was
// started with, out of the command line of its first process: nothing else of it
// is known to a health check that runs beside it. It is empty if that process is
// no registry, or was not given a file.
func servedFile(cmdline []byte) string {
	args := strings.Split(string(bytes.TrimRight(cmdline, "\x00")), "\x00")
	if calledAs(args[0]) == entrypointName {
		args = entrypoint(args[1:])
	}
	if calledAs(args[0]) != "registry" || len(args) < 3 || args[1] != "serve" {
		return ""
	}
	i := slices.IndexFunc(args[2:], func(a string) bool { return !strings.HasPrefix(a, "-") })
	if i < 0 {
		return ""
	}
	return args[2+i]
}

// containerFile is servedFile of the machine that this runs on.
func containerFile() string {
	cmdline, err := os.ReadFile(firstProcess)
	if err != nil {
		return ""
	}
	return servedFile(cmdline)
}
