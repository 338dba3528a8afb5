package webui

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

// get asks a handler for a page as a browser that called the registry host.
func get(t *testing.T, h http.Handler, method, host, path string) *http.Response {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), method, path, nil)
	req.Host = host
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w.Result()
}

func body(t *testing.T, resp *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestHome(t *testing.T) {
	resp := get(t, Home(Options{}), "GET", "127.0.0.1:5000", "/")
	page := body(t, resp)
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("got %d %s", resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	for _, want := range []string{
		"docker tag hello 127.0.0.1:5000/hello", "docker push 127.0.0.1:5000/hello", "docker pull 127.0.0.1:5000/hello",
		"A container registry", "容器镜像仓库",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(page, "docker login") {
		t.Error("the page speaks of logging in where nobody has to")
	}
	page = body(t, get(t, Home(Options{LogIn: true, Host: "hub.example"}), "GET", "10.0.0.1:5000", "/"))
	if !strings.Contains(page, "docker login hub.example<") || strings.Contains(page, "10.0.0.1") {
		t.Error("the page does not use the configured host, or lacks the log-in")
	}
}

// TestSelfContained holds that the page needs nothing that its own policy
// forbids, and that everything it needs is served.
func TestSelfContained(t *testing.T) {
	h := Home(Options{LogIn: true})
	page := body(t, get(t, h, "GET", "localhost:5000", "/"))
	for _, bad := range []string{"<script", "<style", " style=", " onclick", "http:", "https:", "//"} {
		if strings.Contains(page, bad) {
			t.Errorf("the page contains %q", bad)
		}
	}
	links := regexp.MustCompile(`(?:href|src)="([^"]*)"`).FindAllStringSubmatch(page, -1)
	if len(links) < 3 {
		t.Fatalf("found %d links, want 3", len(links))
	}
	for _, m := range links {
		resp := get(t, h, "GET", "localhost:5000", "/"+m[1])
		if content := body(t, resp); resp.StatusCode != http.StatusOK || content == "" || strings.Contains(content, "url(") {
			t.Errorf("%s: got %d", m[1], resp.StatusCode)
		}
	}
}

// TestHeaders holds the protection that a browser is told of, on every answer.
func TestHeaders(t *testing.T) {
	h := Home(Options{})
	for _, path := range []string{"/", "/berth.css", "/favicon.ico", "/nothing"} {
		header := get(t, h, "GET", "localhost", path).Header
		csp := header.Get("Content-Security-Policy")
		if !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %q", path, csp)
		}
		for key, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
			"Cross-Origin-Resource-Policy": "same-origin", "Access-Control-Allow-Origin": "",
			"Server": "", "Set-Cookie": "", "WWW-Authenticate": "", "Strict-Transport-Security": "",
		} {
			if got := header.Get(key); got != want {
				t.Errorf("%s: %s is %q, want %q", path, key, got, want)
			}
		}
		if header.Get("Content-Type") == "" || header.Get("Cache-Control") == "" {
			t.Errorf("%s: no Content-Type or no Cache-Control", path)
		}
	}
	for host, want := range map[string]string{"hub.example": "max-age=31536000", "hub.example:443": "max-age=31536000", "hub.example:5000": ""} {
		req := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
		req.Host, req.TLS = host, &tls.ConnectionState{}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		if got := w.Header().Get("Strict-Transport-Security"); got != want {
			t.Errorf("https://%s: got %q, want %q", host, got, want)
		}
	}
}

func TestNothingElse(t *testing.T) {
	tests := []struct {
		method, path string
		want         int
	}{
		{"GET", "/index.html", 404},
		{"GET", "/assets/home.html", 404},
		{"GET", "/berth.css/", 404},
		{"GET", "//", 404},
		{"GET", "/../berth.db", 404},
		{"GET", "/.git/config", 404},
		{"POST", "/nothing", 404},
		{"HEAD", "/", 200},
		{"POST", "/", 405},
		{"DELETE", "/berth.css", 405},
		{"OPTIONS", "/", 405},
	}
	for _, tt := range tests {
		resp := get(t, Home(Options{}), tt.method, "localhost", tt.path)
		if resp.StatusCode != tt.want {
			t.Errorf("%s %s: got %d, want %d", tt.method, tt.path, resp.StatusCode, tt.want)
		}
		if tt.want == http.StatusMethodNotAllowed && resp.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s %s: Allow is %q", tt.method, tt.path, resp.Header.Get("Allow"))
		}
	}
}

func TestImageHost(t *testing.T) {
	const example = "registry.example:5000"
	tests := []struct{ host, scheme, want string }{
		{"localhost:5000", "http", "localhost:5000"},
		{"localhost", "http", "localhost"},
		{"127.0.0.1", "http", "127.0.0.1"},
		{"[::1]:5000", "http", "[::1]:5000"},
		{"[::1]", "https", "[::1]"},
		{"Hub.Example", "https", "hub.example"},
		{"hub.example:443", "https", "hub.example"},
		{"hub.example:443", "http", "hub.example:443"},
		{"hub", "http", "hub:80"}, // docker push hub/hello would go to Docker Hub
		{"hub", "https", "hub:443"},
		{"hub:443", "https", "hub:443"},
		{"", "http", example},
		{`"><script>alert(1)</script>`, "http", example},
		{"a b", "http", example},
		{"a:b", "http", example},
		{"a:123456", "http", example},
		{"ü.example", "http", example},
		{strings.Repeat("a", 300), "http", example},
	}
	for _, tt := range tests {
		if got := imageHost(tt.host, tt.scheme); got != tt.want {
			t.Errorf("imageHost(%q, %q) = %q, want %q", tt.host, tt.scheme, got, tt.want)
		}
	}
}

// FuzzHome shows that no Host gets anything but text into the page.
func FuzzHome(f *testing.F) {
	for _, host := range []string{"localhost:5000", `"><script>`, "' onload=x", "</code>", "{{.}}", "[::1]:1"} {
		f.Add(host)
	}
	plain := strings.Count(render(f, "localhost"), "<")
	f.Fuzz(func(t *testing.T, host string) {
		if page := render(t, host); strings.Count(page, "<") != plain || strings.Contains(page, "<script") {
			t.Errorf("host %q changed the shape of the page", host)
		}
	})
}

func render(t testing.TB, host string) string {
	req := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
	req.Host = host
	w := httptest.NewRecorder()
	Home(Options{}).ServeHTTP(w, req)
	return w.Body.String()
}
