package htpasswd

import (
	"net/netip"
	"sync"
	"time"

	"berth/internal/auth"
)

const (
	// failuresAtOnce is how many wrong log-ins one user may have from one
	// address before waiting, failureEvery how long each then takes to be
	// forgiven.
	failuresAtOnce = 10
	failureEvery   = 10 * time.Second

	// maxBuckets bounds each of the two generations, together about 4 MiB.
	// Filling one to push the others out costs that many hashes.
	maxBuckets = 32768
)

// A bucketKey stands for a user, known or not, and an address. Users are
// hashed, so that long names cost no memory.
type bucketKey struct {
	user credentialKey
	from netip.Addr
}

// A throttle counts failed log-ins per user and address. Its buckets hold no
// more than a time: when all failures so far will be forgiven. It may be used
// concurrently.
type throttle struct {
	mu         sync.Mutex
	young, old map[bucketKey]time.Time
}

// reserve counts a failure before it happens, so that many checks at once
// cannot exceed the limit. Take it back with refund if the log-in was good.
func (t *throttle) reserve(k bucketKey, now time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	forgiven := t.forgiven(k)
	if forgiven.Before(now) {
		forgiven = now
	}
	forgiven = forgiven.Add(failureEvery)
	if wait := forgiven.Sub(now) - failuresAtOnce*failureEvery; wait > 0 {
		return &auth.ThrottledError{RetryAfterSeconds: int((wait + time.Second - 1) / time.Second)}
	}
	t.put(k, forgiven)
	return nil
}

func (t *throttle) refund(k bucketKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.put(k, t.forgiven(k).Add(-failureEvery))
}

func (t *throttle) forgiven(k bucketKey) time.Time {
	if at, ok := t.young[k]; ok {
		return at
	}
	return t.old[k]
}

func (t *throttle) put(k bucketKey, at time.Time) {
	if _, there := t.young[k]; !there && (t.young == nil || len(t.young) >= maxBuckets) {
		t.young, t.old = make(map[bucketKey]time.Time), t.young
	}
	t.young[k] = at
}

// network returns what counts as one client: an IPv4 address, or the /64 of
// an IPv6 address, of which everybody has 2^64.
func network(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if !a.Is6() {
		return a
	}
	p, err := a.Prefix(64)
	if err != nil {
		return a
	}
	return p.Addr()
}
