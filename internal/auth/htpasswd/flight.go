package htpasswd

import (
	"context"
	"errors"
	"net/netip"
	"sync"
)

// A flightKey is one credential from one network.
type flightKey struct {
	credential credentialKey
	from       netip.Addr
}

// errUnfinished is what others get who waited for a check that panicked.
var errUnfinished = errors.New("checking the password was cut short")

// A flight is a check that is under way.
type flight struct {
	done chan struct{}
	err  error // valid once done is closed
}

// flights lets equal checks that come at the same time, such as those of the
// parallel connections of one push, share one hash and one reserved failure.
// The zero value is ready; it may be used concurrently.
type flights struct {
	mu      sync.Mutex
	running map[flightKey]*flight
}

// do returns the result of check, or of the equal one that already runs. If
// that one ended because its own caller went away, check begins anew.
func (f *flights) do(ctx context.Context, k flightKey, check func() error) error {
	for {
		mine := &flight{done: make(chan struct{}), err: errUnfinished}
		other := f.join(k, mine)
		if other == nil {
			defer f.land(k, mine)
			mine.err = check()
			return mine.err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-other.done:
		}
		if !errors.Is(other.err, context.Canceled) && !errors.Is(other.err, context.DeadlineExceeded) {
			return other.err
		}
	}
}

// join returns the running flight of k, or nil after making mine that.
func (f *flights) join(k flightKey, mine *flight) *flight {
	f.mu.Lock()
	defer f.mu.Unlock()
	if other := f.running[k]; other != nil {
		return other
	}
	if f.running == nil {
		f.running = make(map[flightKey]*flight)
	}
	f.running[k] = mine
	return nil
}

func (f *flights) land(k flightKey, mine *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.running, k)
	close(mine.done)
}
