package berth

import (
	"net/http"
	"path/filepath"
	"time"

	"berth/internal/distapi"
	"berth/internal/ops"
)

// leastLook is how long a look at the storage may take at least before it counts
// as failed: a disk that wakes up takes its time.
const leastLook = 10 * time.Second

// checks are what the configuration wants to be looked at. Whoever names a file
// or an address wants the registry closed by it, as registry:2 closes; of the
// storage only that it is gone closes it: while it merely can't be written to,
// pulls go on, and readiness tells.
func (s *Server) checks() []ops.Check {
	var list []ops.Check
	if c := s.cfg.Health.Storage; c.Enabled {
		storage := ops.Check{Interval: c.Interval, Timeout: max(c.Interval, leastLook), Threshold: c.Threshold}
		reach, write := storage, storage
		reach.Name, reach.Effect, reach.Look = "storagedriver_filesystem", ops.Closed, s.blobs.Reachable
		write.Name, write.Effect, write.Look = "storage", ops.NotReady, s.blobs.Writable
		list = append(list, reach, write)
	}
	for _, c := range s.cfg.Health.Files {
		path := c.File
		if abs, err := filepath.Abs(path); err == nil {
			path = abs
		}
		list = append(list, ops.Check{Name: c.File, Interval: c.Interval, Effect: ops.Closed, Look: ops.FileAbsent(path)})
	}
	for _, c := range s.cfg.Health.HTTP {
		list = append(list, ops.Check{
			Name: ops.Redacted(c.URL), Interval: c.Interval, Timeout: c.Timeout, Threshold: c.Threshold, Effect: ops.Closed,
			Look: ops.Answers(c.URL, c.Headers, c.Status),
		})
	}
	for _, c := range s.cfg.Health.TCP {
		list = append(list, ops.Check{
			Name: c.Address, Interval: c.Interval, Timeout: c.Timeout, Threshold: c.Threshold, Effect: ops.Closed,
			Look: ops.Accepts(c.Address),
		})
	}
	return list
}

// unlessClosed serves next unless a health check closes the registry, with what
// registry:2 answers then.
func (s *Server) unlessClosed(next http.Handler) http.Handler {
	closed := distapi.Unavailable("health check failed: please see /debug/health")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.health.Open() {
			closed.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}
