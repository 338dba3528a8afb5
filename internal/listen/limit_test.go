package listen

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestRing compares a ring with a slice.
func TestRing(t *testing.T) {
	var r ring
	var want []*conn
	conns := make([]*conn, 10)
	for i := range conns {
		conns[i] = &conn{}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		c := conns[random.IntN(len(conns))]
		remove(c)
		want = slices.DeleteFunc(want, func(x *conn) bool { return x == c })
		if random.IntN(3) > 0 {
			r.push(c)
			want = append(want, c)
		}
		var forth, back []*conn
		for c := r.first; c != nil; c = c.place.next {
			forth = append(forth, c)
		}
		for c := r.last; c != nil; c = c.place.prev {
			back = append(back, c)
		}
		slices.Reverse(back)
		if !slices.Equal(forth, want) || !slices.Equal(back, want) {
			t.Fatalf("got %v and backwards %v, want %v", forth, back, want)
		}
	}
}
