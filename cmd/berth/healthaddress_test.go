package main

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"berth/config"
)

func TestHealthTarget(t *testing.T) {
	secure := config.TLS{Certificate: "/c", Key: "/k"}
	tests := []struct {
		name string
		http config.HTTP
		want healthTarget
	}{
		{"every address", config.HTTP{Listen: []string{":5000"}}, healthTarget{url: "http://127.0.0.1:5000/readyz"}},
		{"IPv4", config.HTTP{Listen: []string{"0.0.0.0:80"}}, healthTarget{url: "http://127.0.0.1:80/readyz"}},
		{"IPv6", config.HTTP{Listen: []string{"[::]:80"}}, healthTarget{url: "http://127.0.0.1:80/readyz"}},
		{"one address", config.HTTP{Listen: []string{"[::1]:81", ":82"}}, healthTarget{url: "http://[::1]:81/readyz"}},
		{"TLS", config.HTTP{Listen: []string{":443"}, TLS: secure}, healthTarget{url: "https://127.0.0.1:443/readyz"}},
		{"socket", config.HTTP{Listen: []string{"unix:/run/b.sock"}}, healthTarget{url: "http://localhost/readyz", socket: "/run/b.sock"}},
		{"none", config.HTTP{}, healthTarget{url: defaultHealthURL}},
	}
	for _, tt := range tests {
		if got := targetOf(tt.http); got != tt.want {
			t.Errorf("%s: got %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

// TestHealthConfigured asks registries without being told where they are.
func TestHealthConfigured(t *testing.T) {
	begin := (*httptest.Server).Start
	ready := readyServer(t, http.StatusOK, begin)
	socket := filepath.Join(t.TempDir(), "s")
	onSocket := readyServer(t, http.StatusOK, func(s *httptest.Server) {
		l, err := net.Listen("unix", socket)
		if err != nil {
			t.Skip(err)
		}
		s.Listener.Close()
		s.Listener = l
		s.Start()
	})
	defer onSocket.Close()
	closed := readyServer(t, http.StatusOK, func(s *httptest.Server) {
		s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
		s.StartTLS()
	})
	for name, env := range map[string][2]string{
		"certificates of clients": {"REGISTRY_HTTP_ADDR", closed.Listener.Addr().String()},
		"registry:2's variable":   {"REGISTRY_HTTP_ADDR", ready.Listener.Addr().String()},
		"Berth's variable":        {"BERTH_HTTP_LISTEN", ready.Listener.Addr().String()},
		"socket":                  {"BERTH_HTTP_LISTEN", "unix:" + socket},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(env[0], env[1])
			if err := (healthCheck{timeout: healthTimeout}).run(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}
