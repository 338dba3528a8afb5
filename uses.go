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
	early := s.meta.UsesWaiting()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			early = s.meta.UsesWaiting()
		case <-early:
		}
		err := s.meta.FlushUses(ctx)
		if s.warn(ctx, "record what was pulled", err); err != nil {
			early = nil // what failed is not tried again before its time
		}
	}
}
