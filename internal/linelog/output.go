package linelog

import (
	"io"
	"sync"
	"time"
)

const (
	// Hold is how long a line may wait for others: too short for anybody who
	// looks on, long enough that thousands of requests a second are a hundred writes.
	Hold = 10 * time.Millisecond

	// maxWaiting is how many bytes may wait, besides one line of each caller.
	maxWaiting = 64 << 10
)

// A timer is a *time.Timer.
type timer interface{ Reset(time.Duration) bool }

// An output writes lines in their order, several at a time if they may wait.
//
// A line that may wait is written at once if none was written for Hold, which is
// what the timer says: it is running since the last write.
type output struct {
	w     io.Writer
	after func(time.Duration, func()) timer

	writing sync.Mutex // held while w writes
	spare   []byte     // what becomes of waiting after the next write

	mu      sync.Mutex
	waiting []byte
	timer   timer
	running bool
}

// now writes a line, and what waits before it.
func (o *output) now(line []byte) error {
	o.mu.Lock()
	o.waiting = append(o.waiting, line...)
	o.mu.Unlock()
	return o.flush()
}

// later writes a line, or keeps it for later.
func (o *output) later(line []byte) error {
	o.mu.Lock()
	o.waiting = append(o.waiting, line...)
	now := !o.running || len(o.waiting) >= maxWaiting
	if !o.running {
		o.running = true
		o.start()
	}
	o.mu.Unlock()
	if now {
		return o.flush()
	}
	return nil
}

// start starts the timer; mu is held.
func (o *output) start() {
	if o.timer == nil {
		o.timer = o.after(Hold, o.tick)
		return
	}
	o.timer.Reset(Hold)
}

// tick writes what has been waiting. Where nothing was, there is a pause now.
func (o *output) tick() {
	o.mu.Lock()
	o.running = len(o.waiting) > 0
	again := o.running
	o.mu.Unlock()
	if !again {
		return
	}
	_ = o.flush() // nobody is left to be told
	o.mu.Lock()
	o.start()
	o.mu.Unlock()
}

// flush writes what waits when it is called, or finds that another has.
func (o *output) flush() error {
	o.writing.Lock()
	defer o.writing.Unlock()
	o.mu.Lock()
	lines := o.waiting
	o.waiting = o.spare[:0]
	o.mu.Unlock()
	o.spare = lines
	if cap(lines) > 4*maxWaiting {
		o.spare = nil // many wrote at once
	}
	if len(lines) == 0 {
		return nil
	}
	_, err := o.w.Write(lines)
	return err
}

// A writeNow is an output for slog's handlers.
type writeNow struct{ out *output }

// Write writes one line, and what waits before it.
func (w writeNow) Write(p []byte) (int, error) { return len(p), w.out.now(p) }
