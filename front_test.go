package berth

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/config"
)

// open opens a registry in a new folder.
func open(t *testing.T, change func(*config.Config)) *Server {
	t.Helper()
	cfg := config.Default()
	cfg.Data, cfg.Log.Access = t.TempDir(), false
	change(&cfg)
	s, err := Open(t.Context(), Options{Config: cfg})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func ask(h http.Handler, method, target string, header ...string) *http.Response {
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

// TestPrefix holds that with http.prefix everything is below it, and that every
// address in an answer leads back there.
func TestPrefix(t *testing.T) {
	s := open(t, func(c *config.Config) { c.HTTP.Prefix = "/registry" })
	statuses := map[string]int{
		"/registry/v2/": 200, "/registry/": 200, "/registry": 200, "/registry/healthz": 200, "/registry/berth.css": 200,
		"/": 200, "/healthz": 200, "/readyz": 503, "/v2/": 404, "/v2": 404, "/registry2/v2/": 404, "/%72egistry/v2/": 404, "//registry/v2/": 404,
	}
	for path, want := range statuses {
		if got := ask(s, "GET", "http://host"+path).StatusCode; got != want {
			t.Errorf("GET %s: got %d, want %d", path, got, want)
		}
	}
	resp := ask(s, "POST", "http://host/registry/v2/app/blobs/uploads/")
	location := resp.Header.Get("Location")
	if !strings.HasPrefix(location, "/registry/v2/app/blobs/uploads/") {
		t.Fatalf("got Location %q", location)
	}
	if got := ask(s, "GET", "http://host"+location).StatusCode; got != http.StatusNoContent {
		t.Errorf("GET %s: got %d, want 204", location, got)
	}
	for _, name := range []string{"a", "b"} {
		const empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
		if got := ask(s, "POST", "http://host/registry/v2/"+name+"/blobs/uploads/?digest="+empty); got.StatusCode != http.StatusCreated ||
			got.Header.Get("Location") != "/registry/v2/"+name+"/blobs/"+empty {
			t.Fatalf("push: got %d, Location %q", got.StatusCode, got.Header.Get("Location"))
		}
	}
}

// TestAbsoluteLocations has where the host of a whole URL comes from.
func TestAbsoluteLocations(t *testing.T) {
	tests := []struct {
		name   string
		change func(*config.Config)
		want   string
	}{
		{"the request", func(*config.Config) {}, "http://host"},
		{"external_url", func(c *config.Config) { c.HTTP.ExternalURL = "https://hub.example/" }, "https://hub.example"},
		{"external_url with a prefix", func(c *config.Config) {
			c.HTTP.ExternalURL, c.HTTP.Prefix = "https://hub.example", "/r"
		}, "https://hub.example/r"},
		{"external_url that has it", func(c *config.Config) {
			c.HTTP.ExternalURL, c.HTTP.Prefix = "https://hub.example/r/", "/r"
		}, "https://hub.example/r"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t, func(c *config.Config) { c.HTTP.Locations = config.LocationsAbsolute; tt.change(c) })
			// What an untrusted peer says of the host is nothing.
			resp := ask(s, "POST", "http://host"+s.cfg.HTTP.Prefix+"/v2/app/blobs/uploads/", "X-Forwarded-Host", "evil.example", "X-Forwarded-Proto", "https")
			if got, want := resp.Header.Get("Location"), tt.want+"/v2/app/blobs/uploads/"; !strings.HasPrefix(got, want) {
				t.Errorf("got Location %q, want %q…", got, want)
			}
		})
	}
}

// TestOperatorsHeaders holds that http.headers are on every answer, errors
// included, and what they open to the pages of other sites.
func TestOperatorsHeaders(t *testing.T) {
	s := open(t, func(c *config.Config) {
		c.HTTP.Headers = map[string][]string{"X-Foo": {"bar"}, "Access-Control-Allow-Origin": {"https://ui.example"}}
	})
	for _, path := range []string{"/v2/", "/v2/_catalog", "/v2/nothing/manifests/x", "/", "/healthz", "/nothing"} {
		if got := ask(s, "GET", "http://host"+path).Header.Values("X-Foo"); !slices.Equal(got, []string{"bar"}) {
			t.Errorf("%s: got %q", path, got)
		}
	}
	crossing := []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://ui.example"}
	if got := ask(s, "GET", "http://host/v2/", crossing...).StatusCode; got != http.StatusOK {
		t.Errorf("a page that is let in: got %d", got)
	}
	preflight := append(crossing, "Access-Control-Request-Method", "DELETE")
	if got := ask(s, "OPTIONS", "http://host/v2/app/manifests/x", preflight...).StatusCode; got != http.StatusNoContent {
		t.Errorf("a preflight: got %d", got)
	}
	crossing[3] = "https://evil.example"
	if got := ask(s, "GET", "http://host/v2/", crossing...).StatusCode; got != http.StatusForbidden {
		t.Errorf("a page that isn't: got %d", got)
	}
}

// TestServeOnSocket serves clients on a unix socket alone, with a delay before a
// shutdown, during which the readiness is gone and the rest works.
func TestServeOnSocket(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the path would be too long")
	}
	socket := filepath.Join(t.TempDir(), "s")
	s := open(t, func(c *config.Config) {
		c.HTTP.Listen, c.HTTP.ShutdownDelay = []string{"unix:" + socket}, time.Second
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	hello, done := make(chan string, 1), make(chan error, 1)
	go func() { done <- s.ListenAndServe(ctx, func(text string) { hello <- text }) }()
	select {
	case text := <-hello:
		if !strings.Contains(text, "listens on unix:"+socket+" (this machine only)") {
			t.Errorf("got %q", text)
		}
	case err := <-done:
		t.Fatal(err)
	}
	var d net.Dialer
	tr := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return d.DialContext(ctx, "unix", socket)
	}}
	get := func(path string) int {
		t.Helper()
		resp, err := (&http.Client{Transport: tr}).Get("http://host" + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	if got := get("/readyz"); got != http.StatusOK {
		t.Errorf("readiness: got %d, want 200", got)
	}
	cancel()
	for get("/readyz") != http.StatusServiceUnavailable {
		runtime.Gosched() // until the shutdown has begun
	}
	if got := get("/v2/"); got != http.StatusOK {
		t.Errorf("within shutdown_delay: got %d, want 200", got)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestClientAuth(t *testing.T) {
	for a, want := range map[config.ClientAuth]tls.ClientAuthType{
		config.ClientAuthNone: tls.NoClientCert, config.ClientAuthRequest: tls.RequestClientCert, config.ClientAuthRequire: tls.RequireAnyClientCert,
		config.ClientAuthVerify: tls.VerifyClientCertIfGiven, config.ClientAuthRequireAndVerify: tls.RequireAndVerifyClientCert,
	} {
		if got := clientAuth(a); got != want {
			t.Errorf("%s: got %v, want %v", a, got, want)
		}
	}
}

// TestCertificateHeaders holds that headers in which some proxies tell of a
// client's certificate log nobody in.
func TestCertificateHeaders(t *testing.T) {
	users := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(users, []byte("alice:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, func(c *config.Config) {
		c.Auth.Htpasswd.Path = users
		c.HTTP.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}
	})
	for _, header := range []string{"X-SSL-Client-CN", "X-SSL-Client-S-DN", "SSL-Client-Cert", "X-Client-Cert", "X-Forwarded-Client-Cert", "X-Forwarded-User", "X-Remote-User"} {
		if got := ask(s, "GET", "http://host/v2/", header, "alice").StatusCode; got != http.StatusUnauthorized {
			t.Errorf("%s: got %d, want 401", header, got)
		}
	}
}
