package event_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"berth/internal/blob"
	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/meta/sqlmeta"
	"berth/internal/oci"
)

// A sink keeps what it gets, unless it refuses.
type sink struct {
	refuse func(batch []event.Event) error

	mu  sync.Mutex
	got []int64
}

func (s *sink) Deliver(_ context.Context, batch []event.Event) error {
	if s.refuse != nil {
		if err := s.refuse(batch); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range batch {
		s.got = append(s.got, e.Seq)
	}
	return nil
}

func (s *sink) seqs() []int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

// An env is a database with events in it and one reader.
type env struct {
	*testing.T
	*sqlmeta.DB
	path string
	n    int
}

func newEnv(t *testing.T) *env {
	e := &env{T: t, path: filepath.Join(t.TempDir(), "berth.db")}
	e.open()
	t.Cleanup(func() { e.DB.Close() })
	return e
}

func (e *env) open() {
	e.Helper()
	var err error
	if e.DB, err = sqlmeta.Open(e.Context(), sqlmeta.Options{Path: e.path}); err != nil {
		e.Fatal(err)
	}
}

func (e *env) cursor() int64 {
	e.Helper()
	seq, err := e.Subscribe(e.Context(), "r", meta.NeedNews)
	if err != nil {
		e.Fatal(err)
	}
	return seq
}

// push makes n events.
func (e *env) push(n int) {
	e.Helper()
	repo, err := oci.ParseRepo("a")
	for i := 0; i < n && err == nil; i++ {
		e.n++
		content := []byte(fmt.Sprint(e.n))
		u := meta.Upload{ID: meta.UploadID(content), Repo: repo, Key: blob.NewKey(), Algorithm: oci.SHA256}
		if err = e.CreateUpload(e.Context(), u); err == nil {
			_, err = e.CommitUpload(e.Context(), u, meta.Blob{Digest: oci.SHA256.FromBytes(content), Key: u.Key, Size: 1}, event.Actor{})
		}
	}
	if err != nil {
		e.Fatal(err)
	}
}

func (e *env) options(s event.Sink) event.DispatcherOptions {
	return event.DispatcherOptions{
		Outbox: e.DB, Reader: "r", Cursor: e.cursor(), Sink: s, Log: slog.New(slog.DiscardHandler),
		Backoff: func(int) time.Duration { return time.Millisecond },
	}
}

// run runs d until done returns true, which is asked after every change.
func run(t *testing.T, d *event.Dispatcher, done func() bool) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- d.Run(ctx) }()
	for !done() {
		select {
		case <-t.Context().Done():
			t.Fatal("the test is over")
		case <-time.After(time.Millisecond):
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func numbers(from, to int64) []int64 {
	var list []int64
	for i := from; i <= to; i++ {
		list = append(list, i)
	}
	return list
}

func want(t *testing.T, got, want []int64) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got events %v, want %v", got, want)
	}
}

// TestDispatch holds that everything is delivered once and in order, what was
// there and what comes, over restarts.
func TestDispatch(t *testing.T) {
	e := newEnv(t)
	e.cursor()
	s := &sink{}
	e.push(250)
	d := event.NewDispatcher(e.options(s))
	run(t, d, func() bool {
		if len(s.seqs()) == 250 && e.n == 250 {
			e.push(10)
		}
		return d.Cursor() == 260
	})
	e.DB.Close()
	e.open()
	e.push(1)
	d = event.NewDispatcher(e.options(s))
	run(t, d, func() bool { return d.Cursor() == 261 })
	want(t, s.seqs(), numbers(1, 261))
}

// TestDispatchFailure holds that what is refused comes again, that nothing
// overtakes it, and that it is what the next process begins with.
func TestDispatchFailure(t *testing.T) {
	e := newEnv(t)
	e.cursor()
	e.push(9)
	failures := 0
	s := &sink{refuse: func(batch []event.Event) error {
		if batch[0].Seq == 4 && failures < 5 {
			failures++
			return errors.New("not now")
		}
		return nil
	}}
	o := e.options(s)
	o.Batch = 1
	var waited []int
	o.Backoff = func(n int) time.Duration { waited = append(waited, n); return 0 }
	d := event.NewDispatcher(o)
	run(t, d, func() bool { return d.Cursor() == 9 })
	want(t, s.seqs(), numbers(1, 9))
	if !slices.Equal(waited, []int{1, 2, 3, 4, 5}) || d.Failures() != 0 {
		t.Fatalf("waited after failures %v, then there are %d", waited, d.Failures())
	}

	e.push(3)
	down := &sink{refuse: func([]event.Event) error { return errors.New("down") }}
	d = event.NewDispatcher(e.options(down))
	run(t, d, func() bool { return d.Failures() > 2 })
	want(t, down.seqs(), nil)
	e.DB.Close()
	e.open()
	s = &sink{}
	d = event.NewDispatcher(e.options(s))
	run(t, d, func() bool { return d.Cursor() == 12 })
	want(t, s.seqs(), numbers(10, 12))
}

// lossy is an outbox that stops to save cursors, as a process that is killed.
type lossy struct{ event.Outbox }

func (lossy) Advance(context.Context, string, int64) error { return errors.New("killed") }

// TestDispatchCrash holds that what was delivered while the process was killed
// is delivered again, and never lost.
func TestDispatchCrash(t *testing.T) {
	e := newEnv(t)
	e.cursor()
	e.push(3)
	s := &sink{}
	o := e.options(s)
	o.Batch, o.Outbox = 1, lossy{e.DB}
	o.Backoff = func(int) time.Duration { return time.Hour }
	d := event.NewDispatcher(o)
	run(t, d, func() bool { return d.Failures() == 1 })
	e.DB.Close()
	e.open()
	d = event.NewDispatcher(e.options(s))
	run(t, d, func() bool { return d.Cursor() == 3 })
	want(t, s.seqs(), []int64{1, 1, 2, 3})
}

// TestDispatchFilter holds that what a sink does not want is passed over, and
// that the cursor goes on nevertheless.
func TestDispatchFilter(t *testing.T) {
	e := newEnv(t)
	e.cursor()
	e.push(205)
	s := &sink{}
	o := e.options(s)
	o.Batch = 2
	o.Wants = func(ev event.Event) bool { return ev.Seq%50 == 0 }
	d := event.NewDispatcher(o)
	run(t, d, func() bool { return d.Cursor() == 205 })
	want(t, s.seqs(), []int64{50, 100, 150, 200})
	if got := e.cursor(); got != 205 {
		t.Errorf("the saved cursor is %d", got)
	}
}

// TestRewind holds that events come again from where they are wanted, while the
// dispatcher waits, while it backs off and while it delivers.
func TestRewind(t *testing.T) {
	e := newEnv(t)
	e.cursor()
	e.push(5)
	s := &sink{}
	d := event.NewDispatcher(e.options(s))
	again := false
	run(t, d, func() bool {
		if !again && d.Cursor() == 5 {
			again = true
			if err := d.Rewind(t.Context(), 3); err != nil {
				t.Fatal(err)
			}
		}
		return again && d.Cursor() == 5
	})
	want(t, s.seqs(), []int64{1, 2, 3, 4, 5, 4, 5})

	s = &sink{}
	o := e.options(s)
	d = event.NewDispatcher(o)
	s.refuse = func([]event.Event) error { // in the middle of a delivery
		s.refuse = nil
		return d.Rewind(t.Context(), 1)
	}
	e.push(1)
	run(t, d, func() bool { return len(s.seqs()) >= 6 && d.Cursor() == 6 })
	want(t, s.seqs(), []int64{6, 2, 3, 4, 5, 6})

	o.Backoff = func(int) time.Duration { return time.Hour }
	s.refuse = func([]event.Event) error { return errors.New("down") }
	d = event.NewDispatcher(o)
	rewound := false
	run(t, d, func() bool {
		if d.Failures() == 1 && !rewound {
			rewound = true
			if err := d.Rewind(t.Context(), 0); err != nil {
				t.Fatal(err)
			}
		}
		return d.Failures() == 2
	})
}
