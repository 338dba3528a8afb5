package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth"
	"berth/bench/floor"
	"berth/config"
)

// TestMain lets this program be the floor, as the bench does with itself.
func TestMain(m *testing.M) {
	if len(os.Args) >= 4 && os.Args[1] == "floor" {
		err := serveFloor(os.Args[2:])
		os.Stderr.WriteString(err.Error())
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// small are sizes with which every workload takes no time.
func small() sizes {
	return sizes{
		large: 1 << 20, part: 256 << 10, layer: 1 << 10, some: 6, few: 3, crowd: 20,
		tags: []int{100, 105}, repos: []int{100, 103}, referrers: []int{100, 102}, deletes: 102, started: 100,
	}
}

// served is a registry in this process, in a mode.
func served(t *testing.T, h http.Handler, m mode, stock *stock) *target {
	srv := httptest.NewUnstartedServer(h)
	tg := &target{stock: stock, mode: m, seed: 1 << 40, supplies: make(map[string]supplied)}
	if m == secured {
		srv.EnableHTTP2 = true
		srv.StartTLS()
		pool := x509.NewCertPool()
		pool.AddCert(srv.Certificate())
		tg.trust(pool)
		tg.tls.MinVersion = tls.VersionTLS12
	} else {
		srv.Start()
	}
	t.Cleanup(srv.Close)
	if m == passwords {
		tg.authorization = basic(user, password)
	}
	u, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	tg.addr = u.Host
	return tg
}

// open returns Berth, which knows the bench's user in the mode passwords.
func open(t *testing.T, m mode) http.Handler {
	cfg := config.Default()
	cfg.Data = t.TempDir()
	if m == passwords {
		cfg.Auth.Htpasswd.Path = filepath.Join(t.TempDir(), "htpasswd")
		const line = "bench:$2y$04$vOcWGupsLl931F4y4fp8aOoHN0qN5zS4YLdtjAlbtADHo8Fmf/0ve\n"
		if err := os.WriteFile(cfg.Auth.Htpasswd.Path, []byte(line), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := berth.Open(t.Context(), berth.Options{Config: cfg})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func leastRegistry(t *testing.T) http.Handler {
	s, err := floor.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// brief makes a workload one of few operations.
func brief(w workload) workload {
	w.clients = min(w.clients, 3)
	w.longer, w.passes = 1, min(w.passes, 2)
	if w.most = 9; w.again != nil && strings.HasPrefix(w.name, "delete") {
		w.most = 6
	}
	return w
}

// once does a workload once, with what it needs.
func once(t *testing.T, w workload, tg *target) (result, error) {
	t.Helper()
	made, ok := tg.supplies[w.needs.name]
	if !ok && w.needs.name != "" {
		err := withConn(tg, func(c *conn) (err error) {
			made, err = w.needs.make(tg, c)
			return err
		})
		if err != nil {
			t.Fatalf("%s: prepare: %v", w.name, err)
		}
		tg.supplies[w.needs.name] = made
	}
	tg.supplied = made
	return measure(t.Context(), brief(w), tg, time.Minute)
}

// TestWorkloads does every workload on Berth and on the floor: what is measured
// must be what it says, on both.
func TestWorkloads(t *testing.T) {
	stock := newStock()
	for _, m := range []mode{plain, passwords, secured} {
		registries := map[string]func() http.Handler{
			"berth": func() http.Handler { return open(t, m) },
			"floor": func() http.Handler { return leastRegistry(t) },
		}
		for name, empty := range registries {
			t.Run(in(m, name), func(t *testing.T) {
				t.Parallel()
				var tg *target
				store := "none"
				for _, w := range workloads(small()) {
					if w.special != nil || w.mode != m && (w.mode != collecting || m != plain) {
						continue
					}
					if w.store != store {
						store, tg = w.store, served(t, empty(), m, stock)
					}
					r, err := once(t, w, tg)
					if err != nil {
						t.Errorf("%s: %v", w.name, err)
					} else if r.Rate <= 0 || r.CPU != 0 {
						t.Errorf("%s: measured %+v of no process", w.name, r)
					}
				}
			})
		}
	}
}

// A liar answers as another registry does, with some of its bytes changed.
type liar struct{ http.Handler }

func (l liar) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rec := httptest.NewRecorder()
	l.Handler.ServeHTTP(rec, r)
	body := rec.Body.Bytes()
	if r.Method == "GET" && len(body) > 0 {
		if strings.Contains(r.URL.Path, "list") || strings.Contains(r.URL.Path, "_catalog") || strings.Contains(r.URL.Path, "/referrers/") {
			body = []byte(`{"tags":[]}`) // nothing is there
		} else {
			body[len(body)-1] ^= 1
		}
	}
	for name, values := range rec.Header() {
		if name != "Content-Length" && name != "Link" {
			w.Header()[name] = values
		}
	}
	if r.Method == "HEAD" {
		w.Header().Set("Docker-Content-Digest", "sha256:0")
	}
	w.WriteHeader(rec.Code)
	w.Write(body)
}

// TestLies takes wrong answers for what they are, in everything that reads.
func TestLies(t *testing.T) {
	stock := newStock()
	read := 0
	for _, w := range workloads(small()) {
		if w.special != nil || w.again != nil || w.mode != plain || strings.HasPrefix(w.name, "re-push") || strings.HasPrefix(w.name, "a tag") {
			continue
		}
		read++
		h := leastRegistry(t)
		honest := served(t, h, plain, stock)
		if _, err := once(t, w, honest); err != nil {
			t.Fatalf("%s: %v", w.name, err)
		}
		lying := served(t, liar{h}, plain, stock)
		lying.supplies = honest.supplies
		lying.repos = honest.repos
		if r, err := once(t, w, lying); err == nil {
			t.Errorf("%s: a wrong answer was taken for right: %+v", w.name, r)
		}
	}
	if read < 20 {
		t.Errorf("only %d workloads read something", read)
	}
}

// TestNothingDone is an error: there is no rate of nothing.
func TestNothingDone(t *testing.T) {
	tg := served(t, leastRegistry(t), plain, newStock())
	w := workload{name: "nothing", clients: 2, most: 2, do: func(*target, *conn, int) error { return nil }}
	if r, err := measure(t.Context(), w, tg, time.Minute); err == nil {
		t.Errorf("got %+v although all that there was went into the beginning", r)
	}
	refused := errors.New("refused")
	w = workload{name: "refused", clients: 2, do: func(*target, *conn, int) error { return refused }}
	if _, err := measure(t.Context(), w, tg, time.Minute); !errors.Is(err, refused) {
		t.Errorf("got %v, want the error of the operation", err)
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
