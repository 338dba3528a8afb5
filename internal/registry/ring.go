package registry

import (
	"io"
	"sync"
)

// How much of a ring is moved at once: it is read into when there is room for
// leastRead bytes, and emptied in parts of ringPart, so that nobody is woken for
// a trifle. Both divide ringSize.
const (
	leastRead = 64 << 10
	ringPart  = 256 << 10
)

// A side is one of the two that each byte of a ring is given to. Neither waits
// for the other, but where the ring is full and where it is flushed.
type side int

const (
	storing side = iota
	hashing
	sides
)

// A ring is memory between a goroutine that reads into it and two that empty it
// at the same time, each for itself. Each byte is read to a place and is
// processed there.
type ring struct {
	buf     []byte
	mu      sync.Mutex
	filled  sync.Cond // there may be something for next
	emptied sync.Cond // there may be something for room, or for level

	head   int64        // how many bytes were read
	at     [sides]int64 // how many of them each side has processed
	asked  bool         // a flush was asked for, and resume was not called yet
	due    int64        // what it is for: everything before, and nothing else is given out
	ended  bool         // nothing more is read
	broken bool         // nothing more is processed
}

func newRing(size int) *ring {
	r := &ring{buf: make([]byte, size)}
	r.filled.L, r.emptied.L = &r.mu, &r.mu
	return r
}

// reset makes the ring as new. Nobody may be using it.
func (r *ring) reset() {
	r.head, r.at, r.asked, r.ended, r.broken = 0, [sides]int64{}, false, false, false
}

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
	for !r.broken && size-r.held() < leastRead {
		r.emptied.Wait()
	}
	if r.broken {
		return nil
	}
	at := r.head % size
	return r.buf[at:min(size, at+size-r.held())]
}

// held is how many bytes one side or both have not processed. The caller holds mu.
func (r *ring) held() int64 { return r.head - min(r.at[storing], r.at[hashing]) }

// add says that n bytes were read into the room.
func (r *ring) add(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.head += int64(n)
	if r.ready(storing) || r.ready(hashing) {
		r.filled.Broadcast()
	}
}

// flush has next give out everything that was read by now, without waiting for
// more, tell the side that stores when that was all, and nothing more until
// resume. While one is under way another does nothing.
func (r *ring) flush() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.asked {
		r.asked, r.due = true, r.head
		r.filled.Broadcast()
	}
}

// level waits until both sides have processed what a flush is for, which next
// has told the side that stores. It reports whether they did: they do not when
// nothing more is processed.
func (r *ring) level() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for !r.broken && r.at[hashing] < r.due {
		r.emptied.Wait()
	}
	return !r.broken
}

// resume ends a flush.
func (r *ring) resume() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = false
	r.filled.Broadcast()
}

// end says that nothing more is read.
func (r *ring) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	r.filled.Broadcast()
}

// ready reports whether next has something to return. The caller holds mu.
func (r *ring) ready(s side) bool {
	if r.broken {
		return true
	}
	if r.asked {
		return s == storing || r.at[s] < r.due
	}
	size := int64(len(r.buf))
	return r.ended || r.head-r.at[s] >= min(ringPart, size-r.at[s]%size)
}

// next waits for a part of what was read, and returns it to one side until done
// is called. flushed says that it completes what a flush was for: there may be
// nothing more to it. An empty part is the end if it is not that.
func (r *ring) next(s side) (p []byte, flushed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for !r.ready(s) {
		r.filled.Wait()
	}
	if r.broken {
		return nil, false
	}
	limit := r.head
	if r.asked {
		limit = r.due
	}
	size := int64(len(r.buf))
	at := r.at[s] % size
	n := min(limit-r.at[s], size-at, ringPart)
	return r.buf[at : at+n], r.asked && r.at[s]+n == r.due
}

// done says that one side has processed the n bytes that next returned to it.
func (r *ring) done(s side, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at[s] += int64(n)
	r.emptied.Broadcast()
}

// fail says that nothing more is processed.
func (r *ring) fail() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.broken = true
	r.emptied.Broadcast()
	r.filled.Broadcast()
}
