package ops

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
)

// Health is whether a server can do its work. A new one is not ready. It may be
// used concurrently.
type Health struct {
	mu       sync.Mutex
	ready    bool
	stopping bool
	problems map[string]string // by part; the server is not ready while there is one
	failing  map[string]Check  // those checks that fail; their reasons are problems
	warnings map[string]string // by part; shown, and no reason not to be ready

	closed atomic.Bool // a failing check is Closed
}

// NewHealth returns the health of a server that is starting.
func NewHealth() *Health {
	return &Health{problems: map[string]string{}, failing: map[string]Check{}, warnings: map[string]string{}}
}

// SetReady says that the server has started.
func (h *Health) SetReady() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ready = true
}

// SetShuttingDown says that the server will stop: it is not ready from now on,
// whatever is said later.
func (h *Health) SetShuttingDown() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stopping = true
}

// SetProblem says that a part of the server, such as "storage", doesn't work
// for now, and why. The server is not ready until ClearProblem. The reason is
// shown on the listener of the operator only.
func (h *Health) SetProblem(part, reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.problems[part] = reason
}

// ClearProblem says that a part of the server works again.
func (h *Health) ClearProblem(part string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.problems, part)
}

// SetWarning says that the operator should look at a part of the server, such as
// "damage", and why; with an empty reason that there is no need to any more. All
// else works, so it has no effect on readiness.
func (h *Health) SetWarning(part, reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if reason == "" {
		delete(h.warnings, part)
		return
	}
	h.warnings[part] = reason
}

// setCheck says that a check fails and why, or with an empty reason that it is
// good.
func (h *Health) setCheck(c Check, reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if reason == "" {
		delete(h.problems, c.Name)
		delete(h.failing, c.Name)
	} else {
		h.problems[c.Name] = reason
		h.failing[c.Name] = c
	}
	closed := false
	for _, f := range h.failing {
		closed = closed || f.Effect == Closed
	}
	h.closed.Store(closed)
}

// Open reports whether requests may be served: no check whose effect is Closed
// fails.
func (h *Health) Open() bool { return !h.closed.Load() }

// Checks answers as the /debug/health of registry:2 does: 200 and {}, or 503
// and the reasons by the names of what doesn't work. Warnings are among them, and
// do not make it 503.
func (h *Health) Checks() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		SetRoute(w, "health")
		h.mu.Lock()
		told := maps.Clone(h.warnings)
		maps.Copy(told, h.problems)
		body, err := json.Marshal(told)
		status := http.StatusOK
		if len(h.problems) > 0 {
			status = http.StatusServiceUnavailable
		}
		h.mu.Unlock()
		if err != nil {
			body, status = []byte("{}"), http.StatusInternalServerError // can't be: it holds strings
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(status)
		_, _ = w.Write(body) // the asker may be gone
	})
}

// A HealthState is Health at one moment.
type HealthState struct {
	Ready    bool              `json:"ready"`
	Problems map[string]string `json:"problems,omitempty"` // by part
	Warnings map[string]string `json:"warnings,omitempty"` // by part; no reason not to be ready
}

// State returns the health at this moment.
func (h *Health) State() HealthState {
	h.mu.Lock()
	defer h.mu.Unlock()
	problems := make(map[string]string, len(h.problems)+1)
	for part, reason := range h.problems {
		problems[part] = reason
	}
	switch {
	case h.stopping:
		problems["server"] = "shutting down"
	case !h.ready:
		problems["server"] = "starting"
	}
	return HealthState{Ready: len(problems) == 0, Problems: problems, Warnings: maps.Clone(h.warnings)}
}

// A Detail is how much an answer about health tells.
type Detail int

// What the health handlers may tell.
const (
	Bare Detail = iota // ok or not, for everybody
	Full               // with reasons, for the operator
)

// Liveness answers 200 for as long as there is somebody to answer: a part that
// doesn't work for now is no reason to end the others.
func (h *Health) Liveness(d Detail) http.Handler {
	return healthHandler(d, func() (HealthState, bool) {
		return h.State(), true
	})
}

// Readiness answers whether to send requests here: 200 or 503.
func (h *Health) Readiness(d Detail) http.Handler {
	return healthHandler(d, func() (HealthState, bool) {
		s := h.State()
		return s, s.Ready
	})
}

func healthHandler(d Detail, ask func() (HealthState, bool)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		SetRoute(w, "health")
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "use GET", http.StatusMethodNotAllowed)
			return
		}
		state, ok := ask()
		status, text := http.StatusOK, "ok\n"
		if !ok {
			status, text = http.StatusServiceUnavailable, "unavailable\n"
			w.Header().Set("Retry-After", "5")
		}
		contentType := "text/plain; charset=utf-8"
		if d == Full {
			contentType, text = "application/json", marshal(state)
		}
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text) // the asker may be gone
	})
}

func marshal(s HealthState) string {
	b, err := json.Marshal(s)
	if err != nil {
		return "{}\n" // can't be: it holds strings and booleans
	}
	return string(b) + "\n"
}
