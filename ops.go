package berth

import (
	"context"
	"errors"
	"net/http"

	"berth/internal/distapi"
	"berth/internal/distapi/route"
	"berth/internal/meta"
	"berth/internal/meta/hot"
	"berth/internal/ops"
)

// healthRoute is what ops calls the health handlers in logs and metrics.
const healthRoute = "health"

// openOps sets up what the operator looks at.
func (s *Server) openOps() error {
	s.health = ops.NewHealth()
	s.metrics = ops.NewMetrics(s.version)
	space := func(pick func(free, total int64) int64) func() float64 {
		return func() float64 {
			free, total, err := s.blobs.Free(context.Background())
			if err != nil {
				return -1
			}
			return float64(pick(free, total))
		}
	}
	return errors.Join(
		s.metrics.GaugeFunc("berth_storage_free_bytes", "Free space of the data directory's file system.", space(func(free, _ int64) int64 { return free })),
		s.metrics.GaugeFunc("berth_storage_total_bytes", "Size of the data directory's file system.", space(func(_, total int64) int64 { return total })),
		s.openCollectorMetrics(),
		s.openUsageMetrics(),
		s.metrics.CounterFunc("berth_database_commits_total", "Transactions of the database.", func() float64 { return float64(s.meta.Stats().Commits) }),
		s.metrics.CounterFunc("berth_database_mutations_total", "Changes that those transactions held.", func() float64 { return float64(s.meta.Stats().Mutations) }),
		s.openMemoryMetrics(),
		s.openLoginMetrics(),
		s.openScrubMetrics(),
		s.metrics.AddOldNames(oldHandlers()),
		s.openEventMetrics(),
		s.openRetention(),
	)
}

// openMemoryMetrics adds what there is to know about records in memory.
func (s *Server) openMemoryMetrics() error {
	of := func(pick func(hot.Stats) int64) func() float64 {
		return func() float64 { return float64(pick(s.meta.Hot())) }
	}
	return errors.Join(
		s.metrics.CounterFunc("berth_cache_hits_total", "Questions that were answered from memory.", of(func(h hot.Stats) int64 { return h.Hits })),
		s.metrics.CounterFunc("berth_cache_misses_total", "Questions for which the database was asked.", of(func(h hot.Stats) int64 { return h.Misses })),
		s.metrics.CounterFunc("berth_cache_evictions_total", "Records that made room for others.", of(func(h hot.Stats) int64 { return h.Evictions })),
		s.metrics.GaugeFunc("berth_cache_bytes", "Memory that is in use for records; cache.memory bounds it.", of(func(h hot.Stats) int64 { return h.Bytes })),
	)
}

// openLoginMetrics adds what there is to know about the password file.
func (s *Server) openLoginMetrics() error {
	if s.login.users == nil {
		return nil
	}
	return errors.Join(
		s.metrics.GaugeFunc("berth_htpasswd_users", "Users who can log in.", func() float64 { return float64(s.login.users.Status().Users) }),
		s.metrics.GaugeFunc("berth_htpasswd_stale", "1 if the password file can't be read and the last good one is in use.", func() float64 {
			if s.login.users.Status().Err != nil {
				return 1
			}
			return 0
		}),
	)
}

// Ops returns the handler for whoever looks after the registry: /healthz and
// /readyz with reasons, the metrics, /debug/health, /debug/vars and
// /debug/pprof/. It asks nobody to log in.
func (s *Server) Ops() http.Handler {
	o := ops.HandlerOptions{Health: s.health, Path: s.cfg.Metrics.Path, Vars: s.vars, Log: s.log}
	if s.cfg.Metrics.Prometheus {
		o.Metrics = s.metrics
	}
	return ops.Handler(o)
}

// vars is what /debug/vars tells of the registry, where registry:2 tells it.
func (s *Server) vars() map[string]any {
	return map[string]any{"registry": map[string]any{"notifications": s.notificationVars()}}
}

// record notes requests in the access log and in the metrics.
func (s *Server) record(next http.Handler) http.Handler {
	o := ops.RecordOptions{
		Metrics: s.metrics,
		Quiet:   []string{healthRoute},
		Client:  s.proxies.Client,
	}
	if s.cfg.Log.Access {
		o.Log = s.log
	}
	return ops.Record(o, next)
}

// begin tells the metrics what a request asks for.
func begin(w http.ResponseWriter, kind route.Kind) { ops.SetRoute(w, kind.String()) }

// observe tells the access log and the metrics what a request was.
func observe(w http.ResponseWriter, o distapi.Outcome) {
	if o.Route.Kind != route.None {
		ops.SetRoute(w, o.Route.Kind.String())
	}
	if !o.Principal.Anonymous() {
		ops.SetUser(w, o.Principal.Name)
		ops.SetLogIn(w, string(o.Principal.Via))
	}
}

// watchDatabase lets readiness follow what the disk does to the database. That
// it is full is no reason to send pulls elsewhere.
func (s *Server) watchDatabase() {
	const part = "database"
	if err := s.meta.Trouble(); err != nil && !errors.Is(err, meta.ErrNoSpace) {
		s.health.SetProblem(part, err.Error())
		return
	}
	s.health.ClearProblem(part)
}
