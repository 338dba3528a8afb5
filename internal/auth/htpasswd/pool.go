package htpasswd

import (
	"context"
	"net/netip"
	"slices"
	"sync"
)

// A pool bounds how many hashes are computed at once, so that guessers leave
// processors for everybody else. Whoever was good before is served first;
// then every address in turn, so that a thousand guesses from one address
// delay a newcomer from another by one. It may be used concurrently.
type pool struct {
	mu        sync.Mutex
	free      int
	known     []*waiter
	strangers map[netip.Addr][]*waiter
	turns     []netip.Addr // the addresses that wait, the next first
}

// A waiter waits for ready to be closed.
type waiter struct{ ready chan struct{} }

func newPool(size int) *pool {
	return &pool{free: size, strangers: make(map[netip.Addr][]*waiter)}
}

// acquire waits until the caller may hash and must release, or until ctx ends.
func (p *pool) acquire(ctx context.Context, t trust, from netip.Addr) error {
	p.mu.Lock()
	if p.free > 0 {
		p.free--
		p.mu.Unlock()
		return nil
	}
	w := &waiter{ready: make(chan struct{})}
	p.enqueue(w, t, from)
	p.mu.Unlock()

	select {
	case <-w.ready:
		return nil
	case <-ctx.Done():
		p.abandon(w, from)
		return ctx.Err()
	}
}

// release ends what acquire began.
func (p *pool) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.handOn()
}

func (p *pool) enqueue(w *waiter, t trust, from netip.Addr) {
	if t == known {
		p.known = append(p.known, w)
		return
	}
	if len(p.strangers[from]) == 0 {
		p.turns = append(p.turns, from)
	}
	p.strangers[from] = append(p.strangers[from], w)
}

// handOn gives the place of whoever is done to the next, if there is one.
func (p *pool) handOn() {
	if len(p.known) > 0 {
		close(p.known[0].ready)
		p.known = p.known[1:]
		return
	}
	if len(p.turns) == 0 {
		p.free++
		return
	}
	from := p.turns[0]
	p.turns = p.turns[1:]
	queue := p.strangers[from]
	close(queue[0].ready)
	if len(queue) == 1 {
		delete(p.strangers, from)
		return
	}
	p.strangers[from] = queue[1:]
	p.turns = append(p.turns, from)
}

// abandon takes w out of the queue, or hands its place on if it got one in
// the same moment.
func (p *pool) abandon(w *waiter, from netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-w.ready:
		p.handOn()
		return
	default:
	}
	is := func(other *waiter) bool { return other == w }
	if i := slices.IndexFunc(p.known, is); i >= 0 {
		p.known = slices.Delete(p.known, i, i+1)
		return
	}
	queue := slices.DeleteFunc(p.strangers[from], is)
	if len(queue) > 0 {
		p.strangers[from] = queue
		return
	}
	delete(p.strangers, from)
	p.turns = slices.DeleteFunc(p.turns, func(a netip.Addr) bool { return a == from })
}
