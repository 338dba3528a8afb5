package berth_test

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth"
	"berth/bench/floor"
	"berth/config"
	"berth/internal/linelog"
	"berth/internal/listen"
)

// A smallImage is a manifest and the one blob that it names.
type smallImage struct{ manifest, blob, manifestDigest, blobDigest string }

func newSmallImage() smallImage {
	digest := func(s string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(s))) }
	i := smallImage{blob: strings.Repeat("0123456789abcdef", 64)}
	i.blobDigest = digest(i.blob)
	descriptor := fmt.Sprintf(`{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":%q,"size":%d}`, i.blobDigest, len(i.blob))
	i.manifest = `{"schemaVersion":2,"mediaType":"` + imageType + `","config":` + descriptor + `,"layers":[` +
		strings.Repeat(descriptor+",", 5) + descriptor + `]}`
	i.manifestDigest = digest(i.manifest)
	return i
}

const imageType = "application/vnd.oci.image.manifest.v1+json"

// push pushes the image through h.
func (i smallImage) push(tb testing.TB, h http.Handler) {
	tb.Helper()
	do := func(method, target, contentType, body string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(method, target, strings.NewReader(body))
		r.Header.Set("Content-Type", contentType)
		r.SetBasicAuth(benchUser, benchPassword)
		h.ServeHTTP(w, r)
		if w.Code/100 != 2 {
			tb.Fatalf("%s %s: %d %s", method, target, w.Code, w.Body)
		}
		return w
	}
	at := do("POST", "/v2/bench/app/blobs/uploads/", "", "").Header().Get("Location")
	do("PUT", at+"?digest="+i.blobDigest, "application/octet-stream", i.blob)
	do("PUT", "/v2/bench/app/manifests/v1", imageType, i.manifest)
}

// request is one of the requests that are measured, as bytes.
func (i smallImage) request(name, authorization string) string {
	lines := map[string]string{
		"manifest by tag":    "GET /v2/bench/app/manifests/v1",
		"manifest by digest": "GET /v2/bench/app/manifests/" + i.manifestDigest,
		"manifest HEAD":      "HEAD /v2/bench/app/manifests/v1",
		"blob":               "GET /v2/bench/app/blobs/" + i.blobDigest,
		"blob HEAD":          "HEAD /v2/bench/app/blobs/" + i.blobDigest,
		"no such blob":       "HEAD /v2/bench/app/blobs/sha256:" + strings.Repeat("0", 64),
		"no such manifest":   "GET /v2/bench/app/manifests/none",
	}
	text := lines[name] + " HTTP/1.1\r\nHost: 127.0.0.1:5000\r\nUser-Agent: docker/27.3.1 go/go1.22.7 os/linux arch/amd64\r\nAccept: " + imageType + "\r\n"
	if authorization != "" {
		text += "Authorization: " + authorization + "\r\n"
	}
	return text + "\r\n"
}

func requestNames() []string {
	return []string{"manifest by tag", "manifest by digest", "manifest HEAD", "blob", "blob HEAD", "no such blob", "no such manifest"}
}

const (
	benchUser     = "bench"
	benchPassword = "correct horse"

	// of benchPassword, at cost 4, which makes no difference to who is remembered
	benchHash = "$2y$04$IVjlWfcrdRpN6j5n/0ou5.7uAQnZufj1RtmpO6XFR03H27F0MooyG"
)

// openBench opens a registry that writes its access log to nowhere, and pushes an image to it.
func openBench(tb testing.TB, change func(*config.Config)) (*berth.Server, smallImage) {
	tb.Helper()
	nowhere, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { nowhere.Close() })
	cfg := config.Default()
	cfg.Data = tb.TempDir()
	cfg.Log.Access = true
	if change != nil {
		change(&cfg)
	}
	s, err := berth.Open(tb.Context(), berth.Options{Config: cfg, Logger: slog.New(linelog.New(nowhere, linelog.Options{}))})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	i := newSmallImage()
	i.push(tb, s)
	return s, i
}

// A sink is an http.ResponseWriter that can be used again.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header { return s.header }
func (s *sink) Write(p []byte) (int, error) {
	s.status = cmp.Or(s.status, http.StatusOK)
	return len(p), nil
}
func (s *sink) WriteHeader(status int) { s.status = status }
func (s *sink) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(io.Discard, r)
}

// serveAgain has s serve the same request again and again.
func serveAgain(b *testing.B, s *berth.Server, request string) {
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(request)))
	if err != nil {
		b.Fatal(err)
	}
	r.RemoteAddr = "127.0.0.1:40000"
	w := &sink{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		s.ServeHTTP(w, r)
	}
}

// BenchmarkHandler measures requests from the handler on, without net/http.
func BenchmarkHandler(b *testing.B) {
	s, i := openBench(b, nil)
	for _, name := range requestNames() {
		b.Run(name, func(b *testing.B) {
			serveAgain(b, s, i.request(name, ""))
		})
	}
}

// serveBench serves h as the program does and returns its address.
func serveBench(b *testing.B, h http.Handler) string {
	b.Helper()
	ls, err := listen.Listen(b.Context(), listen.ListenOptions{Addresses: []listen.Address{{Host: "127.0.0.1:0"}}})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- listen.NewServer(listen.ServerOptions{}, h).Serve(ctx, ls...) }()
	b.Cleanup(func() { cancel(); <-done })
	return ls[0].Addr().String()
}

// exchange sends a request over a connection again and again. Answers must always
// be as long as the first one.
func exchange(b *testing.B, addr, request string) {
	b.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	buf := make([]byte, 64<<10)
	first := httpAnswer(b, c, request)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := io.WriteString(c, request); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(c, buf[:first]); err != nil {
			b.Fatal(err)
		}
	}
}

// httpAnswer returns the length of an answer.
func httpAnswer(b *testing.B, c net.Conn, request string) (n int) {
	b.Helper()
	method, _, _ := strings.Cut(request, " ")
	if _, err := io.WriteString(c, request); err != nil {
		b.Fatal(err)
	}
	counted := &countReader{r: c}
	whole := bufio.NewReaderSize(counted, 64<<10)
	resp, err := http.ReadResponse(whole, &http.Request{Method: method})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		b.Fatal(err)
	}
	return counted.n
}

type countReader struct {
	r io.Reader
	n int
}

func (c *countReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

// BenchmarkLoopback measures requests over a connection, those of the floor
// server too: what is between the two is what Berth does besides net/http.
func BenchmarkLoopback(b *testing.B) {
	s, i := openBench(b, nil)
	f, err := floor.Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	i.push(b, f)
	users := filepath.Join(b.TempDir(), "users")
	if err := os.WriteFile(users, []byte(benchUser+":"+benchHash+"\n"), 0o600); err != nil {
		b.Fatal(err)
	}
	locked, _ := openBench(b, func(cfg *config.Config) { cfg.Auth.Htpasswd.Path = users })
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(benchUser+":"+benchPassword))
	for _, of := range []struct {
		name, authorization string
		handler             http.Handler
	}{{"berth", "", s}, {"login", basic, locked}, {"floor", "", f}} {
		addr := serveBench(b, of.handler)
		for _, name := range requestNames() {
			b.Run(of.name+"/"+name, func(b *testing.B) {
				exchange(b, addr, i.request(name, of.authorization))
			})
		}
	}
}

// TestAllocations holds what a pull costs from the first handler on, access log and
// numbers included: one allocation more for each request is one that somebody has
// decided on.
func TestAllocations(t *testing.T) {
	if raced {
		t.Skip("the race detector has pools forget things")
	}
	s, i := openBench(t, nil)
	for name, most := range map[string]float64{
		"manifest by tag": 10, "manifest by digest": 10, "manifest HEAD": 10, "blob": 18, "blob HEAD": 18,
	} {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(i.request(name, ""))))
		if err != nil {
			t.Fatal(err)
		}
		r.RemoteAddr = "127.0.0.1:40000"
		w := &sink{header: http.Header{}}
		n := testing.AllocsPerRun(200, func() {
			clear(w.header)
			s.ServeHTTP(w, r)
		})
		if w.status > http.StatusOK || n > most {
			t.Errorf("%s: %v allocations, want at most %v (status %d)", name, n, most, w.status)
		}
	}
}
