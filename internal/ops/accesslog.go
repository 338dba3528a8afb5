package ops

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// An accessLog gets a line for each request.
type accessLog struct {
	to     slog.Handler
	whole  wholeLogger // to, if it is one
	client func(*http.Request) string
	attrs  sync.Pool // of *[]slog.Attr
}

// A wholeLogger is a slog.Handler that takes a line's attributes in one piece, and
// keeps nothing of it: a slog.Record would be filled only to be read once.
type wholeLogger interface {
	Log(ctx context.Context, at time.Time, level slog.Level, message string, attrs []slog.Attr) error
}

// newAccessLog returns what o wants; nil if that is none.
func (o RecordOptions) newAccessLog() *accessLog {
	if o.Log == nil {
		return nil
	}
	h := o.Log.Handler()
	if patient, ok := h.(interface{ Later() slog.Handler }); ok {
		h = patient.Later()
	}
	l := &accessLog{to: h, client: o.client}
	l.whole, _ = h.(wholeLogger)
	l.attrs.New = func() any {
		a := make([]slog.Attr, 0, 16)
		return &a
	}
	return l
}

// A line is what is logged of a request when it is done.
type line struct {
	*exchange
	id     string
	status int
	now    time.Time
	took   time.Duration
	quiet  bool
}

// add writes the line of one request. Who logs can't be told that it fails.
func (l *accessLog) add(r *http.Request, e line) {
	level := slog.LevelInfo
	if e.quiet {
		level = slog.LevelDebug
	}
	ctx := r.Context()
	if !l.to.Enabled(ctx, level) {
		return
	}
	attrs := l.attrs.Get().(*[]slog.Attr)
	*attrs = e.append((*attrs)[:0], r, l.client(r))
	if l.whole != nil {
		_ = l.whole.Log(ctx, e.now, level, "request", *attrs)
	} else { // not by the logger, which would look up where in the source this is
		rec := slog.NewRecord(e.now, level, "request", 0)
		rec.AddAttrs(*attrs...)
		_ = l.to.Handle(ctx, rec)
	}
	clear(*attrs) // nothing of the request is kept
	l.attrs.Put(attrs)
}

// append adds what is logged of r.
func (e line) append(attrs []slog.Attr, r *http.Request, client string) []slog.Attr {
	attrs = append(attrs,
		slog.String("method", cut(r.Method, maxMethod)),
		slog.String("path", cut(r.URL.EscapedPath(), maxPath)))
	if q := safeQuery(r.URL.RawQuery); q != "" {
		attrs = append(attrs, slog.String("query", q))
	}
	attrs = append(attrs,
		slog.Int("status", e.status),
		slog.Int64("in", e.in.Load()),
		slog.Int64("out", e.out),
		slog.Float64("ms", float64(e.took.Microseconds())/1000),
		slog.String("client", client))
	if e.late.Load() {
		attrs = append(attrs, slog.Bool("too_slow", true)) // and cut for it
	}
	if e.user != "" {
		attrs = append(attrs, slog.String("user", plain(cut(e.user, maxUser))))
	}
	if e.logIn != "" {
		attrs = append(attrs, slog.String("login", e.logIn))
	}
	if e.route != "" {
		attrs = append(attrs, slog.String("route", e.route))
	}
	if agent := first(r.Header, "User-Agent"); agent != "" {
		attrs = append(attrs, slog.String("agent", plain(cut(agent, maxAgent))))
	}
	return append(attrs, slog.String("id", e.id))
}

// first returns the first value of a header, whose name is given in its canonical form.
func first(h http.Header, key string) string {
	if list := h[key]; len(list) > 0 {
		return list[0]
	}
	return ""
}
