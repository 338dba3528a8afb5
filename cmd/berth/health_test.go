package main

import (
	"bytes"
	"context"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// readyServer answers /readyz with status; it speaks TLS if secure.
func readyServer(t *testing.T, status int, begin func(*httptest.Server)) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" {
			http.Redirect(w, r, "/readyz", http.StatusFound)
			return
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "some \x1b[31mtext\nand more")
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	begin(s)
	t.Cleanup(s.Close)
	return s
}

func TestHealth(t *testing.T) {
	plain, secure := (*httptest.Server).Start, (*httptest.Server).StartTLS
	ready, readyTLS := readyServer(t, 200, plain), readyServer(t, 200, secure)
	notReady := readyServer(t, 503, plain)
	ca := filepath.Join(t.TempDir(), "ca.crt")
	block := &pem.Block{Type: "CERTIFICATE", Bytes: readyTLS.Certificate().Raw}
	if err := os.WriteFile(ca, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	otherCA := filepath.Join(t.TempDir(), "other.crt")
	if err := os.WriteFile(otherCA, []byte("no PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	host := func(s *httptest.Server) string { return s.Listener.Addr().String() }

	tests := []struct {
		name string
		args []string
		code int
		want string // part of the one line
	}{
		{"ready", []string{"--url", ready.URL + "/readyz"}, 0, "ready"},
		{"short address", []string{"--url", host(ready)}, 0, "ready"},
		{"not ready", []string{"--url", notReady.URL}, 1, "answers 503: some [31mtext"},
		{"redirected", []string{"--url", ready.URL + "/elsewhere"}, 1, "answers 302"},
		{"https, loopback", []string{"--url", readyTLS.URL}, 0, "ready"},
		{"http to an https port", []string{"--url", "http://" + host(readyTLS)}, 0, "ready"},
		{"https with its authority", []string{"--url", readyTLS.URL, "--ca", ca}, 0, "ready"},
		{"https by another name", []string{"--url", strings.Replace(readyTLS.URL, "127.0.0.1", "127.0.0.2", 1), "--ca", ca}, 1, "127.0.0.2"},
		{"authority without PEM", []string{"--url", readyTLS.URL, "--ca", otherCA}, 1, "no certificate in PEM form"},
		{"https to an http port", []string{"--url", "https://" + host(ready)}, 1, "server gave HTTP response to HTTPS client"},
		{"nobody there", []string{"--url", closed.Addr().String()}, 1, "nobody answers at " + closed.Addr().String()},
		{"no answer", []string{"--url", silent.Addr().String(), "--timeout", "100ms"}, 1, "within 100ms"},
		{"no address", []string{"--url", "ftp://x"}, 2, "not an address to ask at"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := run(context.Background(), append([]string{"berth", "health"}, tt.args...), nil, &stdout, &stderr)
			got := stdout.String() + stderr.String()
			if code != tt.code || !strings.Contains(got, tt.want) {
				t.Errorf("got exit code %d and %q, want %d and %q", code, got, tt.code, tt.want)
			}
			if strings.Count(got, "\n") != 1 || strings.Contains(got, "\x1b") {
				t.Errorf("got %q, want one line of plain text", got)
			}
		})
	}
}
