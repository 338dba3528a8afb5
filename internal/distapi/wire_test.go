package distapi

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/internal/oci"
)

// TestHTTP10 speaks as nginx does upstream: answers must end by themselves or
// with the connection, and never come in chunks.
func TestHTTP10(t *testing.T) {
	b := newBench(t, "open")
	d := b.pushBlob("app", "hello")
	b.pushManifest(t, "app", emptyIndex, longList("v", 3000)...)
	for _, target := range []string{"/v2/", "/v2/app/blobs/" + d.String(), "/v2/app/manifests/v000000", "/v2/app/tags/list", "/v2/_catalog", "/v2/nonsense", "/v2/app/referrers/" + d.String()} {
		answer := b.raw(t, "GET "+target+" HTTP/1.0\r\nHost: x\r\n\r\n")
		head, body, ok := strings.Cut(answer, "\r\n\r\n")
		if !ok || !strings.HasPrefix(head, "HTTP/1.0 ") || strings.Contains(head, "Transfer-Encoding") || body == "" {
			t.Errorf("%s: got %.300q", target, answer)
		}
		if strings.HasPrefix(body, "{") && !json.Valid([]byte(body)) {
			t.Errorf("%s: got %.300q, which is not JSON", target, body)
		}
	}
	answer := b.raw(t, "POST /v2/app/blobs/uploads/?digest="+oci.SHA256.FromBytes([]byte("abc")).String()+" HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc")
	if !strings.HasPrefix(answer, "HTTP/1.0 201 ") {
		t.Errorf("push: got %q", answer)
	}
}

// TestExpectContinue holds that clients that ask before they send a body are
// not told to go on when it would be for nothing.
func TestExpectContinue(t *testing.T) {
	tests := []struct {
		name, mode, request string
		want                string
	}{
		{"no log-in", "basic", "PUT /v2/app/manifests/v1", "401"},
		{"no such upload", "open", "PATCH /v2/app/blobs/uploads/none", "404"},
		{"too large", "open", "PUT /v2/app/manifests/v1", "413"},
		{"no such address", "open", "PUT /v2/app", "404"},
		{"not valid", "open", "PUT /v2/app/manifests/.v1", "400"},
		{"no digest", "open", "PUT /v2/app/blobs/uploads/none", "400"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, tt.mode)
			answer := b.raw(t, tt.request+" HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 99999999\r\n\r\n")
			if !strings.HasPrefix(answer, "HTTP/1.1 "+tt.want+" ") {
				t.Errorf("got %q, want %s", answer, tt.want)
			}
		})
	}
}

// TestRefusedBody sends a body that nobody wants, which must end in an answer
// or a closed connection soon.
func TestRefusedBody(t *testing.T) {
	b := newBench(t, "basic")
	answer := b.raw(t, "PUT /v2/app/manifests/v1 HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n"+strings.Repeat("x", 300<<10))
	if !strings.HasPrefix(answer, "HTTP/1.1 401 ") {
		t.Errorf("got %.100q, want 401", answer)
	}
}

// TestCutPatch cuts the connection in the middle of one long PATCH, as docker
// sends it, and goes on.
func TestCutPatch(t *testing.T) {
	for _, how := range []string{"Content-Length: 10\r\n\r\n01234", "Transfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n"} {
		b := newBench(t, "open")
		resp, _ := b.send(t, "POST", "/v2/app/blobs/uploads/", nil, nil)
		location := resp.Header.Get("Location")
		conn, err := net.Dial("tcp", strings.TrimPrefix(b.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "PATCH %s HTTP/1.1\r\nHost: x\r\n%s", location, how)
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		cut, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		if cut.StatusCode != 400 {
			t.Errorf("got %s, want 400", cut.Status)
		}
		cut.Body.Close()
		conn.Close()
		resp, _ = b.send(t, "GET", location, nil, nil)
		if got := resp.Header.Get("Range"); got != "0-4" {
			t.Errorf("got Range %q, want 0-4", got)
		}
		resp, _ = b.send(t, "PATCH", location, http.Header{"Content-Range": {"5-9"}}, strings.NewReader("56789"))
		if resp.StatusCode != 202 {
			t.Errorf("got %s, want 202", resp.Status)
		}
		d := oci.SHA256.FromBytes([]byte("0123456789"))
		if resp, body := b.send(t, "PUT", location+"?digest="+d.String(), nil, nil); resp.StatusCode != 201 {
			t.Errorf("got %s %s, want 201", resp.Status, body)
		}
	}
}

// TestCutManifest holds that half a manifest is the client's fault.
func TestCutManifest(t *testing.T) {
	b := newBench(t, "open")
	conn, err := net.Dial("tcp", strings.TrimPrefix(b.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "PUT /v2/app/manifests/v1 HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n%s", emptyIndex)
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 400 || len(b.fake.repos) != 0 {
		t.Errorf("got %s and %d repositories, want 400 and none", resp.Status, len(b.fake.repos))
	}
}

// TestLongLists lists more than one page of everything.
func TestLongLists(t *testing.T) {
	b := newBench(t, "open")
	names := longList("v", 2500)
	b.pushManifest(t, "app", emptyIndex, names...)
	resp, body := b.send(t, "GET", "/v2/app/tags/list", nil, nil)
	if want := `{"name":"app","tags":[` + quoteAll(names) + "]}\n"; string(body) != want || resp.Header.Get("Link") != "" {
		t.Errorf("got %d bytes of tags, want %d; Link %q", len(body), len(want), resp.Header.Get("Link"))
	}
	_, body = b.send(t, "GET", "/v2/app/tags/list?last="+names[999], nil, nil)
	if want := `{"name":"app","tags":[` + quoteAll(names[1000:]) + "]}\n"; string(body) != want {
		t.Errorf("behind the first thousand: got %d bytes of tags, want %d", len(body), len(want))
	}
	_, body = b.send(t, "GET", "/v2/app/tags/list?n=2000", nil, nil)
	if want := `{"name":"app","tags":[` + quoteAll(names[:2000]) + "]}\n"; string(body) != want {
		t.Errorf("two thousand: got %d bytes of tags, want %d", len(body), len(want))
	}

	repos := longList("r", 1500)
	for _, r := range repos {
		b.pushManifest(t, r, emptyIndex)
	}
	repos = append([]string{"app"}, repos...)
	var got []string
	pages := 0
	for target := "/v2/_catalog?n=100000"; target != ""; pages++ {
		resp, body := b.send(t, "GET", target, nil, nil)
		var list struct{ Repositories []string }
		if err := json.Unmarshal(body, &list); err != nil {
			t.Fatal(err)
		}
		got = append(got, list.Repositories...)
		target = next(resp)
	}
	if !slices.Equal(got, repos) || pages != 2 {
		t.Errorf("got %d repositories in %d pages, want %d in 2", len(got), pages, len(repos))
	}
}

// next returns where a list goes on.
func next(resp *http.Response) string {
	target, _, _ := strings.Cut(strings.TrimPrefix(resp.Header.Get("Link"), "<"), ">")
	return target
}

// TestBrokenList fails in the middle of a list that has begun: the client must
// see that something is missing. One that fails before anything was sent is an
// ordinary error.
func TestBrokenList(t *testing.T) {
	b := newBench(t, "open")
	var log strings.Builder
	b.Log = slog.New(slog.NewTextHandler(&log, nil))
	b.pushManifest(t, "app", emptyIndex, longList(strings.Repeat("v", 100), 2500)...)
	b.pushManifest(t, "short", emptyIndex, longList("v", 2500)...)
	calls := 0
	b.fake.fail = func(op string) error {
		if calls++; calls > 2 {
			return errors.New("broken")
		}
		return nil
	}
	resp, body := b.send(t, "GET", "/v2/short/tags/list", nil, nil)
	if resp.StatusCode != 500 || resp.Header.Get("Cache-Control") != "no-store" || !strings.Contains(string(body), "errors") {
		t.Errorf("got %d %s", resp.StatusCode, body)
	}
	calls = 0
	resp, err := http.Get(b.url + "/v2/app/tags/list")
	if err != nil {
		return // nothing at all is as good
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("got %d bytes and no error", len(body))
	}
	if !strings.Contains(log.String(), "broken") {
		t.Errorf("got log %q", log.String())
	}
}

// TestLargeReferrers holds that a page of referrers stays as small as a
// manifest, however large the annotations, and that no referrer is lost.
func TestLargeReferrers(t *testing.T) {
	b := newBench(t, "open")
	subject := oci.SHA256.FromBytes([]byte("subject"))
	want := map[string]bool{}
	for i := range 60 {
		size := 200 << 10
		if i%3 == 0 {
			size = 10
		}
		d := b.pushManifest(t, "app", fmt.Sprintf(
			`{"schemaVersion":2,"mediaType":%q,"manifests":[],"annotations":{"n":"%d","a":"%s"},"subject":{"mediaType":"a/b","digest":"%s","size":7}}`,
			oci.MediaTypeIndex, i, strings.Repeat("x", size), subject))
		want[d.String()] = true
	}
	for _, n := range []string{"", "?n=7", "?n=1000"} {
		got := map[string]bool{}
		pages := 0
		for target := "/v2/app/referrers/" + subject.String() + n; target != ""; pages++ {
			resp, body := b.send(t, "GET", target, nil, nil)
			var index struct{ Manifests []struct{ Digest string } }
			if err := json.Unmarshal(body, &index); err != nil || len(body) > maxIndex {
				t.Fatalf("got %d bytes, %v", len(body), err)
			}
			for _, m := range index.Manifests {
				if got[m.Digest] {
					t.Errorf("%s is listed twice", m.Digest)
				}
				got[m.Digest] = true
			}
			target = next(resp)
		}
		if len(got) != len(want) || pages < 2 {
			t.Errorf("%s: got %d referrers in %d pages, want %d", n, len(got), pages, len(want))
		}
	}
}

// TestManyReferrers counts what a page of small ones costs.
func TestManyReferrers(t *testing.T) {
	b := newBench(t, "open")
	subject := oci.SHA256.FromBytes([]byte("subject"))
	for i := range 1500 {
		b.pushManifest(t, "app", fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[],"n":%d,"subject":{"mediaType":"a/b","digest":"%s","size":7}}`,
			oci.MediaTypeIndex, i, subject))
	}
	calls := 0
	b.fake.fail = func(string) error { calls++; return nil }
	resp, body := b.send(t, "GET", "/v2/app/referrers/"+subject.String(), nil, nil)
	var index struct{ Manifests []struct{ Digest string } }
	if err := json.Unmarshal(body, &index); err != nil || len(index.Manifests) != 1000 || next(resp) == "" {
		t.Errorf("got %d referrers, %v, Link %q; want 1000 and more", len(index.Manifests), err, resp.Header.Get("Link"))
	}
	if calls > 3 {
		t.Errorf("got %d look-ups for a page, want at most 3", calls)
	}
	resp, body = b.send(t, "GET", next(resp), nil, nil)
	if err := json.Unmarshal(body, &index); err != nil || len(index.Manifests) != 500 || next(resp) != "" {
		t.Errorf("got %d referrers, %v, Link %q; want the last 500", len(index.Manifests), err, resp.Header.Get("Link"))
	}
}

// TestManyDangling holds that warnings stay within 4096 bytes.
func TestManyDangling(t *testing.T) {
	b := newBench(t, "open")
	var layers []string
	for i := range 300 {
		layers = append(layers, fmt.Sprintf(`{"mediaType":"a/b","size":1,"digest":%q}`, oci.SHA512.FromBytes(fmt.Appendf(nil, "%d", i))))
	}
	resp, body := b.send(t, "PUT", "/v2/app/manifests/v1", nil, strings.NewReader(`{"schemaVersion":2,"layers":[`+strings.Join(layers, ",")+`]}`))
	warning := resp.Header.Get("Warning")
	if resp.StatusCode != 201 || len(warning) > 4096 || !strings.HasPrefix(warning, `299 - "`) || !strings.HasSuffix(warning, ` more"`) {
		t.Errorf("got %s %s, %d bytes of warning %q", resp.Status, body, len(warning), warning)
	}
}

// TestListLimits holds that no page is larger than the configuration says, and
// that the next one is found.
func TestListLimits(t *testing.T) {
	b := newBench(t, "open")
	b.CatalogMax, b.TagsMax = 3, 2
	names := longList("v", 5)
	for _, r := range longList("r", 5) {
		b.pushManifest(t, r, emptyIndex, names...)
	}
	for _, tt := range []struct {
		target string
		items  int
		more   bool
	}{
		{"/v2/_catalog", 3, true},
		{"/v2/_catalog?n=2", 2, true},
		{"/v2/_catalog?n=4", 3, true},
		{"/v2/_catalog?n=0", 0, false},
		{"/v2/r000000/tags/list", 2, true},
		{"/v2/r000000/tags/list?n=1", 1, true},
		{"/v2/r000000/tags/list?n=5000", 2, true},
		{"/v2/r000000/tags/list?last=v000002", 2, false},
	} {
		resp, body := b.send(t, "GET", tt.target, nil, nil)
		var list struct{ Repositories, Tags []string }
		if err := json.Unmarshal(body, &list); err != nil {
			t.Fatal(err)
		}
		if n := len(list.Repositories) + len(list.Tags); n != tt.items || (next(resp) != "") != tt.more {
			t.Errorf("%s: got %s with Link %q, want %d, and more: %v", tt.target, body, next(resp), tt.items, tt.more)
		}
	}
}
