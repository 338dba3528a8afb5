package distapi

import (
	"log/slog"
	"net/http/httptest"
	"testing"
)

// BenchmarkServe measures what this package adds to a look-up.
func BenchmarkServe(b *testing.B) {
	bench := newBench(b, "basic")
	bench.Log = slog.New(slog.DiscardHandler)
	d := bench.pushBlob("app", "hello")
	bench.pushManifest(b, "app", emptyIndex, "v1")
	for name, q := range map[string][2]string{
		"manifest": {"GET", "/v2/app/manifests/v1"},
		"blob":     {"GET", "/v2/app/blobs/" + d.String()},
		"head":     {"HEAD", "/v2/app/blobs/" + d.String()},
		"missing":  {"HEAD", "/v2/app/manifests/v2"},
	} {
		b.Run(name, func(b *testing.B) {
			r := httptest.NewRequestWithContext(b.Context(), q[0], q[1], nil)
			r.SetBasicAuth("alice", "secret")
			b.ReportAllocs()
			for b.Loop() {
				bench.ServeHTTP(httptest.NewRecorder(), r)
			}
		})
	}
}
