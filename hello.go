package berth

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
)

// hello says where the registry is, and what to type.
func (s *Server) hello(front []net.Listener) string {
	scheme := "http"
	if s.cfg.HTTP.TLS.Enabled() {
		scheme = "https"
	}
	var urls []string
	local := true
	for _, l := range front {
		if l.Addr().Network() == "unix" {
			urls = append(urls, "unix:"+l.Addr().String())
			continue
		}
		urls = append(urls, scheme+"://"+l.Addr().String()+s.cfg.HTTP.Prefix)
		if a, ok := l.Addr().(*net.TCPAddr); ok && !a.IP.IsLoopback() {
			local = false
		}
	}
	where := strings.Join(urls, " and ")
	if local {
		where += " (this machine only)"
	}
	host := s.pushHost(front)
	login := ""
	if s.cfg.Auth.LogIn() {
		login = "docker login " + host + " && "
	}
	first := fmt.Sprintf("Berth %s listens on %s, data in %s\n", s.version, where, s.cfg.Data)
	if s.cfg.HTTP.Prefix != "" {
		return first // docker finds a registry at the root of a host only: what the proxy makes of this one is not known
	}
	return first + fmt.Sprintf("Push an image: %sdocker tag IMAGE %s/IMAGE && docker push %s/IMAGE\n", login, host, host)
}

// pushHost is what stands before the slash in the name of an image here.
func (s *Server) pushHost(front []net.Listener) string {
	if u := s.externalURL(); u != "" {
		return strings.TrimPrefix(strings.TrimPrefix(u, "https://"), "http://")
	}
	i := slices.IndexFunc(front, func(l net.Listener) bool { return l.Addr().Network() != "unix" })
	if i < 0 {
		return "HOST"
	}
	a, ok := front[i].Addr().(*net.TCPAddr)
	if !ok || !a.IP.IsUnspecified() {
		return front[i].Addr().String()
	}
	name := "localhost"
	if hosts := s.cfg.HTTP.TLS.ACME.Hosts; len(hosts) > 0 {
		name = hosts[0]
	} else if s.cfg.HTTP.TLS.Enabled() {
		if h, err := os.Hostname(); err == nil {
			name = h
		}
	}
	return net.JoinHostPort(name, fmt.Sprint(a.Port))
}
