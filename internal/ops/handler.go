package ops

import (
	"cmp"
	"log/slog"
	"net/http"
	"net/http/pprof"
)

// HandlerOptions are what Handler needs.
type HandlerOptions struct {
	Health  *Health
	Metrics *Metrics              // nil serves none
	Path    string                // of the metrics; empty means /metrics
	Vars    func() map[string]any // more of /debug/vars; nil means nothing more
	Log     *slog.Logger          // nil discards
}

// Handler serves what is for the operator and nobody else: /healthz and
// /readyz with reasons, the metrics, and below /debug/ what registry:2 has
// there: health, vars and pprof. It asks nobody to log in: it belongs on a
// listener that only the operator reaches.
func Handler(o HandlerOptions) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/healthz", o.Health.Liveness(Full))
	mux.Handle("/readyz", o.Health.Readiness(Full))
	mux.Handle("GET /debug/health", o.Health.Checks())
	mux.Handle("GET /debug/vars", vars(o.Vars))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	var metrics http.Handler = http.NotFoundHandler()
	if o.Metrics != nil {
		metrics = o.Metrics.Handler(cmp.Or(o.Log, slog.New(slog.DiscardHandler)))
	}
	path := cmp.Or(o.Path, "/metrics")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		// The path comes from the configuration: as a pattern it could mean more
		// than itself.
		if r.URL.Path == path && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
			metrics.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}
