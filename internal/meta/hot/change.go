package hot

// Begin drops the values of keys, which are about to be changed, and sees to it
// that none of them is put before End. It must not be called again before that.
func (c *Cache) Begin(keys []Key) {
	if c == nil || len(keys) == 0 {
		return
	}
	c.mu.Lock()
	c.open = keys
	for _, k := range keys {
		c.changed[hash(k)%stripes] = changing
		c.drop(k)
	}
	c.mu.Unlock()
	c.epoch.Add(1)
}

// BeginAll is Begin with every key there is.
func (c *Cache) BeginAll() {
	if c == nil {
		return
	}
	c.mu.Lock()
	c.floor = changing
	for len(c.clock) > 0 {
		c.remove(c.clock[len(c.clock)-1])
	}
	c.mu.Unlock()
	c.epoch.Add(1)
}

// Forget drops everything, and what is being read. It may be called at any time:
// for who finds that the records are not what they were, without a change.
func (c *Cache) Forget() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.clock) > 0 {
		c.remove(c.clock[len(c.clock)-1])
	}
	now := c.moment.Load() + 1
	if c.floor != changing {
		c.floor = now
	}
	c.moment.Store(now)
	c.epoch.Add(1)
}

// End says that what Begin began has been made, or never will be. Without a Begin
// it does nothing. It returns the moment that begins with it.
func (c *Cache) End() Moment {
	if c == nil {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.moment.Load()
	if len(c.open) == 0 && c.floor != changing {
		return Moment(now)
	}
	now++
	for _, k := range c.open {
		c.changed[hash(k)%stripes] = now
	}
	if c.floor == changing {
		c.floor = now
	}
	c.open = nil
	c.moment.Store(now) // now that Put knows of it
	return Moment(now)
}

// drop removes the value of a key, and those of its pages.
func (c *Cache) drop(k Key) {
	if e := c.shard(hash(k)).entries[k]; e != nil {
		c.remove(e)
	}
	for all := c.pages[k]; len(all) > 0; all = c.pages[k] {
		c.remove(all[len(all)-1])
	}
}

// remove removes an entry.
func (c *Cache) remove(e *entry) {
	s := c.shard(hash(e.key))
	s.mu.Lock()
	delete(s.entries, e.key)
	s.mu.Unlock()
	c.unlist(e)
}

// unlist takes e out of everything but its shard, where it is still found.
func (c *Cache) unlist(e *entry) {
	last := len(c.clock) - 1
	c.clock[e.place] = c.clock[last]
	c.clock[e.place].place = e.place
	c.clock[last] = nil
	c.clock = c.clock[:last]
	c.bytes -= e.size
	if e.key.Page == "" {
		return
	}
	k := e.key.whole()
	all := c.pages[k]
	last = len(all) - 1
	all[e.page] = all[last]
	all[e.page].page = e.page
	all[last] = nil
	if c.pages[k] = all[:last]; last == 0 {
		delete(c.pages, k)
	}
}

// makeRoom removes what nobody has used since the hand has passed it, until there
// are size bytes.
func (c *Cache) makeRoom(size int64) {
	for c.bytes+size > c.limit-c.taken && len(c.clock) > 0 {
		if c.hand >= len(c.clock) {
			c.hand = 0
		}
		e := c.clock[c.hand]
		if !e.used.Swap(false) {
			c.evicted++
			c.remove(e) // what takes its place is looked at when the hand comes again
		}
		c.hand++
	}
}

// reserve says that n bytes of the limit are somebody else's.
func (c *Cache) reserve(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.taken = n
	c.makeRoom(0)
}

// Stats are what a Cache has done and has.
type Stats struct {
	Hits, Misses, Evictions int64
	Entries                 int
	Bytes                   int64
}

// Stats returns them as they are now.
func (c *Cache) Stats() Stats {
	if c == nil {
		return Stats{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return Stats{Hits: c.hits.sum(), Misses: c.misses.sum(), Evictions: c.evicted, Entries: len(c.clock), Bytes: c.bytes + c.taken}
}
