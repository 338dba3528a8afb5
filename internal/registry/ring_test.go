package registry

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"
)

// A dribble reads r in parts of random sizes.
type dribble struct {
	r    io.Reader
	rnd  *rand.Rand
	most int
}

func (d *dribble) Read(p []byte) (int, error) { return d.r.Read(p[:min(len(p), d.rnd.IntN(d.most))]) }

// TestRing holds that what goes in comes out, once and in order, whatever the
// sizes of reads are and whenever somebody flushes.
func TestRing(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
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
			h, got := sha256.New(), 0
			for {
				if rnd.IntN(3) == 0 {
					r.flush()
				}
				p, flushed := r.next()
				if len(p) == 0 && !flushed {
					break
				}
				if len(p) > ringPart {
					t.Fatalf("got %d bytes at once, want at most %d", len(p), ringPart)
				}
				h.Write(p)
				got += len(p)
				r.done(len(p))
			}
			if err := <-filled; err != nil || got != cut || sha256.Sum256(content[:cut]) != [32]byte(h.Sum(nil)) {
				t.Errorf("reads of up to %d: %d of %d bytes came out, error %v, and they may be wrong", most, got, cut, err)
			}
		}
	}
}

// TestRingFlush holds that a flush gives out what has come, where it would have
// been waited for more, and says when that was all.
func TestRingFlush(t *testing.T) {
	r := newRing(ringSize)
	for range 2*ringSize/1000 + 1 { // around the end of the memory, too
		n := len(r.room())
		copy(r.room(), "abc")
		r.add(min(n, 1000))
		r.flush()
		for left := min(n, 1000); left > 0; {
			p, flushed := r.next()
			if left -= len(p); len(p) == 0 || flushed != (left == 0) {
				t.Fatalf("got %d bytes, flushed %v, with %d left", len(p), flushed, left)
			}
			r.done(len(p))
		}
	}
	r.flush() // of nothing more
	if p, flushed := r.next(); len(p) > 0 || !flushed {
		t.Errorf("got %d bytes, flushed %v, want nothing, flushed", len(p), flushed)
	}
	r.end()
	if p, flushed := r.next(); len(p) > 0 || flushed {
		t.Errorf("got %d bytes, flushed %v, want the end", len(p), flushed)
	}
}

// TestRingFails holds that who fills a ring learns that nobody empties it.
func TestRingFails(t *testing.T) {
	r := newRing(ringSize)
	filled := make(chan error)
	go func() { filled <- r.fill(endless{}) }()
	p, _ := r.next()
	r.done(len(p))
	r.fail()
	if err := <-filled; err != nil {
		t.Errorf("fill: %v", err)
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
