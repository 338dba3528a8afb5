package hot

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
)

func nth(i int) Key { return Key{Kind: 1, Repo: int64(i % 7), Name: fmt.Sprintf("sha256:%064x", i)} }

// fillFrom fills f with the first n keys, and reports whether it knows then what it
// lacks.
func fillFrom(f *Filter, n int) bool {
	for f.Begin() {
		i := 0
		for i < n && f.Found(nth(i)) {
			i++
		}
		if i == n {
			f.End()
			return true
		}
	}
	return false
}

// TestFilter holds that a filter never lacks what it was told of, whoever told it, and
// that it lacks nearly all else, however many keys there are.
func TestFilter(t *testing.T) {
	for _, n := range []int{0, 1, 30_000, 100_000} {
		f := NewFilter(New(64 << 20))
		if f.Lacks(nth(0)) || f.Whole() {
			t.Error("it knows something before it was filled")
		}
		if !fillFrom(f, n) || !f.Whole() {
			t.Fatalf("there is no room for %d keys", n)
		}
		for i := n; i < 2*n; i++ {
			f.Add(nth(i))
		}
		for i := range 2 * n {
			if f.Lacks(nth(i)) {
				t.Fatalf("of %d keys it lacks number %d", 2*n, i)
			}
		}
		unknown := 0
		for i := 2 * n; i < 2*n+10_000; i++ {
			if f.Lacks(nth(i)) {
				unknown++
			}
		}
		if unknown < 9_900 {
			t.Errorf("with %d keys it knows of %d of 10000 that there is nothing", 2*n, unknown)
		}
	}
}

// TestFilterBound holds that a filter takes from its cache what it says, gives up when
// there are too many keys, and then takes nothing.
func TestFilterBound(t *testing.T) {
	const limit = 4 << 20
	c := New(limit)
	f := NewFilter(c)
	if fillFrom(f, 200_000) || f.Whole() || f.Begin() {
		t.Error("it knows more than there is room for")
	}
	if n := c.Stats().Bytes; n != 0 {
		t.Errorf("it takes %d bytes for nothing", n)
	}
	f = NewFilter(c)
	for i := range 20_000 {
		c.Put(c.Moment(), nth(i), i, 100)
	}
	if !fillFrom(f, 100_000) {
		t.Error("there is no room for 100000 keys")
	}
	f.Begin()
	if n := c.Stats().Bytes; n > limit || n < 3*limit/4 || c.taken < limit/8 {
		t.Errorf("%d bytes in all, of which the filter has %d, of %d", n, c.taken, limit)
	}
	for _, none := range []*Filter{NewFilter(nil), NewFilter(New(1000))} {
		none.Add(nth(1))
		none.GiveUp()
		if none != nil || none.Begin() || none.Lacks(nth(2)) || none.Whole() || none.Full() != nil {
			t.Error("a filter without memory knows something")
		}
	}
}

// TestFilterAddedMeanwhile holds that what is added while it is being filled need not be
// found, whether it answers already or not.
func TestFilterAddedMeanwhile(t *testing.T) {
	f := NewFilter(New(1 << 20))
	for i := range 3 {
		f.Begin()
		f.Add(nth(i))
		if f.Lacks(nth(i)) {
			t.Error("it is lacking while it is being filled")
		}
		if f.End(); f.Lacks(nth(i)) || !f.Lacks(nth(100)) {
			t.Error("it is lacking when it is filled")
		}
	}
}

// TestFilterGivesUp holds that a filter that gave up knows nothing, also if it is being
// filled.
func TestFilterGivesUp(t *testing.T) {
	f := NewFilter(New(1 << 20))
	fillFrom(f, 10)
	f.Begin()
	f.GiveUp()
	if f.Found(nth(1)) {
		t.Error("it is filled all the same")
	}
	if f.End(); f.Whole() || f.Lacks(nth(100)) || f.Begin() {
		t.Error("it knows something")
	}
}

// TestFilterIsFull holds that a filter says when it has more than it was made for, that
// another filling forgets what there is no more, and that one which is filled again and
// again with the same number of keys does not grow.
func TestFilterIsFull(t *testing.T) {
	f := NewFilter(New(64 << 20))
	fillFrom(f, 10_000)
	size := 0
	for round := range 5 {
		asked := false
		for i := 0; !asked; i++ {
			select {
			case <-f.Full():
				asked = true
			default:
				f.Add(nth(1_000_000 + round*1_000_000 + i))
			}
			if i > 500_000 {
				t.Fatal("it is never full")
			}
		}
		fillFrom(f, 10_000)
		if len(f.Full()) > 0 {
			t.Error("it is full when it has just been filled")
		}
		if now := len(f.now.Load().words); round > 0 && now != size {
			t.Errorf("from %d words it grows to %d", size, now)
		}
		size = len(f.now.Load().words)
		if got := f.now.Load().keys.Load(); got > 10_000 {
			t.Errorf("it has %d keys of 10000", got)
		}
	}
}

// TestFilterMeanwhile has one write, one fill again and again, and others ask. What is
// committed nobody is told that it is lacking, and who fills sees only that.
func TestFilterMeanwhile(t *testing.T) {
	const keys = 20_000
	f := NewFilter(New(16 << 20))
	var committed [keys]atomic.Bool
	var writing sync.Mutex // held by a transaction
	var busy sync.WaitGroup
	stop := make(chan struct{})
	stopped := func() bool {
		select {
		case <-stop:
			return true
		default:
			return false
		}
	}
	settled := func() {
		writing.Lock()
		defer writing.Unlock()
	}
	fill := func() {
		if !f.Begin() {
			t.Error("there is no room")
			return
		}
		settled() // all that was added before is committed
		for i := range keys {
			if committed[i].Load() && !f.Found(nth(i)) {
				return
			}
		}
		f.End()
	}
	for i := range 3 {
		busy.Go(func() {
			for rnd := rand.New(rand.NewPCG(uint64(i), 7)); !stopped(); {
				i := rnd.IntN(keys)
				if was := committed[i].Load(); was && f.Lacks(nth(i)) {
					t.Errorf("number %d is there", i)
					return
				}
			}
		})
	}
	busy.Go(func() {
		for !stopped() {
			fill()
		}
	})
	for at := 0; at < keys; at += 10 {
		writing.Lock()
		for i := at; i < at+10; i++ {
			f.Add(nth(i))
		}
		for i := at; i < at+10; i++ {
			committed[i].Store(true)
		}
		writing.Unlock()
	}
	close(stop)
	busy.Wait()
	fill()
	if !f.Lacks(nth(keys)) && !f.Lacks(nth(keys+1)) {
		t.Error("in the end it knows nothing")
	}
}

// BenchmarkLacks asks for what is not there.
func BenchmarkLacks(b *testing.B) {
	f := NewFilter(New(64 << 20))
	fillFrom(f, 100_000)
	k := nth(200_000)
	b.ReportAllocs()
	for b.Loop() {
		f.Lacks(k)
	}
}
