package berth

import (
	"context"
	"testing"

	"berth/config"
)

// TestRunEnds holds that all that runs beside requests ends at once when it is
// ended before it has begun.
func TestRunEnds(t *testing.T) {
	s := newSite(t, t.TempDir(), nil, func(*config.Config) {})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.s.Run(ctx); err != nil {
		t.Error(err)
	}
}
