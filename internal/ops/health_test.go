package ops

import (
	"net/http/httptest"
	"strings"
	"testing"
)

func TestHealth(t *testing.T) {
	h := NewHealth()
	steps := []struct {
		name         string
		do           func()
		alive, ready int
		detail       string // part of what the operator reads
	}{
		{"new", func() {}, 200, 503, `"starting"`},
		{"ready", h.SetReady, 200, 200, `"ready":true`},
		{"trouble", func() { h.SetProblem("storage", "disk full") }, 200, 503, `"storage":"disk full"`},
		{"more trouble", func() { h.SetProblem("database", "locked") }, 200, 503, `"database":"locked"`},
		{"half over", func() { h.ClearProblem("storage") }, 200, 503, `"database":"locked"`},
		{"over", func() { h.ClearProblem("database") }, 200, 200, `"ready":true`},
		{"shutting down", h.SetShuttingDown, 200, 503, `"shutting down"`},
		{"ready said late", h.SetReady, 200, 503, `"shutting down"`},
	}
	for _, s := range steps {
		t.Run(s.name, func(t *testing.T) {
			s.do()
			for _, method := range []string{"GET", "HEAD"} {
				alive, ready := httptest.NewRecorder(), httptest.NewRecorder()
				h.Liveness(Bare).ServeHTTP(alive, httptest.NewRequest(method, "/healthz", nil))
				h.Readiness(Bare).ServeHTTP(ready, httptest.NewRequest(method, "/readyz", nil))
				if alive.Code != s.alive || ready.Code != s.ready {
					t.Errorf("%s: got %d alive and %d ready, want %d and %d", method, alive.Code, ready.Code, s.alive, s.ready)
				}
				if got := ready.Body.String(); got != "ok\n" && got != "unavailable\n" {
					t.Errorf("everybody may read %q", got)
				}
			}
			full := httptest.NewRecorder()
			h.Readiness(Full).ServeHTTP(full, httptest.NewRequest("GET", "/readyz", nil))
			if got := full.Body.String(); !strings.Contains(got, s.detail) {
				t.Errorf("the operator reads %s, want it to contain %s", got, s.detail)
			}
		})
	}
}

func TestHealthMethods(t *testing.T) {
	w := httptest.NewRecorder()
	NewHealth().Liveness(Bare).ServeHTTP(w, httptest.NewRequest("POST", "/healthz", nil))
	if got := w.Header().Get("Allow"); w.Code != 405 || got != "GET, HEAD" {
		t.Errorf("POST: got %d with Allow %q, want 405 with GET, HEAD", w.Code, got)
	}
}

// TestWarnings holds that a warning is shown with the reasons and changes nothing
// else.
func TestWarnings(t *testing.T) {
	h := NewHealth()
	h.SetReady()
	h.SetWarning("damage", "2 blobs")
	if s, b := checksOf(h); s != 200 || b != `{"damage":"2 blobs"}` {
		t.Errorf("/debug/health: got %d %s, want 200 with it", s, b)
	}
	if s := h.State(); !s.Ready || s.Warnings["damage"] != "2 blobs" || !h.Open() {
		t.Errorf("got %+v, want ready with it", s)
	}
	h.SetProblem("database", "gone")
	if s, b := checksOf(h); s != 503 || b != `{"damage":"2 blobs","database":"gone"}` {
		t.Errorf("/debug/health: got %d %s, want 503 with both", s, b)
	}
	h.ClearProblem("database")
	h.SetWarning("damage", "")
	if s, b := checksOf(h); s != 200 || b != `{}` {
		t.Errorf("/debug/health: got %d %s, want nothing", s, b)
	}
}
