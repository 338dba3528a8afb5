package sqlmeta

import (
	"context"
	"database/sql/driver"
	"errors"
	"sync"
)

// Sessions are the connections that read, as many as there are places. What
// database/sql does for connections that are shared costs more than most of what
// is asked here: one row that an index leads to.
type sessions struct {
	connector driver.Connector
	dialect   dialect
	places    chan struct{} // holds a token for each that is in use

	mu     sync.Mutex
	idle   []*session // the one that was used last is the last
	closed bool
}

func newSessions(c driver.Connector, d dialect, most int) *sessions {
	return &sessions{connector: c, dialect: d, places: make(chan struct{}, most)}
}

// take returns a session that nobody else uses until it is given back. It waits
// for one while all are in use.
func (p *sessions) take(ctx context.Context) (*session, error) {
	select {
	case p.places <- struct{}{}:
	default:
		select {
		case p.places <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	s, err := p.pop()
	if s == nil && err == nil {
		s, err = openSession(ctx, p.connector, p.dialect)
	}
	if err != nil {
		<-p.places
		return nil, err
	}
	return s, nil
}

// pop returns an idle session, or nil if there is none.
func (p *sessions) pop() (*session, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errClosed
	}
	last := len(p.idle) - 1
	if last < 0 {
		return nil, nil
	}
	s := p.idle[last]
	p.idle[last] = nil
	p.idle = p.idle[:last]
	return s, nil
}

// give takes a session back, or closes it if it is no good.
func (p *sessions) give(s *session, good bool) error {
	defer func() { <-p.places }()
	if !good {
		return s.close()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, s)
	return nil
}

// use runs do with a session. If that panics, or if its error says so, the session
// is not used again.
func (p *sessions) use(ctx context.Context, do func(*session) error) (err error) {
	s, err := p.take(ctx)
	if err != nil {
		return err
	}
	good := false
	defer func() { p.give(s, good) }()
	err = do(s)
	v, _ := p.dialect.triage(err)
	good = err == nil || v != fatal
	return err
}

// relax frees the pages that idle sessions hold in memory.
func (p *sessions) relax(ctx context.Context) (err error) {
	var taken []*session
	for range cap(p.places) {
		s, e := p.popIdle()
		if s == nil {
			err = errors.Join(err, e)
			break
		}
		taken = append(taken, s)
	}
	for _, s := range taken {
		e := s.once(ctx, shrinkMemory)
		err = errors.Join(err, e, p.give(s, e == nil))
	}
	return err
}

// popIdle is take without waiting and without opening one: it returns nil if none
// is idle.
func (p *sessions) popIdle() (*session, error) {
	select {
	case p.places <- struct{}{}:
	default:
		return nil, nil
	}
	s, err := p.pop()
	if s == nil {
		<-p.places
	}
	return s, err
}

// close waits for those that are in use, closes all, and refuses what comes after.
func (p *sessions) close() (err error) {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	for range cap(p.places) {
		p.places <- struct{}{}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.idle {
		err = errors.Join(err, s.close())
	}
	p.idle = nil
	for range cap(p.places) {
		<-p.places
	}
	return err
}
