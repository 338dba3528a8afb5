package distapi

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"
)

// Manifests of at most smallManifest bytes, which is nearly all of them, never wait
// for each other. Of longer ones so many are in memory at a time as have
// largeManifests bytes together, or one: what is made of a manifest while it is
// stored takes several times as much.
const (
	smallManifest  = 64 << 10
	largeManifests = 8 << 20
)

// A budget is memory that requests wait for. Its zero value is ready for use.
type budget struct {
	once  sync.Once
	bytes *semaphore.Weighted
}

// take waits until n bytes are left, in the order in which they are asked for, and
// returns what gives them back. Who asks for more than there is gets all of it.
func (b *budget) take(ctx context.Context, n int64) (giveBack func(), err error) {
	b.once.Do(func() { b.bytes = semaphore.NewWeighted(largeManifests) })
	n = min(n, largeManifests)
	if err := b.bytes.Acquire(ctx, n); err != nil {
		return nil, err
	}
	return func() { b.bytes.Release(n) }, nil
}
