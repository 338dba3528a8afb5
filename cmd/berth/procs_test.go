package main

import "testing"

// TestProcs holds that only a small machine that is ours as a whole gets more.
func TestProcs(t *testing.T) {
	for _, tt := range []struct{ now, processors, want int }{
		{1, 1, 2}, {2, 2, 4}, {3, 3, 4}, {4, 4, 4}, {8, 8, 8}, {64, 64, 64},
		{2, 8, 2}, {2, 3, 2}, {1, 2, 1}, // a limit
		{2, 1, 2}, // Go's least for a container
	} {
		if got := procs(tt.now, tt.processors); got != tt.want {
			t.Errorf("%d on %d processors: %d, want %d", tt.now, tt.processors, got, tt.want)
		}
	}
}
