package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
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
	last  reached   // that was written as a line of its own, or with which something began
	lined time.Time // when that was
	now   func() time.Time
}

// redrawEvery is how often the line on a terminal changes.
const redrawEvery = 200 * time.Millisecond

func newProgress(w io.Writer) *progress {
	f, ok := w.(*os.File)
	return &progress{w: w, now: time.Now, terminal: ok && term.IsTerminal(int(f.Fd()))}
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

// reached is how far an action of the registry has come.
type reached struct {
	What  string
	Done  int64
	Total int64 // 0 when it is not known
	Bytes bool  // whether these are bytes
}

func (r reached) amount(n int64) string {
	if r.Bytes {
		return humanSize(n)
	}
	return strconv.FormatInt(n, 10)
}

// percent is how much is done, in whole percents.
func (r reached) percent() int64 {
	if r.Total <= 0 {
		return 0
	}
	return int64(100 * float64(min(r.Done, r.Total)) / float64(r.Total))
}

// barWidth is the number of characters of a bar.
const barWidth = 30

func (r reached) String() string {
	if r.Total <= 0 {
		return fmt.Sprintf("%s: %s", r.What, r.amount(r.Done))
	}
	return fmt.Sprintf("%s: %s of %s (%d%%)", r.What, r.amount(r.Done), r.amount(r.Total), r.percent())
}

func (r reached) bar() string {
	full := int(barWidth * r.percent() / 100)
	return "[" + strings.Repeat("=", full) + strings.Repeat(" ", barWidth-full) + "] " + r.String()
}

// In a log there is a line about what takes this long, and the next no sooner than
// after as long again.
const (
	lineAfter   = 2 * time.Second
	unknownLine = 10 * time.Second // where nobody knows how much there is to do
)

// reach shows how far an action has come: as a bar on a terminal; elsewhere as a
// line at every tenth of what takes long.
func (p *progress) reach(r reached) {
	if p.terminal {
		text := r.String()
		if r.Total > 0 {
			text = r.bar()
		}
		p.step(text)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if p.last.What != r.What {
		p.last, p.lined = r, now
		return
	}
	waited := now.Sub(p.lined)
	further := r.percent()/10 > p.last.percent()/10 || r.Total <= 0 && waited >= unknownLine
	if waited < lineAfter || !further {
		return
	}
	p.last, p.lined = r, now
	fmt.Fprintln(p.w, r)
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
