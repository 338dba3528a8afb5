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
	Metrics *Metrics
	Log     *slog.Logger // nil discards
}

// Handler serves what is for the operator and nobody else: /healthz and
// /readyz with reasons, /metrics, and profiles under /debug/pprof/. It asks
// nobody to log in: it belongs on a listener that only the operator reaches.
func Handler(o HandlerOptions) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/healthz", o.Health.Liveness(Full))
	mux.Handle("/readyz", o.Health.Readiness(Full))
	mux.Handle("GET /metrics", o.Metrics.Handler(cmp.Or(o.Log, slog.New(slog.DiscardHandler))))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		mux.ServeHTTP(w, r)
	})
}
