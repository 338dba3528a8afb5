package hot

import (
	"fmt"
	"sync"
	"testing"
)

func key(name string) Key { return Key{Kind: 1, Repo: 7, Name: name} }

// has reports what a view has of k.
func has(c *Cache, k Key) any { return c.View().Get(k) }

// TestPut holds that what is put is there until it changes, and that it is nobody
// else's.
func TestPut(t *testing.T) {
	c := New(1 << 20)
	for i, k := range []Key{key("a"), {Kind: 2, Repo: 7, Name: "a"}, {Kind: 1, Repo: 8, Name: "a"}, key("b"), {Kind: 1, Repo: 7, Name: "a", Page: "p"}} {
		if has(c, k) != nil {
			t.Errorf("%v is there already", k)
		}
		c.Put(c.Moment(), k, i, 1)
		if has(c, k) != i {
			t.Errorf("%v is %v, want %d", k, has(c, k), i)
		}
	}
	c.Put(c.Moment(), key("b"), "again", 1)
	if has(c, key("b")) != "again" {
		t.Errorf("what is put again is %v", has(c, key("b")))
	}
	c.Begin([]Key{key("a")})
	c.End()
	for k, want := range map[Key]any{key("a"): nil, {Kind: 1, Repo: 7, Name: "a", Page: "p"}: nil, {Kind: 1, Repo: 8, Name: "a"}: 2, key("b"): "again"} {
		if has(c, k) != want {
			t.Errorf("after a change of a, %v is %v, want %v", k, has(c, k), want)
		}
	}
}

// TestPutAgain holds that what is put again is there all the time.
func TestPutAgain(t *testing.T) {
	c := New(1 << 20)
	k := key("a")
	c.Put(c.Moment(), k, 0, 1)
	var putting sync.WaitGroup
	over := make(chan struct{})
	putting.Go(func() {
		for i := range 20_000 {
			c.Put(c.Moment(), k, i, 1)
		}
		close(over)
	})
	defer putting.Wait()
	for {
		if has(c, k) == nil {
			t.Fatal("it was gone while it was put again")
		}
		select {
		case <-over:
			return
		default:
		}
	}
}

// TestChanges holds that what was read before a change ended is not put after it
// began, whenever that is.
func TestChanges(t *testing.T) {
	a, b := key("a"), key("b")
	for _, all := range []bool{false, true} {
		c := New(1 << 20)
		begin := func() {
			if all {
				c.BeginAll()
				return
			}
			c.Begin([]Key{a})
		}
		before := c.Moment()
		c.Put(before, a, 1, 1)
		v := c.View()
		if v.Get(a) != 1 || !v.Whole() {
			t.Fatal("it is not there")
		}
		begin()
		if v.Whole() {
			t.Error("a view of before a change is whole")
		}
		during := c.Moment()
		for _, m := range []Moment{before, during} {
			if c.Put(m, a, 1, 1); has(c, a) != nil {
				t.Error("it was put while it was changed")
			}
			if c.Put(m, b, 1, 1); (has(c, b) == nil) != all {
				t.Error("of others it is kept exactly if not everything changes")
			}
		}
		if got := c.End(); got <= during {
			t.Errorf("the change ended at %d, which is not after %d", got, during)
		}
		for _, m := range []Moment{before, during} {
			if c.Put(m, a, 1, 1); has(c, a) != nil {
				t.Error("it was put although it was read before the change ended")
			}
		}
		if c.Put(c.Moment(), a, 2, 1); has(c, a) != 2 {
			t.Error("it was not put after the change")
		}
	}
}

// TestBound holds that the bytes are bounded whatever is put, that what is used
// stays, and that what is dropped is not counted.
func TestBound(t *testing.T) {
	const limit = 64 << 10
	c := New(limit)
	c.Put(c.Moment(), key("used"), "u", 10)
	for i := range 10_000 {
		if has(c, key("used")) == nil {
			t.Fatalf("what is used all the time went with entry %d", i)
		}
		k := key(fmt.Sprint(i))
		if i%3 == 0 {
			k.Page, k.Name = k.Name, "pages"
		}
		c.Put(c.Moment(), k, i, int64(i%1000))
		if n := c.Stats().Bytes; n > limit {
			t.Fatalf("it takes %d bytes, more than %d", n, limit)
		}
		if i%7 == 0 {
			c.Begin([]Key{k.whole()})
			c.End()
		}
	}
	if c.Put(c.Moment(), key("large"), "l", limit/2); has(c, key("large")) != nil {
		t.Error("one value took half of it")
	}
	if s := c.Stats(); s.Evictions == 0 || s.Entries < 20 {
		t.Errorf("%+v", s)
	}
	c.BeginAll()
	c.End()
	if s := c.Stats(); s.Bytes != 0 || s.Entries != 0 || len(c.pages) != 0 {
		t.Errorf("when everything is dropped: %+v and %d pages", s, len(c.pages))
	}
}

// TestNone holds that a cache of no bytes can be used, and has nothing.
func TestNone(t *testing.T) {
	c := New(0)
	c.Put(c.Moment(), key("a"), 1, 1)
	c.Begin([]Key{key("a")})
	c.BeginAll()
	c.End()
	if v := c.View(); v.Get(key("a")) != nil || v.Whole() || c.Stats() != (Stats{}) {
		t.Error("it has something")
	}
}
