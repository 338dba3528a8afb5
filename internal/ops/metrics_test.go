package ops

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// scrape returns what Prometheus reads.
func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler(slog.New(slog.DiscardHandler)).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("got %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func wantLines(t *testing.T, text string, lines ...string) {
	t.Helper()
	for _, l := range lines {
		if !strings.Contains("\n"+text, "\n"+l+"\n") {
			t.Errorf("no line %q in\n%s", l, text)
		}
	}
}

func TestMetrics(t *testing.T) {
	m := NewMetrics("1.2.3")
	if err := m.GaugeFunc("berth_uploads", "Uploads in progress.", func() float64 { return 3 }); err != nil {
		t.Fatal(err)
	}
	if err := m.CounterFunc("berth_collected_total", "Objects collected.", func() float64 { return 7 }); err != nil {
		t.Fatal(err)
	}
	if err := m.GaugeFunc("berth_uploads", "Another.", func() float64 { return 0 }); err == nil {
		t.Error("a second metric of the same name: got no error")
	}
	h := Record(RecordOptions{Metrics: m}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		SetRoute(w, strings.TrimPrefix(r.URL.Path, "/"))
		_, _ = io.Copy(io.Discard, r.Body)
		if !strings.Contains(scrape(t, m), "berth_http_requests_in_flight 1\n") {
			t.Error("the request isn't counted as in flight")
		}
		_, _ = io.WriteString(w, "hello")
	}))
	for _, r := range []*http.Request{
		httptest.NewRequest("GET", "/blob-get", nil),
		httptest.NewRequest("GET", "/blob-get", nil),
		httptest.NewRequest("PATCH", "/upload-append", strings.NewReader("123")),
		httptest.NewRequest("EVIL", "/Not/A/Route", nil),
	} {
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
	text := scrape(t, m)
	wantLines(t, text,
		`berth_http_requests_total{code="200",method="GET",route="blob-get"} 2`,
		`berth_http_requests_total{code="200",method="PATCH",route="upload-append"} 1`,
		`berth_http_requests_total{code="200",method="other",route="other"} 1`,
		`berth_http_request_seconds_count{route="blob-get"} 2`,
		`berth_http_request_bytes_total{route="upload-append"} 3`,
		`berth_http_response_bytes_total{route="blob-get"} 10`,
		`berth_http_requests_in_flight 0`,
		`berth_uploads 3`,
		`berth_collected_total 7`)
	for _, part := range []string{`version="1.2.3"`, "go_goroutines ", "EVIL", "Not"} {
		if want := part[0] != 'E' && part[0] != 'N'; strings.Contains(text, part) != want {
			t.Errorf("%q in the metrics: got %v, want %v", part, !want, want)
		}
	}
}

func TestMetricsBoundRoutes(t *testing.T) {
	m := NewMetrics("v")
	for i := range 10 * maxRoutes {
		m.traffic.route(fmt.Sprintf("route-%d", i))
	}
	if n := len(m.traffic.list()); n > maxRoutes+1 {
		t.Errorf("got %d routes, want %d and other", n, maxRoutes)
	}
	if got := m.traffic.route("route-0").name; got != "route-0" {
		t.Errorf("a known route: got %q", got)
	}
	for _, s := range []string{"", "route-999", "A", "a/b", strings.Repeat("a", 41)} {
		if got := m.traffic.route(s).name; got != "other" {
			t.Errorf("%q: got %q, want other", s, got)
		}
	}
}

func TestHandler(t *testing.T) {
	h := Handler(HandlerOptions{Health: NewHealth(), Metrics: NewMetrics("v")})
	tests := []struct {
		path string
		code int
		want string
	}{
		{"/healthz", 200, `"starting"`},
		{"/readyz", 503, `"starting"`},
		{"/metrics", 200, "berth_build_info"},
		{"/debug/pprof/", 200, "goroutine"},
		{"/debug/pprof/goroutine?debug=1", 200, "goroutine profile"},
		{"/", 404, ""},
		{"/v2/", 404, ""},
	}
	for _, tt := range tests {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", tt.path, nil))
		if w.Code != tt.code || !strings.Contains(w.Body.String(), tt.want) {
			t.Errorf("%s: got %d and %.200s, want %d and %q", tt.path, w.Code, w.Body, tt.code, tt.want)
		}
	}
}
