package registry

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
)

// A dribble reads r in parts of random sizes.
type dribble struct {
	r    io.Reader
	rnd  *rand.Rand
	most int
}

func (d *dribble) Read(p []byte) (int, error) { return d.r.Read(p[:min(len(p), d.rnd.IntN(d.most))]) }

// empty is what a side does with a ring: it gives take all parts, and at every
// flush has flushed called, if it is the one that is told.
func empty(r *ring, s side, take func(p []byte), flushed func()) {
	for {
		p, f := r.next(s)
		if len(p) == 0 && (!f || s != storing) {
			return
		}
		take(p)
		r.done(s, len(p))
		if f && s == storing {
			flushed()
		}
	}
}

// TestRing holds that what goes in comes out on both sides, once and in order,
// whatever the sizes of reads are and whenever somebody flushes, and that both
// have had the same bytes when a flush has come to its end.
func TestRing(t *testing.T) {
	content := make([]byte, 5*ringSize/2+77)
	rand.NewChaCha8([32]byte{1}).Read(content)
	r := newRing(ringSize)
	for _, most := range []int{2000, leastRead, ringPart + 1, 2 * ringSize} {
		for _, cut := range []int{0, 1, 999, ringPart, ringSize, len(content)} {
			r.reset()
			filled := make(chan error, 1)
			go func() {
				filled <- r.fill(&dribble{bytes.NewReader(content[:cut]), rand.New(rand.NewPCG(uint64(most), uint64(cut))), most})
				r.end()
			}()
			var other bytes.Buffer
			var beside sync.WaitGroup
			beside.Go(func() { empty(r, hashing, func(p []byte) { other.Write(p) }, nil) })
			var got bytes.Buffer
			rnd := rand.New(rand.NewPCG(1, 2))
			empty(r, storing, func(p []byte) {
				if len(p) > ringPart {
					t.Fatalf("got %d bytes at once, want at most %d", len(p), ringPart)
				}
				got.Write(p)
				if rnd.IntN(3) == 0 {
					r.flush()
				}
			}, func() {
				if !r.level() || !bytes.Equal(got.Bytes(), other.Bytes()) {
					t.Errorf("at the end of a flush the sides have had %d and %d bytes, or others", got.Len(), other.Len())
				}
				r.resume()
			})
			beside.Wait()
			if err := <-filled; err != nil || !bytes.Equal(got.Bytes(), content[:cut]) || !bytes.Equal(other.Bytes(), content[:cut]) {
				t.Errorf("reads of up to %d: %d and %d of %d bytes came out, error %v, and they may be wrong", most, got.Len(), other.Len(), cut, err)
			}
		}
	}
}

// TestRingKeeps holds that nothing is read to where a side has not been, however
// far the other one is.
func TestRingKeeps(t *testing.T) {
	for s := range sides {
		r := newRing(ringSize)
		var want []byte
		for i := byte(1); ; i++ {
			p := r.room()
			n := min(len(p), ringPart)
			for k := range p[:n] {
				p[k] = i
			}
			want = append(want, p[:n]...)
			r.add(n)
			if r.held() == int64(ringSize) {
				break
			}
			got, _ := r.next(s)
			r.done(s, len(got))
		}
		other := storing + hashing - s
		var got []byte
		for len(got) < len(want) {
			p, _ := r.next(other)
			got = append(got, p...)
			r.done(other, len(p))
		}
		if !bytes.Equal(got, want) {
			t.Errorf("side %d was given other bytes than those that were read", other)
		}
	}
}

// TestRingFlush holds that a flush gives out what has come, where it would have
// been waited for more, that it says when that was all, and that what comes after
// it waits until it is over.
func TestRingFlush(t *testing.T) {
	r := newRing(ringSize)
	for range 2*ringSize/1000 + 1 { // around the end of the memory, too
		n := min(len(r.room()), 1000)
		copy(r.room(), "abc")
		r.add(n)
		r.flush()
		r.add(7)
		for left := n; left > 0; {
			p, flushed := r.next(storing)
			if left -= len(p); len(p) == 0 || flushed != (left == 0) {
				t.Fatalf("got %d bytes, flushed %v, with %d left", len(p), flushed, left)
			}
			r.done(storing, len(p))
		}
		for left := n; left > 0; {
			p, _ := r.next(hashing)
			if left -= len(p); len(p) == 0 || left < 0 {
				t.Fatalf("got %d bytes to hash, with %d left", len(p), left)
			}
			r.done(hashing, len(p))
		}
		if !r.level() || r.ready(hashing) {
			t.Fatal("more is given to hash before the flush is over")
		}
		r.resume()
		r.flush()
		for s := range sides {
			for left := 7; left > 0; {
				p, _ := r.next(s)
				left -= len(p)
				r.done(s, len(p))
			}
		}
		r.resume()
	}
	r.flush() // of nothing more
	if p, flushed := r.next(storing); len(p) > 0 || !flushed {
		t.Errorf("got %d bytes, flushed %v, want nothing, flushed", len(p), flushed)
	}
	r.resume()
	r.end()
	for s := range sides {
		if p, flushed := r.next(s); len(p) > 0 || flushed {
			t.Errorf("got %d bytes, flushed %v, want the end", len(p), flushed)
		}
	}
}

// TestRingFails holds that who fills a ring, and who empties it on the other
// side, learn that nothing more is processed.
func TestRingFails(t *testing.T) {
	r := newRing(ringSize)
	filled := make(chan error)
	go func() { filled <- r.fill(endless{}) }()
	var beside sync.WaitGroup
	beside.Go(func() { empty(r, hashing, func([]byte) {}, nil) })
	p, _ := r.next(storing)
	r.done(storing, len(p))
	r.flush() // where the other side would wait
	r.fail()
	if err := <-filled; err != nil {
		t.Errorf("fill: %v", err)
	}
	beside.Wait()
	if r.level() {
		t.Error("what failed is said to be level")
	}
	r.reset()
	want := errors.New("lost")
	if err := r.fill(io.MultiReader(bytes.NewReader(make([]byte, 10)), broken{want})); err != want {
		t.Errorf("fill: %v, want %v", err, want)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }

// TestMemory holds that the memory of all transfers together is bounded, and
// that what is given back serves the next ones.
func TestMemory(t *testing.T) {
	m := newMemory()
	for range 2 {
		var rings []*ring
		for q := m.tryRing(); q != nil; q = m.tryRing() {
			rings = append(rings, q)
		}
		if most := min(max(2*runtime.GOMAXPROCS(0), 4), mostRings); len(rings) != most {
			t.Errorf("got %d rings, want %d", len(rings), most)
		}
		var list []*[]byte
		total := 0
		for range 1000 {
			b := m.buffer()
			list = append(list, b)
			total += len(*b)
		}
		if most := manyAre*bufferSize + (1000-manyAre)*crowdSize; total != most {
			t.Errorf("1000 buffers have %d bytes, want %d", total, most)
		}
		for _, q := range rings {
			m.returnRing(q)
		}
		for _, b := range list {
			m.returnBuffer(b)
		}
	}
}
