package berth_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// BenchmarkLists measures requests for lists from the handler on, without
// net/http: of 300 tags, 300 repositories and 300 referrers.
func BenchmarkLists(b *testing.B) {
	s, i := openBench(b, nil)
	put := func(target, mediaType, body string) {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("PUT", target, strings.NewReader(body))
		r.Header.Set("Content-Type", mediaType)
		if s.ServeHTTP(w, r); w.Code != http.StatusCreated {
			b.Fatalf("PUT %s: %d %s", target, w.Code, w.Body)
		}
	}
	const indexType = "application/vnd.oci.image.index.v1+json"
	subject := fmt.Sprintf(`,"subject":{"mediaType":%q,"digest":%q,"size":%d}`, imageType, i.manifestDigest, len(i.manifest))
	for n := range 300 {
		put(fmt.Sprintf("/v2/bench/app/manifests/t%06d", n), imageType, i.manifest)
		put(fmt.Sprintf("/v2/bench/r%06d/manifests/v1", n), indexType, `{"schemaVersion":2,"mediaType":"`+indexType+`","manifests":[]}`)
		put(fmt.Sprintf("/v2/bench/app/manifests/s%06d", n), imageType, strings.TrimSuffix(i.manifest, "}")+subject+fmt.Sprintf(`,"annotations":{"n":"%d"}}`, n))
	}
	for _, q := range [][2]string{{"page of tags", "/v2/bench/app/tags/list?n=100&last=t000100"}, {"all tags", "/v2/bench/app/tags/list"},
		{"page of the catalog", "/v2/_catalog?n=100&last=bench%2Fr000100"}, {"referrers", "/v2/bench/app/referrers/" + i.manifestDigest},
		{"no referrers", "/v2/bench/app/referrers/" + i.blobDigest}} {
		b.Run(q[0], func(b *testing.B) {
			serveAgain(b, s, "GET "+q[1]+" HTTP/1.1\r\nHost: 127.0.0.1:5000\r\n\r\n")
		})
	}
}
