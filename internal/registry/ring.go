package registry

import (
	"io"
	"sync"
)

// How much of a ring is moved at once: it is read into when there is room for
// leastRead bytes, and emptied in parts of ringPart, so that neither side is
// woken for a trifle. Both divide ringSize.
const (
	leastRead = 64 << 10
	ringPart  = 256 << 10
)

// A ring is memory between a goroutine that reads into it and one that empties
// it at the same time. Each byte is read to a place and is processed there.
type ring struct {
	buf     []byte
	mu      sync.Mutex
	filled  sync.Cond // there may be something for next
	emptied sync.Cond // there may be something for room

	head, tail int64 // how many bytes were read, and how many of them were processed
	asked      bool  // a flush was asked for, and next has not reported it
	due        int64 // what it is for: everything before
	ended      bool  // nothing more is read
	broken     bool  // nothing more is processed
}

func newRing(size int) *ring {
	r := &ring{buf: make([]byte, size)}
	r.filled.L, r.emptied.L = &r.mu, &r.mu
	return r
}

// reset makes the ring as new. Nobody may be using it.
func (r *ring) reset() { r.head, r.tail, r.asked, r.ended, r.broken = 0, 0, false, false, false }

// fill reads from src until it ends, and returns nil then or when nothing more
// is processed.
func (r *ring) fill(src io.Reader) error {
	for {
		p := r.room()
		if p == nil {
			return nil
		}
		n, err := src.Read(p)
		r.add(n)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// room waits for room and returns it: the part of the ring to read into. It is
// nil when nothing more is processed.
func (r *ring) room() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	size := int64(len(r.buf))
	for !r.broken && size-(r.head-r.tail) < leastRead {
		r.emptied.Wait()
	}
	if r.broken {
		return nil
	}
	at := r.head % size
	return r.buf[at:min(size, at+size-(r.head-r.tail))]
}

// add says that n bytes were read into the room.
func (r *ring) add(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.head += int64(n)
	if r.ready() {
		r.filled.Signal()
	}
}

// flush has next give out everything that was read by now, without waiting for
// more, and report that.
func (r *ring) flush() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked, r.due = true, r.head
	r.filled.Signal()
}

// end says that nothing more is read.
func (r *ring) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	r.filled.Signal()
}

// ready reports whether next has something to return. The caller holds mu.
func (r *ring) ready() bool {
	size := int64(len(r.buf))
	return r.ended || r.asked || r.head-r.tail >= min(ringPart, size-r.tail%size)
}

// next waits for a part of what was read, and returns it until done is called.
// flushed says that it completes what a flush was for: there may be nothing more
// to it. An empty part is the end if it is not that.
func (r *ring) next() (p []byte, flushed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for !r.ready() {
		r.filled.Wait()
	}
	size := int64(len(r.buf))
	at := r.tail % size
	n := min(r.head-r.tail, size-at, ringPart)
	flushed = r.asked && r.tail+n >= r.due
	r.asked = r.asked && !flushed
	return r.buf[at : at+n], flushed
}

// done says that the n bytes that next returned were processed.
func (r *ring) done(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tail += int64(n)
	r.emptied.Signal()
}

// fail says that nothing more is processed.
func (r *ring) fail() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.broken = true
	r.emptied.Signal()
}
