package listen

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
)

const anyHost = "Host: x\r\n\r\n"

// heads are heads, and whether they are read.
var heads = map[string]bool{
	"GET / HTTP/1.1\r\n" + anyHost: true,
	"GET /v2/a/b/manifests/v1?n=1&last=%20 HTTP/1.1\r\nhost: registry.example.com:5000\r\nUSER-agent: \t x y \t\r\nAccept: a\r\nAccept: b\r\nAccept:\r\n\r\n": true,
	"GET /%2e/%zz HTTP/1.1\r\n" + anyHost:                                      true, // by url only
	"GET //a?b?c HTTP/1.1\r\n" + anyHost:                                       true,
	"HEAD /a? HTTP/1.1\r\nConnection: Keep-Alive\r\n" + anyHost:                true,
	"PUT /a HTTP/1.1\r\nContent-Length: 5\r\n" + anyHost + "12345GET":          true,
	"POST /a HTTP/1.1\r\nContent-Length: 0\r\n" + anyHost:                      true,
	"DELETE /a HTTP/1.1\r\nHost: [::1]:80\r\n\r\nGET / HTTP/1.1\r\n" + anyHost: true,
	"GET / HTTP/1.1\r\n\r\n":                                                   false,
	"GET / HTTP/1.0\r\n" + anyHost:                                             false,
	"GET /  HTTP/1.1\r\n" + anyHost:                                            false,
	"GET / HTTP/1.1\n" + anyHost:                                               false,
	"GET / HTTP/1.1\r\nHost: x\n\r\n":                                          false,
	"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n":                             false,
	"GET / HTTP/1.1\r\nHost: x/y\r\n\r\n":                                      false,
	"GET / HTTP/1.1\r\nHost: x\r\n b: c\r\n\r\n":                               false,
	"GET / HTTP/1.1\r\nA : b\r\n" + anyHost:                                    false,
	"GET / HTTP/1.1\r\nA: b\x00\r\n" + anyHost:                                 false,
	"GET / HTTP/1.1\r\nA: \xff\r\n" + anyHost:                                  false,
	"GET / HTTP/1.1\r\nA\r\n" + anyHost:                                        false,
	"GET / HTTP/1.1\r\nConnection: close\r\n" + anyHost:                        false,
	"GET / HTTP/1.1\r\nConnection: keep-alive, upgrade\r\n" + anyHost:          false,
	"GET / HTTP/1.1\r\nUpgrade: h2c\r\n" + anyHost:                             false,
	"GET / HTTP/1.1\r\nPragma: no-cache\r\n" + anyHost:                         false,
	"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + anyHost:               true,
	"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + anyHost + "3\r\nabc\r\n0a\r\n0123456789\r\n0\r\n\r\nGET": true,
	"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + anyHost + "3\r\nabc\r\n0\r\nA: b\r\n\r\n":                true,
	"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + anyHost + "3;a\r\nabc\r\n":                               true,
	"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + anyHost + "1000000000000003\r\nabc\r\n0\r\n\r\n":         true,
	"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked, chunked\r\n" + anyHost:                                         false,
	"PUT / HTTP/1.1\r\nTransfer-Encoding: identity\r\n" + anyHost:                                                 false,
	"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n" + anyHost:                    false,
	"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n" + anyHost:                             false,
	"PUT / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n" + anyHost:                             false,
	"PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n" + anyHost:                                   false,
	"PUT / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n" + anyHost:                                      false,
	"PUT / HTTP/1.1\r\nContent-Length: +5\r\n" + anyHost:                                                          false,
	"PUT / HTTP/1.1\r\nContent-Length: 9999999999999999999\r\n" + anyHost:                                         false,
	"PUT / HTTP/1.1\r\nContent-Length:\r\n" + anyHost:                                                             false,
	"GET http://x/ HTTP/1.1\r\n" + anyHost:                                                                        false,
	"CONNECT x:80 HTTP/1.1\r\n" + anyHost:                                                                         false,
	"OPTIONS * HTTP/1.1\r\n" + anyHost:                                                                            false,
	"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n":                                                                            false,
	"\r\nGET / HTTP/1.1\r\n" + anyHost:                                                                            false,
	"GET / HTTP/1.1\r\nHost: x\r\n":                                                                               false,
	"GET / HTTP/1.1\r\n" + strings.Repeat("A: b\r\n", maxFields+1) + anyHost:                                      false,
	"GET / HTTP/1.1\r\nA: " + strings.Repeat("b", maxRaw) + "\r\n" + anyHost:                                      true,
	"GET / HTTP/1.1\r\nHost: x\r\nCookie: a\r\n\r\n":                                                              true,
}

func TestHead(t *testing.T) {
	for _, text := range slices.Sorted(maps.Keys(heads)) {
		if got := new(head).read([]byte(text)); got != heads[text] {
			t.Errorf("%.100q: got %v", text, got)
		}
	}
}

// TestKnownHeads holds that fields are read anew when others came in between, whichever
// are still known, and that those that come again share what they mean.
func TestKnownHeads(t *testing.T) {
	var h head
	text := func(n int) []byte {
		return fmt.Appendf(nil, "PUT /%d HTTP/1.1\r\nHost: host%d\r\nContent-Length: %d\r\nA: %d\r\nA: x\r\n\r\n", n, n, n, n)
	}
	check := func(n int) {
		t.Helper()
		if p := text(n); !h.read(p) || h.size != len(p) || h.host != fmt.Sprint("host", n) || h.length != int64(n) ||
			!reflect.DeepEqual(h.header, http.Header{"Content-Length": {fmt.Sprint(n)}, "A": {fmt.Sprint(n), "x"}}) {
			t.Fatalf("%d: got %+v", n, h.fields)
		}
	}
	for kinds := 1; kinds <= 2*maxKnown; kinds++ {
		for n := range 3 * kinds {
			check(n % kinds)
		}
	}
	check(1)
	again := text(1)
	if n := testing.AllocsPerRun(100, func() { h.read(again) }); n > 0 {
		t.Errorf("what is known takes %v allocations", n)
	}
	if h.read([]byte("GET / HTTP/1.1\r\nA: b\r\n\r\n")) {
		t.Error("a head without a host is read")
	}
	check(1)
}

// FuzzHead holds that heads that are read mean what they mean to net/http, and end
// where they end there, whatever was read before.
func FuzzHead(f *testing.F) {
	texts := slices.Sorted(maps.Keys(heads))
	for i, text := range texts {
		f.Add([]byte(text), []byte(text))
		f.Add([]byte(text), []byte(texts[(i+1)%len(texts)]))
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		var h head
		compareHead(t, &h, first)
		compareHead(t, &h, second)
	})
}

func compareHead(t *testing.T, h *head, p []byte) {
	if !h.read(p) {
		return
	}
	u, target, err := h.url(&url.URL{})
	if err != nil {
		return // net/http says what is wrong
	}
	from := bytes.NewReader(p)
	r := bufio.NewReaderSize(from, 16)
	want, err := http.ReadRequest(r)
	if err != nil {
		t.Fatalf("%q is read, and by net/http not: %v", p, err)
	}
	if size := len(p) - from.Len() - r.Buffered(); size != h.size {
		t.Errorf("%q ends after %d bytes, by net/http after %d", p, h.size, size)
	}
	if h.chunked {
		compareChunks(t, h, p, want)
		return
	}
	if h.method != want.Method || target != want.RequestURI || h.host != want.Host || h.length != want.ContentLength ||
		!reflect.DeepEqual(h.header, want.Header) || !reflect.DeepEqual(u, want.URL) || want.Close || want.TransferEncoding != nil ||
		want.Proto != "HTTP/1.1" || want.Trailer != nil || (h.length == 0) != (want.Body == http.NoBody) {
		t.Errorf("%q: got %+v, %v, %v, want %+v", p, h, u, h.header, want)
	}
	rest := int64(len(p) - h.size)
	if n, _ := io.Copy(io.Discard, want.Body); n != min(rest, h.length) {
		t.Errorf("%q: net/http reads a body of %d bytes, want %d of %d", p, n, h.length, rest)
	}
}

// compareChunks holds that where chunks are followed to their end, all of them are good
// to net/http, and end there.
func compareChunks(t *testing.T, h *head, p []byte, want *http.Request) {
	if want.ContentLength != -1 || !slices.Equal(want.TransferEncoding, []string{"chunked"}) || h.length != 0 ||
		h.method != want.Method || !reflect.DeepEqual(h.header, want.Header) {
		t.Errorf("%q: got %+v, %v, want %+v", p, h, h.header, want)
	}
	body := p[h.size:]
	var whole, pieces chunks
	size, ok := whole.follow(body)
	at := 0
	for at < len(body) && pieces.at != chunksOver && pieces.takes(body[at:at+1]) {
		at++
	}
	if pieces != whole || ok && at != size {
		t.Errorf("%q: in pieces it is %+v and ends at %d, as a whole %+v, %d and %v", p, pieces, at, whole, size, ok)
	}
	if !ok || whole.at != chunksOver {
		return
	}
	text := append(slices.Clone(p[:h.size+size]), "GET / HTTP/1.1\r\nHost: y\r\n\r\n"...)
	r := bufio.NewReaderSize(bytes.NewReader(text), 16)
	one, err := http.ReadRequest(r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, one.Body); err != nil {
		t.Fatalf("%q: its chunks are followed, and net/http says %v", p, err)
	}
	if next, err := http.ReadRequest(r); err != nil || next.Host != "y" || len(one.Trailer) > 0 {
		t.Errorf("%q: behind it there is %+v, %v", p, next, err)
	}
}

// takes follows a piece, and reports whether it belongs to the chunks.
func (c *chunks) takes(p []byte) bool {
	n, ok := c.follow(p)
	return ok && n == len(p)
}
