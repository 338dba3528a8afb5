package registry

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// What a running transfer reads into. A few fast ones get a ring, which is what
// makes them fast; the others a buffer, and a crowd small ones: however many
// there are, and whatever they send, they need no more than a bounded amount of
// memory together, and each of them very little.
const (
	ringSize   = 1 << 20
	mostRings  = 16 // fewer where there are few processors
	bufferSize = 64 << 10
	manyAre    = 256      // so many buffers of that size are in use at most
	crowdSize  = 16 << 10 // the size of those beyond
)

// A memory is what all transfers of a process read into.
type memory struct {
	rings chan struct{} // holds a token for each ring in use
	ring  sync.Pool     // of *ring
	used  atomic.Int64  // buffers of bufferSize in use
	large sync.Pool     // of *[]byte of bufferSize
	small sync.Pool     // of *[]byte of crowdSize
}

func newMemory() *memory {
	return &memory{
		rings: make(chan struct{}, min(max(2*runtime.GOMAXPROCS(0), 4), mostRings)),
		ring:  sync.Pool{New: func() any { return newRing(ringSize) }},
		large: sync.Pool{New: func() any { return newBuffer(bufferSize) }},
		small: sync.Pool{New: func() any { return newBuffer(crowdSize) }},
	}
}

func newBuffer(n int) *[]byte {
	b := make([]byte, n)
	return &b
}

// buffer returns a buffer, to be given back by returnBuffer.
func (m *memory) buffer() *[]byte {
	if m.used.Add(1) <= manyAre {
		return m.large.Get().(*[]byte)
	}
	m.used.Add(-1)
	return m.small.Get().(*[]byte)
}

func (m *memory) returnBuffer(b *[]byte) {
	if len(*b) < bufferSize {
		m.small.Put(b)
		return
	}
	m.used.Add(-1)
	m.large.Put(b)
}

// tryRing returns an empty ring, to be given back by returnRing, or nil if
// others have all there are.
func (m *memory) tryRing() *ring {
	select {
	case m.rings <- struct{}{}:
		r := m.ring.Get().(*ring)
		r.reset()
		return r
	default:
		return nil
	}
}

func (m *memory) returnRing(r *ring) {
	m.ring.Put(r)
	<-m.rings
}
