package listen

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A running is a server under test.
type running struct {
	addr string
	stop context.CancelFunc // begins the shutdown
	done chan error         // what Serve returned
}

// serve runs a server of h on a loopback port until the test ends.
func serve(t testing.TB, o ServerOptions, h http.HandlerFunc) running {
	t.Helper()
	ls, err := Listen(t.Context(), ListenOptions{Addresses: []Address{{Host: "127.0.0.1:0"}}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := running{addr: ls[0].Addr().String(), stop: cancel, done: make(chan error, 1)}
	if o.ShutdownGrace == 0 {
		o.ShutdownGrace = 100 * time.Millisecond
	}
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		r.done <- NewServer(o, h).Serve(ctx, ls...)
	}()
	t.Cleanup(func() { cancel(); <-finished })
	return r
}

// selfSigned makes a certificate for 127.0.0.1 and a client that trusts it.
func selfSigned(t testing.TB) (*Certificates, *tls.Config) {
	t.Helper()
	made, err := MakeSelfSigned(t.TempDir(), []Host{{Name: "127.0.0.1"}}, KeepExisting, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	c, err := LoadCertificates(CertificateOptions{CertFile: made.Cert, KeyFile: made.Key})
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(made.CA)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	return c, &tls.Config{RootCAs: pool}
}

// tlsConfig is the configuration of a server with c.
func tlsConfig(t testing.TB, c *Certificates) *tls.Config {
	t.Helper()
	config, err := NewTLSConfig(TLSOptions{Certificate: c.Get})
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// client returns an HTTP client that speaks HTTP/2 where the server does.
func client(t testing.TB, tc *tls.Config) *http.Client {
	t.Helper()
	tr := &http.Transport{TLSClientConfig: tc.Clone(), ForceAttemptHTTP2: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	// No test waits longer than this for a server that should have cut it.
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

// talk sends raw text and returns all that comes back until the server closes.
func talk(t *testing.T, addr, text string) string {
	t.Helper()
	c := dial(t, addr)
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the server neither answered nor closed; it sent %q", b)
	}
	return string(b)
}

func hello(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }

func TestServeProtocols(t *testing.T) {
	certs, tc := selfSigned(t)
	echo := func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) }
	secure := serve(t, ServerOptions{TLS: tlsConfig(t, certs)}, echo)
	plain := serve(t, ServerOptions{}, echo)

	old := tc.Clone()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	h1 := tc.Clone()
	h1.NextProtos = []string{"http/1.1"}
	tests := []struct {
		name, url string
		tls       *tls.Config
		want      string // body, or part of the error
	}{
		{"plain", "http://" + plain.addr, nil, "HTTP/1.1"},
		{"TLS", "https://" + secure.addr, tc, "HTTP/2.0"},
		{"TLS 1.1 is too old", "https://" + secure.addr, old, "protocol version"},
		{"https to the http port", "https://" + plain.addr, tc, "server gave HTTP response to HTTPS client"},
		{"http to the https port", "http://" + secure.addr, nil, "Client sent an HTTP request to an HTTPS server"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			resp, err := client(t, tt.tls).Get(tt.url)
			if err != nil {
				got = err.Error()
			} else {
				b, _ := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				got = string(b)
			}
			if !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want it to contain %q", got, tt.want)
			}
		})
	}
	c, err := tls.Dial("tcp", secure.addr, h1)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := c.ConnectionState().NegotiatedProtocol; got != "http/1.1" {
		t.Errorf("protocol of a client without HTTP/2: got %q, want http/1.1", got)
	}
}

// TestTLSHelloOnPlainPort sends a hello without any line end, for which a
// server that waits for a request line would wait forever.
func TestTLSHelloOnPlainPort(t *testing.T) {
	s := serve(t, ServerOptions{ReadHeaderTimeout: time.Hour}, hello)
	got := talk(t, s.addr, "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03")
	wantAll(t, got, "HTTP/1.0 400 ", `"code":"UNSUPPORTED"`, "plain http")
}

func TestPlainOnTLSPort(t *testing.T) {
	certs, _ := selfSigned(t)
	s := serve(t, ServerOptions{TLS: tlsConfig(t, certs)}, hello)
	got := talk(t, s.addr, "GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
	wantAll(t, got, "HTTP/1.0 400 ", "application/json", "https://")
}

func TestHTTP10IsUnchunked(t *testing.T) {
	s := serve(t, ServerOptions{}, func(w http.ResponseWriter, _ *http.Request) {
		for range 10 {
			_, _ = io.WriteString(w, strings.Repeat("x", 1000))
			_ = http.NewResponseController(w).Flush()
		}
	})
	got := talk(t, s.addr, "GET / HTTP/1.0\r\n\r\n")
	head, body, _ := strings.Cut(got, "\r\n\r\n")
	if strings.Contains(strings.ToLower(head), "transfer-encoding") {
		t.Errorf("got header %q, want no transfer encoding", head)
	}
	if want := strings.Repeat("x", 10000); body != want {
		t.Errorf("got a body of %d bytes, want the %d bytes themselves", len(body), len(want))
	}
}

func TestLimitsOfHeaders(t *testing.T) {
	s := serve(t, ServerOptions{ReadHeaderTimeout: 100 * time.Millisecond, IdleTimeout: 100 * time.Millisecond}, hello)
	tests := []struct{ name, send, want string }{
		{"nothing at all", "", ""},
		{"half a header", "GET / HTTP/1.1\r\nHost: x\r\nX-", "400"},
		{"idle after an answer", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "hello"},
		{"too large", "GET / HTTP/1.1\r\nHost: x\r\nX-A: " + strings.Repeat("a", 70<<10) + "\r\n\r\n", "431"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := talk(t, s.addr, tt.send); !strings.Contains(got, tt.want) || tt.want == "" && got != "" {
				t.Errorf("got %q, want it closed with %q", got, tt.want)
			}
		})
	}
}

// readBody is a handler that reads all of the body and says how that went.
func readBody(w http.ResponseWriter, r *http.Request) {
	n, err := io.Copy(io.Discard, r.Body)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		w.WriteHeader(http.StatusRequestTimeout)
	case err != nil:
		w.WriteHeader(http.StatusBadRequest)
	}
	_, _ = fmt.Fprintf(w, "%d bytes", n)
}

// A drip sends parts, each after a pause, and then nothing more.
type drip struct {
	parts int
	size  int
	pause time.Duration
	stall chan struct{} // at the end waits for this; nil means the body ends
}

func (d *drip) Read(p []byte) (int, error) {
	if d.parts == 0 {
		if d.stall != nil {
			<-d.stall
		}
		return 0, io.EOF
	}
	d.parts--
	time.Sleep(d.pause)
	n := min(d.size, len(p))
	clear(p[:n])
	return n, nil
}

func TestLimitsOfBodies(t *testing.T) {
	certs, tc := selfSigned(t)
	limits := ServerOptions{BodyStall: 500 * time.Millisecond, BodyRate: 1000}
	plain := serve(t, limits, readBody)
	limits.TLS = tlsConfig(t, certs)
	secure := serve(t, limits, readBody)

	tests := []struct {
		name string
		body drip
		want int
	}{
		{"slow but steady", drip{parts: 20, size: 200, pause: 50 * time.Millisecond}, http.StatusOK},
		{"stalled at once", drip{stall: make(chan struct{})}, http.StatusRequestTimeout},
		{"stalled later", drip{parts: 3, size: 1000, stall: make(chan struct{})}, http.StatusRequestTimeout},
		{"one byte now and then", drip{parts: 100, size: 1, pause: 50 * time.Millisecond}, http.StatusRequestTimeout},
	}
	for name, url := range map[string]string{"HTTP/1.1": "http://" + plain.addr, "HTTP/2": "https://" + secure.addr} {
		for _, tt := range tests {
			t.Run(name+"/"+tt.name, func(t *testing.T) {
				t.Parallel()
				d := tt.body
				release := func() {}
				if d.stall != nil {
					d.stall = make(chan struct{})
					release = sync.OnceFunc(func() { close(d.stall) })
				}
				resp, err := client(t, tc).Post(url, "", &d)
				if err != nil {
					release()
					t.Fatal(err)
				}
				defer resp.Body.Close()
				defer release() // before the body: the client's Close waits for it
				if b, _ := io.ReadAll(resp.Body); resp.StatusCode != tt.want {
					t.Errorf("got %d (%s), want %d", resp.StatusCode, b, tt.want)
				}
			})
		}
	}
}

// TestRefusedBody is a request that is answered without a look at its body,
// which never comes: net/http waits for it before it answers.
func TestRefusedBody(t *testing.T) {
	refuse := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/partly" {
			_, _ = io.ReadFull(r.Body, make([]byte, 1))
		}
		w.WriteHeader(http.StatusUnauthorized)
	}
	s := serve(t, ServerOptions{BodyStall: 200 * time.Millisecond}, refuse)
	for _, path := range []string{"/", "/partly"} {
		got := talk(t, s.addr, "PUT "+path+" HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx")
		wantAll(t, got, "HTTP/1.1 401 ", "Connection: close")
	}
}

// TestHandlerMayTakeItsTime has a handler that works far longer than a body may
// stall: between two reads, after the body has ended, and with a body that
// nobody reads.
func TestHandlerMayTakeItsTime(t *testing.T) {
	certs, tc := selfSigned(t)
	limits := ServerOptions{BodyStall: 100 * time.Millisecond, WriteStall: 5 * time.Millisecond}
	think := func(w http.ResponseWriter, r *http.Request) {
		b := make([]byte, 1)
		if r.Method == http.MethodPost {
			_, _ = io.ReadFull(r.Body, b)
			time.Sleep(300 * time.Millisecond)
			if n, err := io.Copy(io.Discard, r.Body); n != 99_999 || err != nil {
				t.Errorf("%s: got %d more bytes and %v, want 99999 and no error", r.Proto, n, err)
			}
		}
		_, _ = w.Write(b)
		_ = http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
			t.Errorf("%s %s: the context ended: %v", r.Proto, r.Method, context.Cause(r.Context()))
		case <-time.After(300 * time.Millisecond):
		}
		_, _ = w.Write(b)
	}
	plain := serve(t, limits, think)
	limits.TLS = tlsConfig(t, certs)
	secure := serve(t, limits, think)
	for _, url := range []string{"http://" + plain.addr, "https://" + secure.addr} {
		for _, method := range []string{http.MethodPost, http.MethodGet} {
			req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(strings.Repeat("x", 100_000)))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := client(t, tc).Do(req)
			if err != nil {
				t.Errorf("%s %s: %v", method, url, err)
				continue
			}
			if b, err := io.ReadAll(resp.Body); len(b) != 2 || err != nil {
				t.Errorf("%s %s: got %d bytes and %v, want 2 and no error", method, url, len(b), err)
			}
			_ = resp.Body.Close()
		}
	}
}

// pour is a handler that writes more than fits into any buffer.
func pour(failed chan<- error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		_, err := io.Copy(w, io.LimitReader(zeros{}, 64<<20))
		failed <- err
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestSlowReadersAreCut(t *testing.T) {
	certs, tc := selfSigned(t)
	failed := make(chan error, 1)
	// A stream may stand still 20 times as long as a connection.
	limits := ServerOptions{WriteStall: 20 * time.Millisecond}
	plain := serve(t, limits, pour(failed))
	limits.TLS = tlsConfig(t, certs)
	secure := serve(t, limits, pour(failed))

	for _, url := range []string{"http://" + plain.addr, "https://" + secure.addr} {
		resp, err := client(t, tc).Get(url)
		if err != nil {
			t.Fatal(err)
		}
		// The body is not read: HTTP/2 closes its window, TCP its own.
		select {
		case err := <-failed:
			if err == nil {
				t.Errorf("%s: the handler wrote all, want it cut", resp.Proto)
			}
		case <-time.After(20 * time.Second):
			t.Errorf("%s: the handler still writes to a client that reads nothing", resp.Proto)
		}
		_ = resp.Body.Close()
	}
}

func TestIdleConnectionsMakeRoom(t *testing.T) {
	s := serve(t, ServerOptions{MaxConns: 2}, hello)
	ask := func(c net.Conn) error {
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			return err
		}
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			return err
		}
		_, err = io.ReadAll(resp.Body)
		return err
	}
	var conns []net.Conn
	for i := range 6 {
		c := dial(t, s.addr)
		if err := ask(c); err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		conns = append(conns, c)
	}
	if err := ask(conns[5]); err != nil {
		t.Errorf("the newest connection: %v", err)
	}
	// Which of the others is left is not certain: the server may notice late that
	// one has become idle.
	open := 0
	for _, c := range conns[:5] {
		if ask(c) == nil {
			open++
		}
	}
	if open > 1 {
		t.Errorf("beside the newest, %d of six connections are open, want at most one", open)
	}
}

func TestTooManyConnections(t *testing.T) {
	release := make(chan struct{})
	s := serve(t, ServerOptions{MaxConns: 1, QueueTime: 50 * time.Millisecond}, func(w http.ResponseWriter, r *http.Request) {
		hello(w, r)
		_ = http.NewResponseController(w).Flush()
		<-release
	})
	defer close(release)
	first := dial(t, s.addr)
	if _, err := io.WriteString(first, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := first.Read(make([]byte, 1)); err != nil { // its answer has begun
		t.Fatal(err)
	}
	got := talk(t, s.addr, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	wantAll(t, got, "HTTP/1.0 503 ", "Retry-After: ", `"code":"UNAVAILABLE"`)
}

// A flakyListener fails the first accepts.
type flakyListener struct {
	net.Listener
	mu   sync.Mutex
	errs []error
}

func (l *flakyListener) Accept() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.errs) > 0 {
		err := l.errs[0]
		l.errs = l.errs[1:]
		return nil, err
	}
	return l.Listener.Accept()
}

func TestAcceptGoesOn(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &flakyListener{Listener: inner, errs: []error{outOfFiles, errors.New("no idea"), outOfFiles}}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- NewServer(ServerOptions{}, http.HandlerFunc(hello)).Serve(ctx, l) }()
	resp, err := client(t, nil).Get("http://" + inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

func TestServeUnixSocket(t *testing.T) {
	path := filepath.Join(socketDir(t), "s")
	l, err := listenUnixAt(t, path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	// TLS is for tcp: the socket's file mode protects it.
	certs, _ := selfSigned(t)
	var peer Peer
	proxies := NewProxies(ProxyOptions{})
	whose := func(w http.ResponseWriter, r *http.Request) {
		peer = proxies.Peer(r)
		hello(w, r)
	}
	config := tlsConfig(t, certs)
	go func() { done <- NewServer(ServerOptions{TLS: config}, http.HandlerFunc(whose)).Serve(ctx, l) }()
	var d net.Dialer
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return d.DialContext(ctx, "unix", path)
	}}
	r, err := http.NewRequest("GET", "http://admin/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Forwarded-For", "192.0.2.1")
	r.Header.Set("X-Forwarded-Proto", "https")
	resp, err := (&http.Client{Transport: tr}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(resp.Body); string(b) != "hello" {
		t.Errorf("got %q, want hello", b)
	}
	_ = resp.Body.Close()
	tr.CloseIdleConnections()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("the socket is still there")
	}
	// Who may open the socket may say for whom.
	if want := (Peer{Addr: netip.MustParseAddr("192.0.2.1"), Scheme: "https", Host: "admin", Trusted: true}); peer != want {
		t.Errorf("got %+v, want %+v", peer, want)
	}
}
