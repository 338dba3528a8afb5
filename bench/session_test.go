package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestSession takes real processes through some workloads: two floors, and one
// that cannot do what it is asked, which must not spoil the others' results.
func TestSession(t *testing.T) {
	f := files{t.TempDir()}
	all := contestants(f, "", "")
	one, other := all[1], all[1]
	other.name = "other"
	broken := contestant{name: "broken", modes: []mode{plain}, command: func(string, string, mode) (*exec.Cmd, error) {
		return nil, errors.New("it cannot start")
	}}
	list := []contestant{one, other, broken}
	r := newReport(list, settings{rounds: 2})
	kept := 0
	var out strings.Builder
	s := session{files: f, list: list, rounds: 2, each: 10 * time.Millisecond, out: &out, stock: newStock(), report: r, progress: func() error { kept++; return nil }}
	var chosen []workload
	for _, w := range workloads(small()) {
		switch {
		case w.name == "pull of small images c16" || strings.HasPrefix(w.name, "last page of the catalog") || strings.HasPrefix(w.name, "start with 100 "):
			w.clients = min(w.clients, 2)
			chosen = append(chosen, w)
		}
	}
	fails := chosen[0]
	fails.name, fails.do = "fails for one", func(t *target, _ *conn, _ int) error {
		if t.contestant.name == "other" {
			return errors.New("some reason")
		}
		return nil
	}
	chosen = append([]workload{fails}, chosen...)
	if err := s.all(t.Context(), chosen); err != nil {
		t.Fatal(err)
	}
	if kept != len(chosen) || len(chosen) != 5 {
		t.Errorf("the report was kept %d times for %d workloads, want 5", kept, len(chosen))
	}
	for _, w := range chosen {
		m := r.find(w.name)
		if len(m.Rounds["floor"]) != 2 || !strings.Contains(m.Failed["broken"], "it cannot start") {
			t.Errorf("%s: got %+v", w.name, m)
		}
		for _, res := range m.Rounds["floor"] {
			if res.CPU <= 0 && w.name != fails.name || res.Memory <= 0 || res.Rate <= 0 {
				t.Errorf("%s: measured %+v of a process", w.name, res)
			}
		}
		if wrong := w.name == fails.name; len(m.Rounds["other"]) != 2 != wrong || strings.Contains(m.Failed["other"], "some reason") != wrong {
			t.Errorf("%s: got %+v of the other", w.name, m)
		}
	}
	if !strings.Contains(out.String(), "other FAILED: some reason") {
		t.Errorf("what failed is not said:\n%s", &out)
	}
}

// TestSessionEnds when it is told to, and not with a failure of somebody.
func TestSessionEnds(t *testing.T) {
	f := files{t.TempDir()}
	list := contestants(f, "", "")[1:2]
	ctx, cancel := context.WithCancel(t.Context())
	w := workload{name: "long", clients: 1, do: func(*target, *conn, int) error { cancel(); return nil }}
	r := newReport(list, settings{})
	s := session{files: f, list: list, rounds: 1, each: time.Hour, out: new(strings.Builder), stock: newStock(), report: r, progress: func() error { return nil }}
	if err := s.all(ctx, []workload{w}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if len(r.find("long").Failed) > 0 {
		t.Errorf("the end counts as a failure: %v", r.find("long").Failed)
	}
}

// TestProfile keeps what the server says it spends its CPU on while it works.
func TestProfile(t *testing.T) {
	working := make(chan struct{})
	tg := served(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/debug/pprof/profile":
			<-working
			fmt.Fprint(w, "profile of ", r.URL.RawQuery)
		}
	}), plain, newStock())
	tg.inspected = tg.addr
	s := session{profiles: t.TempDir(), each: time.Millisecond}
	var once sync.Once
	w := workload{name: "a name, c1", clients: 1, most: 10, do: func(*target, *conn, int) error {
		once.Do(func() { close(working) })
		return nil
	}}
	if err := s.profile(t.Context(), tg, w); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(s.profiles, "a-name-c1.pprof")); string(got) != "profile of seconds=1" {
		t.Errorf("got %q, %v", got, err)
	}
}
