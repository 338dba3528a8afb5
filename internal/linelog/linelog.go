// Package linelog is a log/slog handler for a log that gets a line per request.
//
// Its lines are, byte for byte, those of slog's own handlers, made at a fraction
// of their cost, and lines that may wait are written many at a time. It knows
// nothing of what is logged.
package linelog

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"
)

// A Format is the form of lines.
type Format uint8

// The formats, which are those of slog.TextHandler and slog.JSONHandler.
const (
	Text Format = iota
	JSON
)

// Options are what New needs.
type Options struct {
	Format Format
	Level  slog.Leveler // the least important level that is logged; nil means info
}

// A Handler is a slog.Handler. Lines come out in the order in which they were
// logged. Each is written before Handle returns; see Later for those that may
// wait.
type Handler struct {
	out    *output
	level  slog.Leveler
	format Format
	later  bool

	// fields are the attributes of WithAttrs as they stand in a line. Where they
	// are not simple, or belong to a group, all is left to slog.
	fields []byte
	simple bool
	slog   slog.Handler

	lines *sync.Pool // of *line
}

var _ slog.Handler = (*Handler)(nil)

// New returns a handler that writes to w, one call at a time.
func New(w io.Writer, o Options) *Handler {
	if o.Level == nil {
		o.Level = slog.LevelInfo
	}
	h := &Handler{
		out: &output{w: w, after: afterFunc}, level: o.Level, format: o.Format, simple: true,
	}
	h.lines = &sync.Pool{New: func() any { return newLine(h.format) }}
	if options := (&slog.HandlerOptions{Level: o.Level}); o.Format == JSON {
		h.slog = slog.NewJSONHandler(writeNow{h.out}, options)
	} else {
		h.slog = slog.NewTextHandler(writeNow{h.out}, options)
	}
	return h
}

// Later returns h for lines that may wait: when there are many they are kept for
// Hold, at most, and then written together; the first one after a pause is
// written at once. Any line that may not wait takes those before it along. When
// maxWaiting bytes wait because whoever reads the log is slow, so does Handle: no
// line is lost, and memory is bounded.
func (h *Handler) Later() slog.Handler {
	later := *h
	later.later = true
	return &later
}

// Flush writes what waits. A program calls it before it ends.
func (h *Handler) Flush() error { return h.out.flush() }

// Enabled implements slog.Handler.
func (h *Handler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level.Level() }

// Handle implements slog.Handler.
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	if !h.simple {
		return h.slog.Handle(ctx, r)
	}
	return h.line(r.Time, r.Level, r.Message, func(l *line) { r.Attrs(l.each) }, func() error { return h.slog.Handle(ctx, r) })
}

// Log logs a line as Handle does, of attributes that are in one piece. It does not
// keep them.
func (h *Handler) Log(ctx context.Context, at time.Time, level slog.Level, message string, attrs []slog.Attr) error {
	slow := func() error {
		r := slog.NewRecord(at, level, message, 0)
		r.AddAttrs(attrs...)
		return h.slog.Handle(ctx, r)
	}
	if !h.simple {
		return slow()
	}
	return h.line(at, level, message, func(l *line) {
		for _, a := range attrs {
			if !l.attr(a) {
				return
			}
		}
	}, slow)
}

// line writes a line with the attributes that write writes, or has slow write it
// where it is not simple.
func (h *Handler) line(at time.Time, level slog.Level, message string, write func(*line), slow func() error) error {
	l := h.lines.Get().(*line)
	defer func() {
		if cap(l.buf) <= maxKept {
			h.lines.Put(l)
		}
	}()
	l.begin(at, level, message)
	l.buf = append(l.buf, h.fields...)
	write(l)
	if !l.simple {
		return slow()
	}
	l.end()
	if h.later && level < slog.LevelWarn {
		return h.out.later(l.buf)
	}
	return h.out.now(l.buf)
}

// maxKept is how large a line may be for its memory to be used again, in bytes.
const maxKept = 16 << 10

// WithAttrs implements slog.Handler.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *h
	with.slog = h.slog.WithAttrs(attrs)
	l := newLine(h.format)
	for _, a := range attrs {
		l.attr(a)
	}
	with.fields = append(with.fields[:len(with.fields):len(with.fields)], l.buf...)
	with.simple = h.simple && l.simple
	return &with
}

// WithGroup implements slog.Handler.
func (h *Handler) WithGroup(name string) slog.Handler {
	with := *h
	with.slog, with.simple = h.slog.WithGroup(name), false
	return &with
}

// afterFunc is time.AfterFunc for an output.
func afterFunc(d time.Duration, f func()) timer { return time.AfterFunc(d, f) }
