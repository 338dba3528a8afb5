package berth

import (
	"context"
	"time"
)

// usesEvery is how often it is written down what was pulled: what a crash may
// lose of it.
const usesEvery = time.Minute

// keepUses records which manifests were pulled until ctx ends. What comes after
// that is recorded when the database is closed.
func (s *Server) keepUses(ctx context.Context) error {
	tick := time.NewTicker(usesEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-s.meta.UsesWaiting():
		}
		s.warn(ctx, "record what was pulled", s.meta.FlushUses(ctx))
	}
}
