package doctor

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"berth"
	"berth/config"
)

// registry returns a Berth with an image in it.
func registry(t *testing.T) http.Handler {
	t.Helper()
	cfg := config.Default()
	cfg.Data = filepath.Join(t.TempDir(), "data")
	s, err := berth.Open(t.Context(), berth.Options{Config: cfg})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	layer := bytes.Repeat([]byte("layer"), 1000)
	send := func(method, path, mediaType string, body []byte) {
		r := httptest.NewRequest(method, path, bytes.NewReader(body))
		r.Header.Set("Content-Type", mediaType)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != http.StatusCreated {
			t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
		}
	}
	send("POST", "/v2/app/blobs/uploads/?digest="+sum(layer), "application/octet-stream", layer)
	const image = "application/vnd.oci.image.manifest.v1+json"
	send("PUT", "/v2/app/manifests/v1", image, fmt.Appendf(nil,
		`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/x","digest":%q,"size":%d},"layers":[]}`, image, sum(layer), len(layer)))
	return s
}

// A rewriter changes an answer on its way.
type rewriter struct {
	http.ResponseWriter
	header func(http.Header)
	body   func([]byte) []byte
	done   bool
}

func (w *rewriter) WriteHeader(status int) {
	if !w.done && w.header != nil {
		w.header(w.Header())
	}
	w.done = true
	w.ResponseWriter.WriteHeader(status)
}

func (w *rewriter) Write(b []byte) (int, error) {
	if !w.done {
		w.WriteHeader(http.StatusOK)
	}
	if w.body != nil {
		if _, err := w.ResponseWriter.Write(w.body(bytes.Clone(b))); err != nil {
			return 0, err
		}
		return len(b), nil
	}
	return w.ResponseWriter.Write(b)
}

// proxy is what stands in front in a test.
type proxy func(next http.Handler) http.Handler

// headers is a proxy that changes headers of answers to some requests.
func headers(to func(*http.Request) bool, change func(http.Header)) proxy {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if to(r) {
				w = &rewriter{ResponseWriter: w, header: change}
			}
			next.ServeHTTP(w, r)
		})
	}
}

// answer is a proxy that answers some requests itself.
func answers(to func(*http.Request) bool, status int, header ...string) proxy {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !to(r) {
				next.ServeHTTP(w, r)
				return
			}
			for i := 0; i < len(header); i += 2 {
				w.Header().Add(header[i], header[i+1])
			}
			w.WriteHeader(status)
			io.WriteString(w, "<html><title>a page</title></html>")
		})
	}
}

func every(*http.Request) bool      { return true }
func noLength(r *http.Request) bool { return r.ContentLength < 0 }
func starts(r *http.Request) bool   { return r.Method == "POST" }
func ofBlob(r *http.Request) bool   { return strings.Contains(r.URL.Path, "/blobs/sha256:") }
func loggedIn(r *http.Request) bool { return r.Header.Get("Authorization") != "" }
func isMethod(m string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.Method == m }
}

// TestFinds puts proxies in front that misbehave in ways that nginx and Apache
// don't.
func TestFinds(t *testing.T) {
	tests := []struct {
		name  string
		says  trouble
		saw   string
		proxy proxy
		user  string
		also  []trouble
	}{
		{name: "no length, no body", says: chunkedRefused, saw: "411", proxy: answers(noLength, 411)},
		{name: "no chunks", says: chunkedRefused, saw: "501", proxy: answers(noLength, 501)},
		{name: "lost chunks", says: chunkedLost, saw: "2097152 bytes were sent and 0 have arrived", proxy: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if noLength(r) {
					io.Copy(io.Discard, r.Body)
					r.Body, r.ContentLength = http.NoBody, 0
				}
				next.ServeHTTP(w, r)
			})
		}},
		{name: "a body that is kept back", says: requestBuffered, proxy: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == "PATCH" && r.Header.Get("Expect") == "" {
					all, err := io.ReadAll(r.Body)
					if err != nil {
						return
					}
					r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(all)), int64(len(all))
				}
				next.ServeHTTP(w, r)
			})
		}},
		{name: "no Location", says: noLocation, proxy: headers(starts, func(h http.Header) { h.Del("Location") })},
		{name: "another path", says: locationPath, saw: "/registry/v2/", proxy: headers(starts, func(h http.Header) { h.Set("Location", "/registry"+h.Get("Location")) })},
		{name: "another host", says: locationHost, saw: "backend:5000", proxy: headers(starts, func(h http.Header) { h.Set("Location", "http://backend:5000"+h.Get("Location")) })},
		{name: "HEAD without a length", says: headLength, saw: "nothing", proxy: headers(isMethod("HEAD"), func(h http.Header) { h.Del("Content-Length"); h.Set("Transfer-Encoding", "identity") })},
		{name: "other bytes", says: contentChanged, proxy: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if ofBlob(r) && r.Method == "GET" && r.Header.Get("Range") == "" {
					w = &rewriter{ResponseWriter: w, body: bytes.ToUpper}
				}
				next.ServeHTTP(w, r)
			})
		}},
		{name: "no PUT", says: methodBlocked, saw: "PATCH", proxy: answers(isMethod("PATCH"), 405)},
		{name: "no DELETE", says: methodBlocked, saw: "DELETE", proxy: answers(isMethod("DELETE"), 405)},
		{name: "no POST", says: methodBlocked, saw: "POST", proxy: answers(starts, 403)},
		{name: "two challenges", says: twoChallenges, proxy: answers(every, 401, "Www-Authenticate", `Basic realm="a"`, "Www-Authenticate", `Basic realm="b"`, versionHeader, "registry/2.0")},
		{name: "an unknown challenge", says: noChallenge, saw: `"negotiate"`, proxy: answers(every, 401, "Www-Authenticate", "Negotiate", versionHeader, "registry/2.0")},
		{name: "tokens nowhere", says: wrongRealm, saw: "no address", proxy: answers(every, 401, "Www-Authenticate", `Bearer realm="/v2/token",service="x"`, versionHeader, "registry/2.0")},
		{name: "tokens where nobody answers", says: wrongRealm, saw: "nobody answers", proxy: answers(every, 401, "Www-Authenticate", `Bearer realm="http://127.0.0.1:1/token",service="x"`, versionHeader, "registry/2.0")},
		{name: "log-in breaks", says: passwordFile, saw: "500", user: "me", proxy: answers(loggedIn, 500)},
		{name: "a page", says: noRegistry, saw: "a page", proxy: answers(every, 200)},
		{name: "a way round", says: redirects, saw: "https://other.example", proxy: answers(every, 302, "Location", "https://other.example/v2/")},
	}
	next := registry(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(tt.proxy(next))
			defer server.Close()
			r := examine(t, Options{URL: parse(t, server.URL), User: tt.user, Password: "secret"})
			wants(t, r, tt.says, tt.saw, tt.also...)
		})
	}
}

func parse(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func examine(t *testing.T, o Options) *Report {
	t.Helper()
	r, err := Examine(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func wants(t *testing.T, r *Report, id trouble, saw string, also ...trouble) {
	t.Helper()
	i := slices.IndexFunc(r.Findings, func(f Finding) bool { return f.ID == string(id) })
	if i < 0 {
		t.Fatalf("%s was not found, but %+v; checks %+v", id, r.Findings, r.Checks)
	}
	for j, f := range r.Findings {
		if j != i && !slices.Contains(also, trouble(f.ID)) {
			t.Errorf("also found %s: %s", f.ID, f.Saw)
		}
	}
	if f := r.Findings[i]; !strings.Contains(f.Saw, saw) || f.Breaks == "" || len(f.Change) == 0 {
		t.Errorf("got %+v, want %q in what was seen", f, saw)
	}
}

// TestNothingWrong examines Berth itself, over HTTP/1.1 and over HTTP/2.
func TestNothingWrong(t *testing.T) {
	next := registry(t)
	for _, proto := range []string{"HTTP/1.1", "HTTP/2"} {
		server := httptest.NewUnstartedServer(next)
		server.EnableHTTP2 = proto == "HTTP/2"
		server.StartTLS()
		defer server.Close()
		roots := x509.NewCertPool()
		roots.AddCert(server.Certificate())
		r := examine(t, Options{URL: parse(t, server.URL), Roots: roots})
		if len(r.Findings) != 0 || r.Problems() {
			t.Errorf("%s: found %+v", proto, r.Findings)
		}
		for _, c := range r.Checks {
			if c.Outcome != OK {
				t.Errorf("%s: %s: %s %s", proto, c.Name, c.Outcome, c.Detail)
			}
			if c.Name == "certificate" && !strings.HasSuffix(c.Detail, proto) {
				t.Errorf("the certificate's detail is %q, want %s", c.Detail, proto)
			}
		}
	}
}

// An authority makes certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// issue makes a certificate; a nil authority makes one that signs itself.
func (a *authority) issue(t *testing.T, change func(*x509.Certificate)) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<60))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "test " + serial.String()}, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour), IPAddresses: []net.IP{{127, 0, 0, 1}},
	}
	change(template)
	parent, signer := template, key
	if a != nil {
		parent, signer = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key}
}

// TestCertificates serves each kind of wrong certificate.
func TestCertificates(t *testing.T) {
	asCA := func(c *x509.Certificate) { c.IsCA, c.IPAddresses = true, nil }
	same := func(*x509.Certificate) {}
	var none *authority
	root := none.issue(t, asCA)
	between := root.issue(t, asCA)
	good := between.issue(t, same)
	roots := x509.NewCertPool()
	roots.AddCert(root.cert)
	tests := []struct {
		name  string
		says  trouble
		saw   string
		leaf  *authority
		chain []*authority
		roots *x509.CertPool
		min   uint16
	}{
		{name: "nothing", leaf: good, chain: []*authority{between}, roots: roots},
		{name: "without the one between", says: chainBroken, saw: "1 certificate(s)", leaf: good, roots: roots},
		{name: "an authority that sends itself", says: privateCA, leaf: good, chain: []*authority{between, root}},
		{name: "an authority unknown here", says: privateCA, saw: "or the server leaves out", leaf: good, chain: []*authority{between}},
		{name: "the one between is to be had elsewhere", says: chainBroken, leaf: root.issue(t, func(c *x509.Certificate) {
			c.IssuingCertificateURL = []string{"http://ca.example/between.crt"}
		})},
		{name: "signed by itself", says: selfSigned, leaf: none.issue(t, same)},
		{name: "ended", says: expired, saw: "ended on", leaf: between.issue(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), chain: []*authority{between}, roots: roots},
		{name: "of the future", says: expired, saw: "begins on", leaf: between.issue(t, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }), chain: []*authority{between}, roots: roots},
		{name: "ends soon", says: expiresSoon, leaf: between.issue(t, func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().Add(-80*24*time.Hour), time.Now().Add(48*time.Hour)
		}), chain: []*authority{between}, roots: roots},
		{name: "another name", says: wrongName, saw: "other.example", leaf: between.issue(t, func(c *x509.Certificate) {
			c.IPAddresses, c.DNSNames = nil, []string{"other.example"}
		}), chain: []*authority{between}, roots: roots},
		{name: "no name", says: wrongName, saw: "subject alternative name", leaf: between.issue(t, func(c *x509.Certificate) { c.IPAddresses = nil }), chain: []*authority{between}, roots: roots},
		{name: "old TLS", says: oldTLS, leaf: good, chain: []*authority{between}, roots: roots, min: tls.VersionTLS10},
	}
	next := registry(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cert := tls.Certificate{Certificate: [][]byte{tt.leaf.cert.Raw}, PrivateKey: tt.leaf.key}
			for _, c := range tt.chain {
				cert.Certificate = append(cert.Certificate, c.cert.Raw)
			}
			passwords := 0
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if loggedIn(r) {
					passwords++
				}
				next.ServeHTTP(w, r)
			}))
			server.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tt.min}
			server.StartTLS()
			defer server.Close()
			r := examine(t, Options{URL: parse(t, server.URL), Roots: tt.roots, User: "me", Password: "secret"})
			if tt.says == "" {
				if len(r.Findings) > 0 || passwords == 0 {
					t.Errorf("found %+v, sent the password %d times", r.Findings, passwords)
				}
				return
			}
			wants(t, r, tt.says, tt.saw)
			if wrong := r.Problems(); wrong != (passwords == 0) {
				t.Errorf("problems: %v, and the password was sent %d times", wrong, passwords)
			}
		})
	}
}

// TestNobodyThere examines addresses where nothing is.
func TestNobodyThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	wants(t, examine(t, Options{URL: parse(t, "https://"+addr)}), unreachable, "nobody answers at "+addr)
	wants(t, examine(t, Options{URL: parse(t, "https://no-such-name.invalid")}), unknownName, "no-such-name.invalid")

	server := httptest.NewServer(registry(t))
	defer server.Close()
	guess := parse(t, strings.Replace(server.URL, "http:", "https:", 1))
	wants(t, examine(t, Options{URL: guess}), noTLS, "plain HTTP")
	if r := examine(t, Options{URL: guess, Guessed: true}); len(r.Findings) > 0 || r.Address != server.URL {
		t.Errorf("a guessed https:// is examined as %s, with %+v", r.Address, r.Findings)
	}
}
