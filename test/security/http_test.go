package security

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"berth/test/realtest"
)

// smuggled returns a request that leaves a blob behind if anybody believes it.
func smuggled(repo string) string {
	return "POST /v2/" + repo + "/blobs/uploads/?digest=" + digestOf([]byte("x")) + " HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx"
}

// TestSmuggling is row E1: what stands in the body of a request is no request,
// and behind one whose end is in doubt nothing is.
func TestSmuggling(t *testing.T) {
	reg := realtest.Start(t, realtest.Options{})
	put := "PUT /v2/app/manifests/v1 HTTP/1.1\r\nHost: x\r\n"
	length := fmt.Sprintf("Content-Length: %d\r\n\r\n", len(smuggled("smuggled/00")))
	refused := []string{ // and closed
		put + "Content-Length: 0\r\nContent-Length: 5\r\n\r\n",
		put + "Content-Length: 0, 5\r\n\r\n",
		put + "Content-Length: +0\r\n\r\n",
		put + "Content-Length : 0\r\n\r\n",
		put + "Transfer-Encoding : chunked\r\nContent-Length: 0\r\n\r\n",
		put + "Transfer-Encoding: xchunked\r\n\r\n",
		put + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		put + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
		put + "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
		put + "Transfer-Encoding: chunked\r\n\r\n0\n\n",
		put + "Transfer-Encoding: chunked\r\n\r\n0;a\nb\r\n\r\n",
		put + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff0\r\n\r\n",
		put + "Transfer-Encoding: chunked\r\n\r\n-0\r\n\r\n",
	}
	bodies := []string{
		put + length, // no manifest
		put + "Folded: a\r\n Content-Length: 0\r\n" + length,
		"PUT /v2/app/manifests/.no HTTP/1.1\r\nHost: x\r\n" + length,
		"PUT /v2/app/manifests/v1 HTTP/1.1\r\nHost: x\r\nSec-Fetch-Site: cross-site\r\n" + length,
		"PATCH /v2/app/blobs/uploads/none HTTP/1.1\r\nHost: x\r\n" + length,
		"GET /v2/ HTTP/1.1\r\nHost: x\r\n" + length,
		"GET / HTTP/1.1\r\nHost: x\r\n" + length,
		"GET /healthz HTTP/1.1\r\nHost: x\r\n" + length,
		"GET /nothing HTTP/1.1\r\nHost: x\r\n" + length,
		"DELETE /v2/app/manifests/v1 HTTP/1.1\r\nHost: x\r\n" + length,
	}
	for i, text := range append(slices.Clone(refused), bodies...) {
		repo := fmt.Sprintf("smuggled/%02d", i)
		statuses := converse(t, reg, text+smuggled(repo))
		closed := i < len(refused)
		if closed && (len(statuses) != 1 || statuses[0] < 400) {
			t.Errorf("%q: got answers %v, want one refusal", text, statuses)
		}
		if !closed && (len(statuses) > 2 || len(statuses) == 2 && statuses[1] != 200) {
			t.Errorf("%q: got answers %v, want one, and that to the last request", text, statuses)
		}
		if got := ask(t, reg, "GET", "/v2/"+repo+"/blobs/"+digestOf([]byte("x")), nil).status; got != 404 {
			t.Errorf("%q: what follows it was believed: %d", text, got)
		}
	}
	if got := converse(t, reg, smuggled("honest")+smuggled("honest")); !slices.Equal(got, []int{201, 201, 200}) {
		t.Errorf("two honest requests: got %v, so this shows nothing", got)
	}
}

// TestTwoLengths is what is not as it should be in row E1: of a Content-Length
// beside a Transfer-Encoding, net/http believes the latter and keeps the
// connection open. Whatever a proxy takes for a body there, and this registry
// for a request, has the rights that it brings itself: none.
func TestTwoLengths(t *testing.T) {
	reg, _ := withUsers(t)
	second := smuggled("app")
	text := "PUT /v2/app/manifests/v1 HTTP/1.1\r\nHost: x\r\nAuthorization: " + basic(ada) +
		fmt.Sprintf("\r\nContent-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 5+len(second))
	statuses := converse(t, reg, text+second)
	if !slices.Equal(statuses, []int{400}) && !slices.Equal(statuses, []int{400, 401, 200}) {
		t.Errorf("got %v, want 400, and then the end or 401", statuses)
	}
	want(t, reg, 404, "GET", "/v2/app/blobs/"+digestOf([]byte("x")), nil, as(ada))
}

// TestBlobAsPage is row E12: whatever was pushed, a browser makes no page of
// this host of it.
func TestBlobAsPage(t *testing.T) {
	reg := realtest.Start(t, realtest.Options{})
	page := []byte("<!doctype html><script>alert(1)</script>")
	blob := "/v2/app/blobs/" + digestOf(page)
	want(t, reg, 201, "POST", "/v2/app/blobs/uploads/?digest="+digestOf(page), page, "Content-Type: text/html")
	manifest := []byte(`{"schemaVersion":2,"x":"<script>alert(1)</script>","layers":[]}`)
	want(t, reg, 201, "PUT", "/v2/app/manifests/page", manifest, "Content-Type: text/html")
	accept := "Accept: text/html"
	got := want(t, reg, 200, "GET", blob, nil, accept)
	if ct, cd := got.header.Get("Content-Type"), got.header.Get("Content-Disposition"); ct != "application/octet-stream" || cd != "attachment" {
		t.Errorf("a blob is served as %q, disposition %q", ct, cd)
	}
	for _, a := range []answer{
		got,
		want(t, reg, 206, "GET", blob, nil, accept, "Range: bytes=1-5"),
		want(t, reg, 200, "GET", "/v2/app/manifests/page", nil, accept),
		want(t, reg, 400, "GET", "/v2/%3Cscript%3Ealert(1)%3C/script%3E/manifests/v1", nil, accept),
		want(t, reg, 404, "GET", "/v2/<script>alert(1)</script>", nil, accept),
		want(t, reg, 200, "GET", "/v2/_catalog?last=<script>", nil, accept),
	} {
		csp := a.header.Get("Content-Security-Policy")
		if a.header.Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "sandbox") {
			t.Errorf("%s: got headers %v", a.body, a.header)
		}
		if a.status != 200 && a.status != 206 && a.header.Get("Content-Type") != "application/json" {
			t.Errorf("an error is %s", a.header.Get("Content-Type"))
		}
	}
}

// TestOtherSites is rows E13 and E14: pages of other sites neither change nor
// read anything.
func TestOtherSites(t *testing.T) {
	reg, _ := withUsers(t, "--anonymous", "pull")
	content := []byte("own")
	push(t, reg, "app", "v1", content, as(ada))
	origin := "Origin: https://evil.example"
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
		for _, p := range []string{"/v2/", "/v2/token", "/v2/app/manifests/v1", "/v2/app/blobs/" + digestOf(content), "/v2/app/blobs/uploads/", "/v2/_catalog", "/", "/readyz", "/nothing"} {
			cross := ask(t, reg, method, p, nil, as(ada), origin, "Sec-Fetch-Site: cross-site", "Access-Control-Request-Method: DELETE")
			plain := ask(t, reg, method, p, nil, as(ada), origin, "Sec-Fetch-Site: none", "Access-Control-Request-Method: GET")
			if method == "DELETE" && plain.status == 202 { // it was deleted: bring it back
				push(t, reg, "app", "v1", content, as(ada))
			}
			if strings.HasPrefix(p, "/v2/") && cross.status != http.StatusForbidden {
				t.Errorf("%s %s from another site: got %d, want 403", method, p, cross.status)
			}
			for _, a := range []answer{cross, plain} {
				for name := range a.header {
					if strings.HasPrefix(name, "Access-Control-") || name == "Set-Cookie" || name == "Location" && a.status/100 == 3 {
						t.Errorf("%s %s: got %s: %s", method, p, name, a.header.Get(name))
					}
				}
			}
		}
	}
}

// TestLogInjection is row E16: whatever comes in, a line of the log is one
// line, of bounded length, and says what the server has to say.
func TestLogInjection(t *testing.T) {
	for _, format := range []string{"json", "text"} {
		t.Run(format, func(t *testing.T) {
			reg, _ := withUsers(t, "--log-format", format, "--log-level", "debug")
			push(t, reg, "app", "v1", []byte("x"), as(ada))
			forged := "\n{\"msg\":\"forged\"}\ntime=0 level=INFO msg=forged\n"
			long := strings.Repeat("long", 10_000)
			for _, h := range []string{
				"User-Agent: \"}\\n{\"msg\":\"forged\"} \t\u2028\u0085\u009b31m\xff" + long,
				"X-Request-Id: \"}{\"msg\":\"forged\"}",
				as("ada" + forged + ":x"), as("\x1b[2J" + forged + ":x"),
				"Host: forged\" msg=forged", "X-Forwarded-For: forged\", 1.2.3.4", "Referer: http://x/" + long,
			} {
				ask(t, reg, "GET", "/v2/app/tags/list?last=%0a%7b%22msg%22:%22forged%22%7d%0amsg=forged%1b%5b2J", nil, h)
			}
			ask(t, reg, "GET", "/v2/app/%0A%7B%22msg%22:%22forged%22%7D%0Amsg=forged%1b%5b2J", nil)
			raw := "GET /v2/ HTTP/1.1\r\nHost: x\r\nUser-Agent: a\x1b[2J\rmsg=forged\r\n\r\n"
			converse(t, reg, raw)
			converse(t, reg, "FORGED\x1b[2J /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
			reg.Stop()
			log := reg.Log.String()
			if !strings.Contains(log, "tags/list") || !strings.Contains(log, "forged") {
				t.Fatalf("nothing of it was logged, so this shows nothing: %s", log)
			}
			for line := range strings.Lines(log) {
				checkLine(t, format, line)
			}
		})
	}
}

func checkLine(t *testing.T, format, line string) {
	t.Helper()
	if len(line) > 8<<10 {
		t.Errorf("a line of %d bytes: %.200s", len(line), line)
	}
	for _, c := range strings.TrimRight(line, "\n") {
		if c < ' ' || c >= 0x7f && c < 0xa0 || c == 0x2028 {
			t.Errorf("the line holds %q: %.300q", c, line)
			break
		}
	}
	switch {
	case strings.HasPrefix(line, "Berth ") || strings.HasPrefix(line, "Push an image: "): // what it says to people
	case format == "json":
		var e struct{ Time, Level, Msg string }
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.Time == "" || e.Level == "" || e.Msg == "forged" {
			t.Errorf("not a line of the log: %v: %.300q", err, line)
		}
	default:
		if !regexp.MustCompile(`^time=20\S+ level=[A-Z]+ msg=("[^"]+"|[a-z]+) ?`).MatchString(line) || strings.HasPrefix(line[strings.Index(line, "msg="):], "msg=forged") {
			t.Errorf("not a line of the log: %.300q", line)
		}
	}
}

// TestVersionIsNotTold is row E17: nobody is told, without log-in, what exactly
// is running.
func TestVersionIsNotTold(t *testing.T) {
	reg, _ := withUsers(t)
	version := regexp.MustCompile(`(?i)(berth|go|version)["' /:=-]*v?[0-9]+\.[0-9]`)
	if !version.MatchString("Berth 1.2") || !version.MatchString("go1.26") || !version.MatchString(`"version":"v0.1.0"`) {
		t.Fatal("the pattern finds nothing")
	}
	for _, p := range []string{"/", "/v2/", "/v2/nonsense", "/v2/_catalog", "/healthz", "/readyz", "/nothing", "/metrics"} {
		a := ask(t, reg, "GET", p, nil)
		if version.Match(a.body) {
			t.Errorf("%s tells a version: %s", p, version.Find(a.body))
		}
		for name, values := range a.header {
			if name == "Server" || name == "X-Powered-By" || version.MatchString(strings.Join(values, " ")) && name != "Docker-Distribution-Api-Version" {
				t.Errorf("%s tells %s: %v", p, name, values)
			}
		}
	}
}

// TestNoRedirects is row E10: there is nowhere that a client is sent.
func TestNoRedirects(t *testing.T) {
	reg := realtest.Start(t, realtest.Options{})
	host, _, err := net.SplitHostPort(reg.Addr)
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{
		"//evil.example", "//evil.example/", "/%2F%2Fevil.example", "/\\evil.example", "http://evil.example/v2", "/?next=//evil.example", "/?url=http://evil.example",
		"/v2", "/v2?x", "//v2/", "/v2//", "/./", "/v2/../", "/login", "/login?next=//evil.example", "/logout", "/v2/app/manifests", "/healthz/", "/readyz/", "/index.html", "/v2/token?redirect_uri=http://evil.example",
	} {
		for _, method := range []string{"GET", "POST"} {
			for _, status := range converse(t, reg, method+" "+target+" HTTP/1.1\r\nHost: "+host+"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n") {
				if status/100 == 3 {
					t.Errorf("%s %s: got %d", method, target, status)
				}
			}
		}
	}
}
