package hot

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// TestBytes holds that what a cache says it takes is what it takes, by what the
// runtime says: no less than that, and not twice as much.
func TestBytes(t *testing.T) {
	for _, length := range []int{0, 100, 2000} {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		c := New(64 << 20)
		for i := range 20_000 {
			k := Key{Kind: 1, Repo: int64(i % 100), Name: fmt.Sprintf("sha256:%064x", i)}
			if i%2 == 0 {
				k.Page = fmt.Sprint("page ", i)
			}
			value := strings.Repeat("x", length)
			c.Put(c.Moment(), k, &value, int64(16+length))
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		says, takes := c.Stats().Bytes, int64(after.HeapAlloc-before.HeapAlloc)
		t.Logf("%d entries of %d bytes: says %d, takes %d", c.Stats().Entries, length, says, takes)
		if takes > says+says/20 || says > 2*takes {
			t.Errorf("%d entries of %d bytes: says %d, takes %d", c.Stats().Entries, length, says, takes)
		}
		runtime.KeepAlive(c)
	}
}

// TestHitAllocates holds that what is in memory costs no allocation.
func TestHitAllocates(t *testing.T) {
	c := New(1 << 20)
	k := key(strings.Repeat("a", 71))
	c.Put(c.Moment(), k, &k, 8)
	if n := testing.AllocsPerRun(100, func() {
		if v := c.View(); v.Get(k) == nil || !v.Whole() {
			t.Error("it is not there")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkGet gets one of many values, alone and with others.
func BenchmarkGet(b *testing.B) {
	c := New(64 << 20)
	keys := make([]Key, 1024)
	for i := range keys {
		keys[i] = Key{Kind: Kind(i % 4), Repo: int64(i % 100), Name: fmt.Sprintf("sha256:%064x", i)}
		c.Put(c.Moment(), keys[i], &keys[i], 8)
	}
	get := func(b *testing.B, i int) {
		if v := c.View(); v.Get(keys[i%len(keys)]) == nil || !v.Whole() {
			b.Fatal("it is not there")
		}
	}
	b.Run("alone", func(b *testing.B) {
		b.ReportAllocs()
		for i := range b.N {
			get(b, i)
		}
	})
	b.Run("16", func(b *testing.B) {
		b.ReportAllocs()
		b.SetParallelism(max(1, 16/runtime.GOMAXPROCS(0)))
		b.RunParallel(func(p *testing.PB) {
			for i := 0; p.Next(); i++ {
				get(b, i)
			}
		})
	})
	b.Run("same", func(b *testing.B) {
		b.SetParallelism(max(1, 16/runtime.GOMAXPROCS(0)))
		b.RunParallel(func(p *testing.PB) {
			for p.Next() {
				get(b, 7)
			}
		})
	})
}

// BenchmarkPut puts values into a full cache.
func BenchmarkPut(b *testing.B) {
	c := New(4 << 20)
	b.ReportAllocs()
	for i := range b.N {
		c.Put(c.Moment(), Key{Kind: 1, Repo: int64(i), Name: "latest"}, c, 100)
	}
}
