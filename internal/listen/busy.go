package listen

// rest puts c, which is in no ring, among the idle ones, and reports whether somebody
// waits for its place. The lock is held.
func (l *limiter) rest(c *conn) bool {
	l.idle.push(c)
	return l.waiting > 0
}

// work puts c, which is in no ring, among the busy ones. The lock is held.
func (l *limiter) work(c *conn) {
	l.busy.push(c)
	c.place.round = l.round
	if !l.looks {
		l.looks = true
		l.look.Reset(roundTime)
	}
}

// begin notes that c answers a request that net/http knows nothing of.
func (l *limiter) begin(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	remove(c)
	l.work(c)
	c.place.answers = true
}

// end notes that it has answered, and reports whether the connection is to end.
func (l *limiter) end(c *conn) bool {
	l.mu.Lock()
	remove(c)
	makeRoom := l.rest(c)
	l.mu.Unlock()
	if makeRoom {
		l.closeIdle()
	}
	return c.ending.Load()
}

// endsLater reports whether c is answering, and if so has it end behind that.
func (l *limiter) endsLater(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.place.answers {
		c.ending.Store(true)
	}
	return c.place.answers
}

// cut closes the connections that answer by themselves.
func (l *limiter) cut() {
	l.mu.Lock()
	var list []*conn
	for _, r := range []*ring{&l.busy, &l.slow} {
		for c := r.first; c != nil; c = c.place.next {
			if c.place.answers {
				list = append(list, c)
			}
		}
	}
	l.mu.Unlock()
	for _, c := range list {
		_ = c.abandon() // its answer is cut either way
	}
}

// findSlow has the connections watched whose requests have taken a whole round, and
// looks again if there are others.
func (l *limiter) findSlow() {
	l.mu.Lock()
	l.round++
	var list []*conn
	for c := l.busy.first; c != nil && l.round-c.place.round > 1; c = l.busy.first {
		answers := c.place.answers
		remove(c)
		l.slow.push(c)
		c.place.answers = answers
		list = append(list, c)
	}
	if l.looks = l.busy.first != nil; l.looks {
		l.look.Reset(roundTime)
	}
	l.mu.Unlock()
	for _, c := range list {
		c.reads.hurry()
		c.watch.start(c)
	}
}
