package linelog

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// A whole is a Handler that gets the attributes of a line in one piece.
type whole struct{ *Handler }

func (w whole) Handle(ctx context.Context, r slog.Record) error {
	var attrs []slog.Attr
	r.Attrs(func(a slog.Attr) bool { attrs = append(attrs, a); return true })
	return w.Log(ctx, r.Time, r.Level, r.Message, attrs)
}

func (w whole) WithAttrs(attrs []slog.Attr) slog.Handler {
	return whole{w.Handler.WithAttrs(attrs).(*Handler)}
}
func (w whole) WithGroup(name string) slog.Handler {
	return whole{w.Handler.WithGroup(name).(*Handler)}
}

// both logs the same through slog's handler and ours, and returns what they write.
func both(f Format, log func(slog.Handler)) (ours, slogs string) {
	var a, b, inOne bytes.Buffer
	log(whole{New(&inOne, Options{Format: f, Level: slog.LevelDebug})})
	options := &slog.HandlerOptions{Level: slog.LevelDebug}
	var std slog.Handler = slog.NewTextHandler(&b, options)
	if f == JSON {
		std = slog.NewJSONHandler(&b, options)
	}
	h := New(&a, Options{Format: f, Level: slog.LevelDebug})
	log(h)
	log(std)
	if a.String() != inOne.String() {
		return inOne.String(), b.String()
	}
	return a.String(), b.String()
}

func same(t *testing.T, log func(slog.Handler)) {
	t.Helper()
	for name, f := range map[string]Format{"text": Text, "JSON": JSON} {
		if ours, slogs := both(f, log); ours != slogs {
			t.Errorf("%s: got\n%swant\n%s", name, ours, slogs)
		}
	}
}

// handle logs one record with a time of its own.
func handle(h slog.Handler, at time.Time, l slog.Level, message string, attrs ...slog.Attr) {
	r := slog.NewRecord(at, l, message, 0)
	r.AddAttrs(attrs...)
	_ = h.Handle(context.Background(), r)
}

type valuer struct{}

func (valuer) LogValue() slog.Value { return slog.StringValue("resolved") }

// TestSameAsSlog holds that nobody who reads the log can tell the handlers apart.
func TestSameAsSlog(t *testing.T) {
	at := time.Date(2026, 11, 28, 9, 21, 18, 123456789, time.FixedZone("", 3600))
	texts := []string{"", "plain", "two words", `quo"ted`, `back\slash`, "a=b", "tab\t", "line\n", "\x7f", "\x00", "ümläut", "\u2028", "\u0085", "\xff",
		"docker/27.3.1 go/go1.22.7 (linux)", "<script>&amp;</script>", "日本語", "\u00a0", "'", "`", "…", "%41"}
	for _, s := range texts {
		same(t, func(h slog.Handler) {
			handle(h, at, slog.LevelInfo, s, slog.String("key", s), slog.String("after", "x"))
		})
		same(t, func(h slog.Handler) { handle(h, at, slog.LevelInfo, "m", slog.String(s, "value")) })
		same(t, func(h slog.Handler) {
			handle(h.WithAttrs([]slog.Attr{slog.String("field", s), slog.Int("n", 1)}), at, slog.LevelInfo, "m", slog.String("a", "b"))
		})
	}
	for _, f := range []float64{0, 1, -1, 0.001, 1.5, 123456.789, 1234567.8, 1e20, 1e21, 1e-6, 1e-7, math.MaxFloat64, math.Inf(1), math.NaN(), math.Copysign(0, -1)} {
		same(t, func(h slog.Handler) { handle(h, at, slog.LevelInfo, "m", slog.Float64("f", f)) })
	}
	for _, l := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError, slog.LevelInfo + 1, slog.LevelError + 7} {
		same(t, func(h slog.Handler) { handle(h, at, l, "m") })
	}
	for _, at := range []time.Time{{}, at.UTC(), at.Truncate(time.Second), at.Truncate(time.Millisecond), time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC)} {
		same(t, func(h slog.Handler) { handle(h, at, slog.LevelInfo, "m") })
	}
	same(t, func(h slog.Handler) {
		handle(h, at, slog.LevelInfo, "m", slog.Int64("i", math.MinInt64), slog.Uint64("u", math.MaxUint64), slog.Bool("t", true), slog.Bool("f", false),
			slog.Duration("d", time.Second), slog.Time("at", at), slog.Any("err", errors.New("no")), slog.Any("nil", nil), slog.Any("v", valuer{}),
			slog.Group("g", slog.Int("x", 1)), slog.Group("empty"), slog.Attr{}, slog.Any("bytes", []byte("x")))
	})
	same(t, func(h slog.Handler) {
		handle(h.WithGroup("g").WithAttrs([]slog.Attr{slog.Int("x", 1)}), at, slog.LevelInfo, "m", slog.Int("y", 2))
		handle(h.WithGroup(""), at, slog.LevelInfo, "m", slog.Int("y", 2))
		handle(h.WithAttrs(nil), at, slog.LevelInfo, "m")
		handle(h.WithAttrs([]slog.Attr{slog.Any("err", io.EOF)}).WithAttrs([]slog.Attr{slog.Int("n", 1)}), at, slog.LevelInfo, "m")
	})
}

func FuzzSameAsSlog(f *testing.F) {
	f.Add("m", "k", "v", 1.5, int64(1), int64(0))
	f.Add("two words", "", "a\"b", 1e21, int64(-1), int64(1764321678))
	f.Add("=", "k=", "\u2028", 0.0000001, int64(0), int64(-62135596800))
	f.Fuzz(func(t *testing.T, message, key, value string, x float64, n, second int64) {
		at := time.Unix(second%(1<<34), n).UTC()
		same(t, func(h slog.Handler) {
			handle(h.WithAttrs([]slog.Attr{slog.String(value, key)}), at, slog.LevelInfo, message,
				slog.String(key, value), slog.Float64("x", x), slog.Int64("n", n))
		})
	})
}

// A manualTimer is the timer of an output, fired by hand.
type manualTimer struct{ fire func() }

func (t *manualTimer) Reset(time.Duration) bool { return true }

// A writes is a log that remembers each write.
type writes struct {
	mu   sync.Mutex
	list []string
}

func (w *writes) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.list = append(w.list, string(p))
	return len(p), nil
}

func (w *writes) take() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := strings.Join(w.list, "|")
	w.list = nil
	return s
}

// newManual returns an output whose timer is fired by hand.
func newManual(w io.Writer) (*output, *manualTimer) {
	t := &manualTimer{}
	return &output{w: w, after: func(_ time.Duration, f func()) timer { t.fire = f; return t }}, t
}

func TestOutput(t *testing.T) {
	w := &writes{}
	o, timer := newManual(w)
	step := func(what, want string) {
		t.Helper()
		if got := w.take(); got != want {
			t.Errorf("%s: wrote %q, want %q", what, got, want)
		}
	}
	o.later([]byte("1\n"))
	step("the first line", "1\n")
	o.later([]byte("2\n"))
	o.later([]byte("3\n"))
	step("lines right behind it", "")
	timer.fire()
	step("when they have waited", "2\n3\n")
	o.later([]byte("4\n"))
	o.now([]byte("5\n"))
	step("a line that may not wait", "4\n5\n")
	o.later([]byte("6\n"))
	o.flush()
	step("flush", "6\n")
	timer.fire()
	step("nothing waits", "")
	o.later([]byte("7\n"))
	step("the first line after a pause", "7\n")
	timer.fire()
	o.now([]byte("8\n"))
	o.later([]byte("9\n"))
	step("one that may not wait is no reason for the next to wait", "8\n|9\n")
	long := strings.Repeat("x", maxWaiting)
	o.later([]byte(long))
	step("more than may wait", long)
}

// TestSlowReader has many log while nobody reads: they wait, memory is bounded,
// and in the end every line is there, whole and once.
func TestSlowReader(t *testing.T) {
	const callers, lines = 8, 4000
	r, w := io.Pipe()
	h := New(w, Options{})
	later := slog.New(h.Later())
	var group sync.WaitGroup
	for c := range callers {
		group.Go(func() {
			for n := range lines {
				if n%1000 == 999 {
					slog.New(h).Info("m", "c", c, "n", n)
				} else {
					later.Info("m", "c", c, "n", n, "some", "more")
				}
			}
		})
	}
	go func() {
		group.Wait()
		h.Flush()
		w.Close()
	}()
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	next := make(map[string]int)
	got := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	for _, line := range got {
		_, fields, ok := strings.Cut(line, " level=INFO msg=m c=")
		c, rest, _ := strings.Cut(fields, " n=")
		n, _, _ := strings.Cut(rest, " ")
		if i, err := strconv.Atoi(n); !ok || err != nil || i != next[c] {
			t.Fatalf("caller %s: got %q, want its line %d", c, line, next[c])
		}
		next[c]++
	}
	if len(got) != callers*lines {
		t.Errorf("got %d lines, want %d", len(got), callers*lines)
	}
	if n := cap(h.out.spare) + cap(h.out.waiting); n > 10*maxWaiting {
		t.Errorf("%d bytes are kept", n)
	}
}

// TestHandlerAllocs holds that a line of the access log costs nothing but copying.
func TestHandlerAllocs(t *testing.T) {
	if raced {
		t.Skip("the race detector has pools forget things")
	}
	later := New(io.Discard, Options{}).Later().WithAttrs([]slog.Attr{slog.String("env", "test")})
	r := slog.NewRecord(time.Now(), slog.LevelInfo, "request", 0)
	r.AddAttrs(slog.String("method", "GET"), slog.Int("status", 200), slog.Float64("ms", 0.123), slog.String("agent", "docker/27 go/1.22"),
		slog.String("client", "127.0.0.1"), slog.String("user", "ann"), slog.Int64("in", 0), slog.Int64("out", 1234))
	if n := testing.AllocsPerRun(1000, func() { _ = later.Handle(context.Background(), r) }); n > 0 {
		t.Errorf("%v allocations for a line, want none", n)
	}
}

func BenchmarkHandle(b *testing.B) {
	r := slog.NewRecord(time.Now(), slog.LevelInfo, "request", 0)
	r.AddAttrs(slog.String("method", "GET"), slog.String("path", "/v2/bench/app/manifests/v1"), slog.Int("status", 200), slog.Int64("in", 0), slog.Int64("out", 1234),
		slog.Float64("ms", 0.123), slog.String("client", "127.0.0.1"), slog.String("route", "manifest-get"),
		slog.String("agent", "docker/27.3.1 go/go1.22.7 os/linux arch/amd64"), slog.String("id", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
	for name, h := range map[string]slog.Handler{
		"text": New(io.Discard, Options{}).Later(), "json": New(io.Discard, Options{Format: JSON}).Later(),
		"slog text": slog.NewTextHandler(io.Discard, nil), "slog json": slog.NewJSONHandler(io.Discard, nil),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = h.Handle(b.Context(), r)
			}
		})
	}
}
