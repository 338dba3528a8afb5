// Package hot keeps in memory what is asked for again and again, bounded by
// bytes, in front of records that are kept elsewhere: it never has anything that
// is not there, and what it has is what they say.
//
// # For who reads
//
// Whoever looks something up asks a View first. What it misses is read from the
// records and put:
//
//	m := cache.Moment()       // before the records are asked
//	value := …                // read them, in one statement
//	cache.Put(m, key, value, size)
//
// Put keeps the value only if no change of its key was made since m, or is being
// made. So it can always be called, and a value that was read while it was
// changed is not kept. What is put is shared by all who get it: nobody may
// modify it. A key's strings and its value must not be parts of longer ones,
// which would be kept with them.
//
// An answer that takes several keys is true only if they were at one moment:
// that is what View.Whole says.
//
// # For who writes
//
// There is one writer at a time. It calls Begin with all keys whose values its
// transaction changes before it commits, and End once that has come to an end,
// whatever it was, and before anybody is told of it. So nobody sees a change and
// then, from here, what was before it. A value that is the new one can be put
// right behind End.
//
// # Values that go together
//
// A Key may have a Page. A change of the key without it drops the values of all
// its pages. That is for what is made of many records, such as a page of the tags
// of a repository.
package hot

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
)

// A Kind says what a value is of. Whoever has a Cache gives numbers to its own.
type Kind int64

// A Key names a value.
type Key struct {
	Kind Kind
	Repo int64  // the number of a repository; 0 if the value is of none
	Name string // what of the kind, in the repository
	Page string // see the package
}

// whole returns k without its page.
func (k Key) whole() Key {
	k.Page = ""
	return k
}

// overhead is what an entry takes besides the strings of its key and its value.
// A test compares it with what the runtime says.
const (
	overhead     = 272
	pageOverhead = 128 // of one with a page, besides
)

// shards is how many parts can be read and written independently. stripes is in
// how many groups of keys changes are remembered: when two share a group a value
// is not kept which could have been.
const (
	shards  = 32
	stripes = 4096
)

// An entry is a value that is kept.
type entry struct {
	key   Key
	value any
	size  int64       // bytes, all included
	place int         // in Cache.clock
	page  int         // place in Cache.pages[key.whole()], if it has a page
	used  atomic.Bool // since the hand has passed it
}

// A shard is a part of the values, alone in its lines of the processor's cache.
type shard struct {
	mu      sync.RWMutex
	entries map[Key]*entry
	_       [64]byte
}

// A counter is counted by many at a time.
type counter [8]struct {
	n atomic.Int64
	_ [56]byte
}

func (c *counter) add() { c[rand.Uint32()%uint32(len(c))].n.Add(1) }

func (c *counter) sum() (n int64) {
	for i := range c {
		n += c[i].n.Load()
	}
	return n
}

// A Cache keeps values. Obtain one from New. A nil Cache keeps nothing. All
// methods but Begin, BeginAll and End may be called concurrently.
type Cache struct {
	limit  int64
	shards [shards]shard
	hits   counter
	misses counter

	epoch  atomic.Uint64 // how many changes have begun
	moment atomic.Uint64 // how many changes have ended

	mu      sync.Mutex // for what follows, and for whoever changes a shard
	bytes   int64
	taken   int64 // of the limit, by others
	evicted int64
	clock   []*entry         // all, in no order: the hand goes round
	hand    int              // the next one to look at
	pages   map[Key][]*entry // those with a page, by key without it
	changed [stripes]uint64  // the moment of the last change; changing while one is being made
	open    []Key            // what is being changed
	floor   uint64           // the moment of the last change of everything, as in changed
}

// changing is later than any moment.
const changing = ^uint64(0)

// New returns a Cache that takes at most limit bytes, or nil if that is none.
func New(limit int64) *Cache {
	if limit <= 0 {
		return nil
	}
	c := &Cache{limit: limit, pages: make(map[Key][]*entry)}
	for i := range c.shards {
		c.shards[i].entries = make(map[Key]*entry)
	}
	return c
}

// hash is the same for all pages of a key. The end of a name tells most from each
// other: no more is at stake than who waits for whom.
func hash(k Key) uint64 {
	h := uint64(k.Repo)<<8 + uint64(k.Kind) + uint64(len(k.Name))<<48
	for i := max(0, len(k.Name)-8); i < len(k.Name); i++ {
		h = h*31 + uint64(k.Name[i])
	}
	h *= 0x9e3779b97f4a7c15
	return h ^ h>>32
}

// shard returns the shard of a key with that hash. It uses other bits of it than
// the stripes do.
func (c *Cache) shard(hash uint64) *shard { return &c.shards[hash>>16%shards] }

// A View is what several values are looked up with that belong together.
type View struct {
	c     *Cache
	epoch uint64
}

// View begins to look up.
func (c *Cache) View() View {
	if c == nil {
		return View{}
	}
	return View{c, c.epoch.Load()}
}

// Get returns the value of k, else nil.
func (v View) Get(k Key) any {
	if v.c == nil {
		return nil
	}
	s := v.c.shard(hash(k))
	s.mu.RLock()
	e := s.entries[k]
	s.mu.RUnlock()
	if e == nil {
		return nil
	}
	if !e.used.Load() {
		e.used.Store(true)
	}
	return e.value
}

// Whole reports whether everything that Get returned was so at one moment, and
// counts a hit. Else it must not be used.
//
// What was got is as of before a change, or as of after it. A change drops what
// it makes wrong before it counts up, and is made after that.
func (v View) Whole() bool {
	if !v.Still() {
		return false
	}
	v.c.hits.add()
	return true
}

// Still is Whole without counting.
func (v View) Still() bool { return v.c != nil && v.c.epoch.Load() == v.epoch }

// A Moment is when the records are about to be read.
type Moment uint64

// Moment counts a miss, and is called before the records are read.
func (c *Cache) Moment() Moment {
	if c == nil {
		return 0
	}
	c.misses.add()
	return Moment(c.moment.Load())
}

// Put keeps value, which takes size bytes without the key, unless k has changed
// since m or is being changed.
func (c *Cache) Put(m Moment, k Key, value any, size int64) {
	size += overhead + int64(len(k.Name)+len(k.Page))
	if k.Page != "" {
		size += pageOverhead
	}
	if c == nil || size > c.limit/8 {
		return
	}
	at := hash(k)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.unchanged(m, at) {
		return
	}
	if old := c.shard(at).entries[k]; old != nil {
		c.unlist(old) // and found until the new one is
	}
	c.makeRoom(size)
	e := &entry{key: k, value: value, size: size, place: len(c.clock)}
	c.clock = append(c.clock, e)
	c.bytes += size
	if k.Page != "" {
		all := c.pages[k.whole()]
		e.page = len(all)
		c.pages[k.whole()] = append(all, e)
	}
	s := c.shard(at)
	s.mu.Lock()
	s.entries[k] = e
	s.mu.Unlock()
}

// Unchanged reports whether k has not changed since m, and is not being changed. If
// it says no, that may still be so.
func (c *Cache) Unchanged(m Moment, k Key) bool {
	if c == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.unchanged(m, hash(k))
}

func (c *Cache) unchanged(m Moment, at uint64) bool {
	return c.changed[at%stripes] <= uint64(m) && c.floor <= uint64(m)
}

// All calls f with everything there is, until it returns false: for tests.
func (c *Cache) All(f func(k Key, value any) bool) {
	if c == nil {
		return
	}
	c.mu.Lock()
	list := slices.Clone(c.clock)
	c.mu.Unlock()
	for _, e := range list {
		if !f(e.key, e.value) {
			return
		}
	}
}
