package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/term"

	"berth/internal/oci"
)

// A progress shows how far something has come: on a terminal by a line that
// changes, elsewhere by a line for each part. It may be used concurrently.
type progress struct {
	w        io.Writer
	terminal bool

	mu    sync.Mutex
	total int64 // bytes
	done  int64
	drawn time.Time // of the line on the terminal
}

// redrawEvery is how often the line on a terminal changes.
const redrawEvery = 200 * time.Millisecond

func newProgress(w io.Writer) *progress {
	f, ok := w.(*os.File)
	return &progress{w: w, terminal: ok && term.IsTerminal(int(f.Fd()))}
}

// add notes that n bytes more are done.
func (p *progress) add(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += n
	if now := time.Now(); p.terminal && now.Sub(p.drawn) >= redrawEvery {
		p.drawn = now
		percent := 100.0
		if p.total > 0 {
			percent = 100 * float64(min(p.done, p.total)) / float64(p.total)
		}
		fmt.Fprintf(p.w, "\r\x1b[K%s of %s (%.0f%%)", humanSize(p.done), humanSize(p.total), percent)
	}
}

// step shows text on a terminal, in the place of what was shown before.
func (p *progress) step(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); p.terminal && now.Sub(p.drawn) >= redrawEvery {
		p.drawn = now
		fmt.Fprintf(p.w, "\r\x1b[K%s", text)
	}
}

// expect notes that there are n bytes more to do.
func (p *progress) expect(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.total += n
}

// sent notes that a blob is there.
func (p *progress) sent(d oci.Descriptor) {
	if !p.terminal {
		fmt.Fprintf(p.w, "sent %s %s\n", d.Digest, humanSize(d.Size))
	}
}

// line writes a line that stays.
func (p *progress) line(s string) {
	p.clear()
	fmt.Fprintln(p.w, s)
}

// clear takes away the line that changes.
func (p *progress) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.terminal && !p.drawn.IsZero() {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.drawn = time.Time{}
	}
}

// A counter tells a progress what is read through it.
type counter struct {
	io.Reader
	progress *progress
	n        atomic.Int64
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n.Add(int64(n))
	c.progress.add(int64(n))
	return n, err
}
