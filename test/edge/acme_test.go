package edge

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/test/realtest"
)

// A secured is a registry that gets its certificate from a pebble.
type secured struct {
	*realtest.Registry
	t      *testing.T
	front  string // host:port of https
	http   string // where challenges over http come in; empty if they don't
	client *http.Client
}

// The challenges that a registry can answer.
type challenge string

const (
	byTLS  challenge = "tls-alpn-01"
	byHTTP challenge = "http-01"
)

// startSecured starts a registry and a pebble that knows where to find it.
func startSecured(t *testing.T, by challenge, o pebbleOptions, more ...string) (*secured, *pebble) {
	t.Helper()
	// Pebble wants to know the port before the registry runs.
	s := &secured{t: t}
	front := address(t)
	port, _ := strconv.Atoi(front[strings.LastIndex(front, ":")+1:])
	if by == byTLS {
		o.tlsPort = port
	} else {
		s.http = address(t)
		o.httpPort, _ = strconv.Atoi(s.http[strings.LastIndex(s.http, ":")+1:])
	}
	p := startPebble(t, o)
	s.start(front, p, more...)
	return s, p
}

func (s *secured) start(front string, p *pebble, more ...string) {
	s.t.Helper()
	lines := append([]string{"hosts: [" + host + "]", "directory: " + p.directory, "ca: " + p.ca, `listen: "` + s.http + `"`}, more...)
	file := filepath.Join(s.t.TempDir(), "berth.yml")
	text := "http:\n  tls:\n    acme:\n      " + strings.Join(lines, "\n      ") + "\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.Registry = realtest.Start(s.t, realtest.Options{Unready: true, Args: []string{"--config", file, "--listen", front}})
	s.front = front
	s.client = trusting(s.t, p.root(s.t), front)
}

// serial waits until the registry has a certificate, and returns its number.
func (s *secured) serial() string {
	s.t.Helper()
	var last error
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		resp, err := s.client.Get("https://" + host + "/readyz")
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return resp.TLS.PeerCertificates[0].SerialNumber.String()
			}
		}
		if last = err; !s.Running() {
			break
		}
	}
	s.t.Fatalf("no certificate: %v", last)
	return ""
}

// TestACME gets a certificate by each of the challenges alone, and keeps it over
// a restart without the server.
func TestACME(t *testing.T) {
	for _, by := range []challenge{byTLS, byHTTP} {
		t.Run(string(by), func(t *testing.T) {
			t.Parallel()
			s, p := startSecured(t, by, pebbleOptions{})
			first := s.serial()
			if !s.Log.Await(func(l *realtest.Log) bool { return l.Contains("got a certificate by ACME") }) {
				t.Error("the log doesn't say that there is a certificate")
			}
			if _, err := tls.Dial("tcp", s.front, &tls.Config{InsecureSkipVerify: true, ServerName: "other.example.test"}); err == nil {
				t.Error("a host that isn't ours was served")
			}
			if s.http != "" {
				s.redirects()
			}
			p.Stop()
			s.client.CloseIdleConnections()
			s.Restart()
			if again := s.serial(); again != first {
				t.Errorf("after a restart: got certificate %s, want %s", again, first)
			}
			files, err := os.ReadDir(filepath.Join(s.Dir, "berth", "acme"))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range files {
				if fi, err := f.Info(); err != nil || fi.Mode().Perm()&0o077 != 0 {
					t.Errorf("%s: others may read it: %v, %v", f.Name(), fi, err)
				}
			}
		})
	}
}

// redirects holds what the plain port answers apart from challenges.
func (s *secured) redirects() {
	s.t.Helper()
	tests := []struct {
		method, host, path string
		status             int
		location           string
	}{
		{"GET", host, "/v2/_catalog?n=1", 308, "https://" + host + "/v2/_catalog?n=1"},
		{"HEAD", host + ":80", "/", 308, "https://" + host + "/"},
		{"GET", strings.ToUpper(host), "/", 308, "https://" + host + "/"},
		{"GET", "evil.example", "/", 421, ""},
		{"POST", host, "/v2/app/blobs/uploads/", 400, ""},
		{"GET", host, "/.well-known/acme-challenge/x", 404, ""},
		{"GET", "evil.example", "/.well-known/acme-challenge/x", 403, ""},
	}
	for _, tt := range tests {
		r, err := http.NewRequest(tt.method, "http://"+s.http+tt.path, nil)
		if err != nil {
			s.t.Fatal(err)
		}
		r.Host = tt.host
		plain := &http.Client{CheckRedirect: s.client.CheckRedirect}
		resp, err := plain.Do(r)
		if err != nil {
			s.t.Fatal(err)
		}
		_ = resp.Body.Close()
		if got := resp.Header.Get("Location"); resp.StatusCode != tt.status || got != tt.location {
			s.t.Errorf("%s %s%s: got %d %q, want %d %q", tt.method, tt.host, tt.path, resp.StatusCode, got, tt.status, tt.location)
		}
	}
}

// TestACMERenewal renews a certificate while requests run, over connections that
// are kept and over new ones: none of them fails.
func TestACMERenewal(t *testing.T) {
	t.Parallel()
	s, p := startSecured(t, byTLS, pebbleOptions{validity: 36 * time.Second})
	first := s.serial()
	fresh := trusting(t, p.root(t), s.front)
	fresh.Transport.(*http.Transport).DisableKeepAlives = true
	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	for _, c := range []*http.Client{s.client, fresh} {
		load.Go(func() {
			for tick := time.NewTicker(20 * time.Millisecond); ctx.Err() == nil; <-tick.C {
				resp, err := c.Get("https://" + host + "/v2/")
				if err != nil {
					t.Errorf("during the renewal: %v", err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
		})
	}
	seen := trusting(t, p.root(t), s.front)
	seen.Transport.(*http.Transport).DisableKeepAlives = true
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		resp, err := seen.Get("https://" + host + "/v2/")
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.TLS.PeerCertificates[0].SerialNumber.String() != first {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the certificate was not renewed within a minute")
		}
	}
	stop()
	load.Wait()
}

// TestACMEBinding gets a certificate where the authority wants to know the
// account.
func TestACMEBinding(t *testing.T) {
	t.Parallel()
	key := base64.RawURLEncoding.EncodeToString([]byte("a key of thirty-two bytes, or so"))
	file := filepath.Join(t.TempDir(), "eab.key")
	if err := os.WriteFile(file, []byte(key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, _ := startSecured(t, byTLS, pebbleOptions{macKeys: map[string]string{"kid-1": key}},
		"eab_id: kid-1", "eab_key: "+file, "email: admin@example.com")
	s.serial()
	if s.Log.Contains(key) {
		t.Error("the key is in the log")
	}
}

// TestACMEFailure has what goes wrong and what the log says to do then. Nobody is
// kept waiting for a certificate that doesn't come.
func TestACMEFailure(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		start func(t *testing.T) *secured
		want  []string // parts of the line
	}{
		{"nobody answers where it looks", func(t *testing.T) *secured {
			s := &secured{t: t}
			s.start(address(t), startPebble(t, pebbleOptions{}))
			return s
		}, []string{"tls-alpn-01: Failed to connect", "port forwarding"}},
		{"another server answers", func(t *testing.T) *secured {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			other := &http.Server{Handler: http.NotFoundHandler()}
			go func() { _ = other.Serve(l) }()
			t.Cleanup(func() { _ = other.Close() })
			s := &secured{t: t, http: address(t)}
			s.start(address(t), startPebble(t, pebbleOptions{httpPort: l.Addr().(*net.TCPAddr).Port}))
			return s
		}, []string{"http-01: ", "another server answers"}},
		{"the account is missing", func(t *testing.T) *secured {
			s, _ := startSecured(t, byTLS, pebbleOptions{macKeys: map[string]string{"kid-1": "AAAA"}})
			return s
		}, []string{"http.tls.acme.eab_id"}},
		{"the server's authority is unknown", func(t *testing.T) *secured {
			p := startPebble(t, pebbleOptions{})
			p.ca = `""`
			s := &secured{t: t}
			s.start(address(t), p)
			return s
		}, []string{"certificate of the ACME server itself", "http.tls.acme.ca"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := tt.start(t)
			if !s.Log.Await(func(l *realtest.Log) bool { return l.Contains("can't get a certificate by ACME") }) {
				t.Fatalf("nothing is logged:\n%s", s.Log)
			}
			for _, part := range append(tt.want, `"host":"`+host+`"`, `"next":"5m0s"`) {
				if !s.Log.Contains(part) {
					t.Errorf("the log lacks %q:\n%s", part, s.Log)
				}
			}
			_, err := s.client.Get("https://" + host + "/v2/")
			if err == nil {
				t.Error("there is an answer without a certificate")
			}
		})
	}
}

// TestACMEOfRegistry2 holds that registry:2 goes on with the account and the
// certificate that Berth has, so that what either keeps is for both. (It can't
// get one from this pebble, which answers in a way that its older library
// doesn't follow.)
func TestACMEOfRegistry2(t *testing.T) {
	t.Parallel()
	s, p := startSecured(t, byTLS, pebbleOptions{})
	serial := s.serial()
	s.Stop()
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yml")
	text := "version: 0.1\nstorage: {filesystem: {rootdirectory: " + filepath.Join(dir, "data") + "}}\n" +
		"http: {addr: \"" + s.front + "\", tls: {letsencrypt: {cachefile: " + filepath.Join(s.Dir, "berth", "acme") + ", hosts: [" + host + "], directoryurl: \"" + p.directory + "\"}}}\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p.Stop()
	s.client.CloseIdleConnections()
	var got string
	realtest.StartProgram(t, realtest.ProgramOptions{
		Name: "registry", Args: []string{"serve", config}, Env: []string{"OTEL_TRACES_EXPORTER=none"},
		Ready: func() error {
			resp, err := s.client.Get("https://" + host + "/v2/")
			if err == nil {
				_ = resp.Body.Close()
				got = resp.TLS.PeerCertificates[0].SerialNumber.String()
			}
			return err
		},
	})
	if got != serial {
		t.Errorf("registry:2 serves certificate %s, want %s", got, serial)
	}
}
