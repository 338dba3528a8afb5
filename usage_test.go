package berth

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"berth/config"
)

// TestMeasuringRests holds that measuring the registry offers to rest behind each
// repository, and ends when that says so.
func TestMeasuringRests(t *testing.T) {
	cfg := config.Default()
	cfg.Data = t.TempDir()
	s, err := Open(t.Context(), Options{Config: cfg})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	const repos = 5
	for i := range repos {
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(t.Context(), "PUT", fmt.Sprintf("/v2/r%d/manifests/1", i),
			strings.NewReader(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`))
		r.Header.Set("Content-Type", "application/vnd.oci.image.index.v1+json")
		if s.ServeHTTP(w, r); w.Code != 201 {
			t.Fatalf("push: got %d %s", w.Code, w.Body)
		}
	}
	m, rests, stop := s.meter(), 0, errors.New("stop")
	m.Rest = func(context.Context) error { rests++; return nil }
	if r, err := m.Registry(t.Context(), 1); err != nil || r.Repositories != repos || rests < repos {
		t.Errorf("got %d repositories, error %v, with %d rests, want %d with as many at least", r.Repositories, err, rests, repos)
	}
	m.Rest = func(context.Context) error { return stop }
	if _, err := m.Registry(t.Context(), 1); !errors.Is(err, stop) {
		t.Errorf("with a rest that fails: got %v, want its error", err)
	}
}

// TestRest holds that nobody waits for a rest who asked for what is being measured
// or who stops the server.
func TestRest(t *testing.T) {
	longAgo := time.Now().Add(-time.Hour) // a second of rest
	rested := func(m *measuring, ctx context.Context) bool {
		m.rested = longAgo
		if err := m.rest(ctx); err != ctx.Err() {
			t.Errorf("rest: got %v, want %v", err, ctx.Err())
		}
		return m.rested != longAgo
	}
	newMeasuring := func() *measuring { return &measuring{ask: make(chan struct{}, 1)} }
	if !rested(newMeasuring(), t.Context()) {
		t.Error("no rest after an hour of work")
	}
	begun := newMeasuring()
	begun.eager = true
	asked := newMeasuring()
	asked.Measure()
	for _, m := range []*measuring{begun, asked} {
		if rested(m, t.Context()) {
			t.Error("a rest while somebody waits")
		}
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	rested(newMeasuring(), over)
}
