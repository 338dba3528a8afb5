package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// A script is a connection on which the server says what is written here.
type script struct {
	net.Conn
	said io.Reader
}

func (s script) Read(b []byte) (int, error)  { return s.said.Read(b) }
func (s script) Write(b []byte) (int, error) { return len(b), nil }

func scripted(said string) *conn {
	s := script{said: strings.NewReader(said)}
	return &conn{to: &target{}, net: s, r: bufio.NewReaderSize(s, 64), hash: sha256.New()}
}

func TestAnswer(t *testing.T) {
	for _, c := range []struct {
		name, method, said string
		status             int
		body               string
		fails              bool
	}{
		{"length", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1", 200, "hello", false},
		{"chunks", "GET", "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nX: y\r\n\r\n", 200, "hello", false},
		{"larger than the buffer", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n" + strings.Repeat("x", 300), 200, strings.Repeat("x", 300), false},
		{"HEAD", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 200, "", false},
		{"interim", "PUT", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n", 201, "", false},
		{"error", "GET", "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno", 404, "no", false},
		{"no text", "GET", "HTTP/1.1 204 \r\n\r\n", 204, "", false},
		{"ends early", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello", 200, "", true},
		{"chunks end early", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n", 200, "", true},
		{"chunk too long", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhell\r\n0\r\n\r\n", 200, "", true},
		{"no length", "GET", "HTTP/1.1 200 OK\r\n\r\nhello", 200, "", true},
		{"negative length", "GET", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", 200, "", true},
		{"another protocol", "GET", "HTTP/2.0 200 OK\r\n\r\n", 0, "", true},
		{"no field", "GET", "HTTP/1.1 200 OK\r\nhello\r\n\r\n", 200, "", true},
		{"a head that is too large", "GET", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 100) + "\r\n\r\n", 200, "", true},
		{"nothing", "GET", "", 0, "", true},
	} {
		conn := scripted(c.said)
		conn.verify = true
		a, err := conn.do(request{method: c.method, path: "/", keep: keepBody})
		if (err != nil) != c.fails || a.status != c.status && err == nil {
			t.Errorf("%s: got %d, %v", c.name, a.status, err)
		}
		if err == nil && (string(a.body) != c.body || a.sum != sha256.Sum256([]byte(c.body))) {
			t.Errorf("%s: got body %q, want %q", c.name, a.body, c.body)
		}
	}
}

func TestAnswerHeader(t *testing.T) {
	conn := scripted("HTTP/1.1 200 OK\r\ndocker-content-DIGEST:  sha256:1 \r\nLocation: /x\r\nLink: </y>\r\nContent-Length: 0\r\n\r\n" +
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	a, err := conn.do(request{method: "GET"})
	if err != nil || string(a.header[hDigest]) != "sha256:1" || string(a.header[hLocation]) != "/x" || string(a.header[hLink]) != "</y>" {
		t.Errorf("got %q, %v", a.header, err)
	}
	if a, err = conn.do(request{method: "GET"}); err != nil || len(a.header[hDigest])+len(a.header[hLocation])+len(a.header[hLink]) > 0 {
		t.Errorf("fields of the answer before are left: %q, %v", a.header, err)
	}
}

// TestAnswerAllocates nothing, or the client would cost what it measures.
func TestAnswerAllocates(t *testing.T) {
	const runs = 100
	answer := "HTTP/1.1 200 OK\r\nDocker-Content-Digest: sha256:1\r\nContent-Length: 5\r\n\r\nhello"
	conn := scripted(strings.Repeat(answer, runs+2))
	q := request{method: "GET", path: "/v2/x/manifests/y", accept: manifestType}
	if n := testing.AllocsPerRun(runs, func() {
		if a, err := conn.do(q); err != nil || a.size != 5 {
			t.Fatal(a, err)
		}
	}); n > 0 {
		t.Errorf("got %v allocations for a request, want 0", n)
	}
}

// FuzzAnswer compares with net/http: what both take for an answer is the same.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nLink: </x>\r\n\r\nno"))
	f.Fuzz(func(t *testing.T, said []byte) {
		a, err := scripted(string(said)).do(request{method: "GET", keep: keepBody})
		if err != nil {
			return
		}
		resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(said)), &http.Request{Method: "GET"})
		if err != nil || resp.StatusCode < 200 {
			return // it is stricter, and returns interim answers
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return
		}
		if resp.StatusCode != a.status || !bytes.Equal(body, a.body) {
			t.Errorf("%q: got %d %q, net/http has %d %q", said, a.status, a.body, resp.StatusCode, body)
		}
	})
}

// TestRequests are read by net/http as they are meant.
func TestRequests(t *testing.T) {
	stock := newStock()
	small, large := stock.blob(1000, 1), stock.blob(3<<20+17, 2)
	for _, q := range []request{
		{method: "GET", path: "/v2/", accept: "a/b", rng: "bytes=0-1"},
		{method: "POST", path: "/v2/x?mount=y"},
		{method: "PUT", path: "/p", contentType: "a/b", body: small},
		{method: "PUT", path: "/p", body: large},
		{method: "PATCH", path: "/p", body: small, shape: chunkedBody},
		{method: "PATCH", path: "/p", body: large, shape: chunkedBody},
		{method: "PATCH", path: "/p", shape: chunkedBody},
	} {
		got := make(chan error, 1)
		tg := served(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b, err := io.ReadAll(r.Body)
			if err == nil && (digestOf(b) != q.body.digest && q.body.size() > 0 || int64(len(b)) != q.body.size()) {
				err = errors.New("other bytes came")
			}
			if r.Method != q.method || r.URL.RequestURI() != q.path || r.Header.Get("Accept") != q.accept || r.Header.Get("Range") != q.rng ||
				r.Header.Get("Content-Type") != q.contentType || (r.ContentLength < 0) != (q.shape == chunkedBody) {
				err = errors.Join(err, errors.New("another request came"))
			}
			got <- err
		}), plain, stock)
		if err := withConn(tg, func(c *conn) error { _, err := c.want(200, q); return err }); err != nil {
			t.Errorf("%s %s: %v", q.method, q.path, err)
			continue
		}
		if err := <-got; err != nil {
			t.Errorf("%s %s: %v", q.method, q.path, err)
		}
	}
}

func TestDestination(t *testing.T) {
	for in, want := range map[string]string{
		"/v2/x?y=z": "/v2/x?y=z", "http://host:1/v2/x": "/v2/x", "https://host/": "/", "http://host": "", "": "", "x": "",
	} {
		if got, err := destination([]byte(in)); got != want || (err != nil) != (want == "") {
			t.Errorf("destination of %q: got %q, %v, want %q", in, got, err, want)
		}
	}
	if got := withDigest("/u?state=1", "d") + withDigest("/u", "d"); got != "/u?state=1&digest=d/u?digest=d" {
		t.Errorf("got %s", got)
	}
}

// TestStock has blobs whose digests are those of their bytes.
func TestStock(t *testing.T) {
	s := newStock()
	a, b := s.blob(100, 1), s.blob(100, 2)
	for _, b := range []blob{a, b} {
		if all := append(append([]byte(nil), b.base...), b.tail...); digestOf(all) != b.digest || b.size() != 100 {
			t.Errorf("got %s of %d bytes, want %s", b.digest, b.size(), digestOf(all))
		}
	}
	if a.digest == b.digest {
		t.Error("two seeds, one blob")
	}
}
