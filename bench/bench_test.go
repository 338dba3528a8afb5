package main

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"berth"
	"berth/bench/floor"
	"berth/config"
)

// TestWorkloads does every workload once on Berth and on the floor: what is
// measured must be what it says, on both.
func TestWorkloads(t *testing.T) {
	cfg := config.Default()
	cfg.Data = t.TempDir()
	s, err := berth.Open(t.Context(), berth.Options{Config: cfg})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	least, err := floor.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, h := range map[string]http.Handler{"berth": s, "floor": least} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(h)
			t.Cleanup(srv.Close)
			u, err := url.Parse(srv.URL)
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range workloads(sizes{large: 1 << 20, part: 256 << 10, layer: 1 << 10, some: 6}) {
				if w.mode != plain || w.long || w.costs > few {
					continue
				}
				w.clients = min(w.clients, 2)
				if w.most = 6; w.again != nil {
					w.most = 2
				}
				tg := &target{addr: u.Host, seed: 1 << 20}
				if w.prepare != nil {
					if err := withConn(tg, func(c *conn) error { return w.prepare(tg, c) }); err != nil {
						t.Fatalf("prepare %s: %v", w.name, err)
					}
				}
				r, err := measure(t.Context(), w, tg, time.Minute)
				if err != nil {
					t.Fatalf("%s: %v", w.name, err)
				}
				if r.Rate <= 0 || r.CPU != 0 {
					t.Errorf("%s: measured %+v of no process", w.name, r)
				}
			}
		})
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		list        []float64
		mid, spread float64
	}{{nil, 0, 0}, {[]float64{4}, 4, 0}, {[]float64{3, 1, 2}, 2, 1}, {[]float64{1, 4, 2, 2}, 2, 1.5}} {
		if mid, spread := median(c.list); mid != c.mid || spread != c.spread {
			t.Errorf("median of %v: got %v ± %v, want %v ± %v", c.list, mid, spread, c.mid, c.spread)
		}
	}
}
