package berth_test

import (
	"maps"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// TestRequestsStayAsTheyAre holds that no handler changes the header of a request: those
// of one connection share it.
func TestRequestsStayAsTheyAre(t *testing.T) {
	s, i := openBench(t, nil)
	blob, manifest, upload := "/v2/bench/app/blobs/"+i.blobDigest, "/v2/bench/app/manifests/v1", "/v2/bench/app/blobs/uploads/"
	at := httptest.NewRecorder()
	s.ServeHTTP(at, httptest.NewRequest("POST", upload, nil))
	headers := map[string]string{
		"Range": "bytes=1-2", "If-Range": `"` + i.blobDigest + `"`, "If-Match": "*", "If-None-Match": `"x"`, "If-Modified-Since": "Mon, 02 Jan 2006 15:04:05 GMT",
		"Authorization": "Basic YTpi", "Accept": imageType, "Content-Type": imageType, "User-Agent": "x", "X-Request-Id": "abc", "Accept-Encoding": "gzip",
		"X-Forwarded-For": "192.0.2.1, 192.0.2.2", "Forwarded": "for=192.0.2.3", "X-Forwarded-Host": "example.com", "X-Forwarded-Proto": "https",
		"Origin": "https://example.com", "Sec-Fetch-Site": "same-origin", "Content-Range": "0-3",
	}
	for _, line := range []string{
		"GET " + blob, "HEAD " + blob, "GET " + manifest, "HEAD " + manifest, "PUT " + manifest, "DELETE " + manifest, "DELETE " + blob,
		"POST " + upload, "POST " + upload + "?mount=" + i.blobDigest + "&from=bench/app", "GET " + at.Header().Get("Location"), "PATCH " + at.Header().Get("Location"),
		"PUT " + at.Header().Get("Location") + "?digest=" + i.blobDigest, "DELETE " + at.Header().Get("Location"),
		"GET /v2/", "GET /v2/_catalog", "GET /v2/bench/app/tags/list", "GET /v2/bench/app/referrers/" + i.manifestDigest, "GET /v2/token", "POST /v2/token",
		"GET /", "GET /healthz", "GET /readyz", "GET /api/v1/repositories", "POST /api/v1/repositories", "GET /nothing",
	} {
		for _, left := range append(slices.Sorted(maps.Keys(headers)), "") {
			method, target, _ := strings.Cut(line, " ")
			r := httptest.NewRequest(method, target, strings.NewReader("1234"))
			for key, value := range headers {
				if key != left { // what is told by one hides what is told by another
					r.Header.Set(key, value)
				}
			}
			want := r.Header.Clone()
			s.ServeHTTP(httptest.NewRecorder(), r)
			if !reflect.DeepEqual(r.Header, want) {
				t.Fatalf("%s without %q: the header is %v, and was %v", line, left, r.Header, want)
			}
		}
	}
}
