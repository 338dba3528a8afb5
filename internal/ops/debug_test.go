package ops

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
)

// TestDebug holds what /debug/ tells, and that it does not tell how the program
// was called.
func TestDebug(t *testing.T) {
	args := os.Args
	os.Args = []string{"berth", "serve", "--secret=s3cret"}
	defer func() { os.Args = args }()
	h := Handler(HandlerOptions{Health: NewHealth(), Path: "/numbers", Metrics: NewMetrics("v"), Vars: func() map[string]any {
		return map[string]any{"registry": map[string]int{"x": 7}}
	}})
	get := func(path string) (int, string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		return w.Code, w.Body.String()
	}
	var vars struct {
		Cmdline  []string
		Memstats struct{ Alloc uint64 }
		Registry map[string]int
	}
	_, text := get("/debug/vars")
	if err := json.Unmarshal([]byte(text), &vars); err != nil {
		t.Fatal(err)
	}
	if len(vars.Cmdline) != 1 || vars.Memstats.Alloc == 0 || vars.Registry["x"] != 7 {
		t.Errorf("/debug/vars: got %+v", vars)
	}
	for _, path := range []string{"/debug/vars", "/debug/pprof/cmdline", "/debug/pprof/"} {
		if code, text := get(path); code != 200 || strings.Contains(text, "s3cret") {
			t.Errorf("%s: got %d, with the command line: %v", path, code, strings.Contains(text, "s3cret"))
		}
	}
	for path, want := range map[string]int{"/numbers": 200, "/metrics": 404, "/debug/health": 200, "/numbers/": 404} {
		if code, _ := get(path); code != want {
			t.Errorf("%s: got %d, want %d", path, code, want)
		}
	}
	h = Handler(HandlerOptions{Health: NewHealth()})
	if code, _ := get("/metrics"); code != 404 {
		t.Errorf("without metrics: got %d, want 404", code)
	}
}

// TestOldNames holds that requests are also told of as registry:2 tells.
func TestOldNames(t *testing.T) {
	m := NewMetrics("v")
	if err := m.AddOldNames(map[string]string{"manifest-get": "manifest", "manifest-put": "manifest", "tags": "tags"}); err != nil {
		t.Fatal(err)
	}
	actions, err := m.Actions("registry_storage_action_seconds", "x", "driver", "action")
	if err != nil {
		t.Fatal(err)
	}
	actions("filesystem", "Stat")(time.Second)
	h := Record(RecordOptions{Metrics: m}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		SetRoute(w, strings.TrimPrefix(r.URL.Path, "/"))
		SetRoute(w, "another") // the first one counts
		if r.URL.Path == "/manifest-get" && !strings.Contains(scrape(t, m), `registry_http_in_flight_requests{handler="manifest"} 1`) {
			t.Error("the request isn't counted as in flight")
		}
		_, _ = io.Copy(w, r.Body)
	}))
	for _, r := range []*http.Request{
		httptest.NewRequest("GET", "/manifest-get", nil),
		httptest.NewRequest("HEAD", "/manifest-get", nil),
		httptest.NewRequest("PUT", "/manifest-put", strings.NewReader(strings.Repeat("x", 3000))),
		httptest.NewRequest("GET", "/referrers", nil), // which registry:2 doesn't have
	} {
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
	text := scrape(t, m)
	wantLines(t, text,
		`registry_http_requests_total{code="200",handler="manifest",method="get"} 1`,
		`registry_http_requests_total{code="200",handler="manifest",method="head"} 1`,
		`registry_http_requests_total{code="200",handler="manifest",method="put"} 1`,
		`registry_http_request_duration_seconds_count{handler="manifest",method="put"} 1`,
		`registry_http_request_duration_seconds_bucket{handler="manifest",method="put",le="+Inf"} 1`,
		`registry_http_request_size_bytes_sum{handler="manifest"} 3000`,
		`registry_http_request_size_bytes_bucket{handler="manifest",le="2048"} 2`,
		`registry_http_request_size_bytes_bucket{handler="manifest",le="4096"} 3`,
		`registry_http_response_size_bytes_sum{handler="manifest"} 3000`,
		`registry_http_in_flight_requests{handler="manifest"} 0`,
		`registry_http_in_flight_requests{handler="tags"} 0`,
		`registry_storage_action_seconds_count{action="Stat",driver="filesystem"} 1`)
	for _, absent := range []string{`handler="referrers"`, `handler="another"`} {
		if strings.Contains(text, absent) {
			t.Errorf("%q is in the metrics:\n%s", absent, text)
		}
	}
	if strings.Contains(text, `registry_http_request_duration_seconds_bucket{handler="manifest",method="put",le="0.0005"}`) {
		t.Error("a bucket that registry:2 doesn't have")
	}
}

// TestCountingAllocatesNothing holds that a request costs no memory for being
// counted under two names.
func TestCountingAllocatesNothing(t *testing.T) {
	m := NewMetrics("v")
	if err := m.AddOldNames(map[string]string{"blob-get": "blob"}); err != nil {
		t.Fatal(err)
	}
	e := &exchange{route: "blob-get", out: 5000}
	n := testing.AllocsPerRun(100, func() {
		e.traffic = nil
		m.begin()
		m.enter(e)
		m.end(e, http.MethodGet, http.StatusOK, time.Millisecond)
	})
	if n != 0 {
		t.Errorf("got %v allocations, want none", n)
	}
}
