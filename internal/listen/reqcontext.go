package listen

import (
	"context"
	"sync"
)

// A requestContext is the context of a request that the conn answers itself. It ends
// with the context of the connection, and when the request is over. Most requests are
// answered from memory, and nobody waits for their end: until somebody does it is no
// more than a mark.
type requestContext struct {
	context.Context // of the connection: this is one

	mu     sync.Mutex
	over   bool
	inner  context.Context // that ends; nil as long as nobody waits
	cancel context.CancelFunc
}

// Done implements context.Context.
func (c *requestContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.real().Done()
}

// Err implements context.Context.
func (c *requestContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner == nil && !c.over {
		return c.Context.Err()
	}
	return c.real().Err()
}

// Value implements context.Context. The packages of the standard library find by it what
// they derive contexts from, and what has ended one.
func (c *requestContext) Value(key any) any {
	c.mu.Lock()
	from := c.Context
	if c.inner != nil || c.over {
		from = c.real()
	}
	c.mu.Unlock()
	return from.Value(key)
}

// real returns the context that can be waited for; mu is held.
func (c *requestContext) real() context.Context {
	if c.inner != nil {
		return c.inner
	}
	outer := c.Context
	if c.over {
		outer = context.WithoutCancel(outer) // which has not ended before the request
	}
	c.inner, c.cancel = context.WithCancel(outer)
	if c.over {
		c.cancel()
	}
	return c.inner
}

// end ends it.
func (c *requestContext) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner == nil && c.Context.Err() != nil {
		c.real() // what has ended it is why
	}
	if c.over = true; c.inner != nil {
		c.cancel()
	}
}
