package sqlmeta

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"berth/internal/meta"
	"berth/internal/oci"
)

// TestSessionsAreBounded holds that no more queries run at a time than there are
// places, that who waits can give up, and that closing waits for who does not.
func TestSessionsAreBounded(t *testing.T) {
	db := openTemp(t)
	p := db.reader.sessions
	var held []*session
	for range cap(p.places) {
		s, err := p.take(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, s)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if s, err := p.take(gone); err == nil || s != nil {
		t.Errorf("a session beyond the last place, error %v", err)
	}
	if err := p.relax(t.Context()); err != nil {
		t.Errorf("relax while all are in use: %v", err)
	}
	closed := make(chan error, 1)
	go func() { closed <- p.close() }()
	for _, s := range held {
		var one int64
		if err := s.get(t.Context(), "SELECT 1", nil, &one); err != nil || one != 1 {
			t.Errorf("a session in use: %d, error %v", one, err)
		}
		p.give(s, true)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if _, err := p.take(t.Context()); !errors.Is(err, errClosed) {
		t.Errorf("take after close: error %v", err)
	}
}

// TestSessionsAreNotShared holds that answers of queries that run at the same time
// are not mixed up, whatever becomes of those beside them.
func TestSessionsAreNotShared(t *testing.T) {
	db := openTemp(t)
	enough := errors.New("enough")
	var wg sync.WaitGroup
	for n := range 32 {
		wg.Go(func() {
			for i := range 50 {
				want := int64(n*1000 + i)
				var a, b int64
				if err := db.reader.get(t.Context(), "SELECT $1, $1 + 1", args{want}, &a, &b); err != nil || a != want || b != want+1 {
					t.Errorf("got %d and %d, error %v; want %d", a, b, err, want)
				}
				err := db.reader.each(t.Context(), "SELECT $1 UNION ALL SELECT 2", args{want}, func(scan func(...any) error) error {
					if err := scan(&a); err != nil || a != want {
						t.Errorf("row %d, error %v; want %d", a, err, want)
					}
					return enough
				})
				if !errors.Is(err, enough) {
					t.Error(err)
				}
				if err := db.reader.get(t.Context(), "SELECT 1 WHERE $1 < 0", args{want}, &a); !errors.Is(err, meta.ErrNotFound) {
					t.Errorf("no row: error %v", err)
				}
			}
		})
	}
	wg.Wait()
}

// TestPanicInAQuery holds that a session in which somebody panicked is not used
// again, and its place is.
func TestPanicInAQuery(t *testing.T) {
	db := openTemp(t)
	for range 2 * readers() {
		func() {
			defer func() { _ = recover() }()
			_ = db.reader.each(t.Context(), "SELECT 1", nil, func(func(...any) error) error { panic("a bug") })
		}()
	}
	if n := len(db.reader.sessions.places); n != 0 {
		t.Errorf("%d places are taken for ever", n)
	}
	if _, err := db.FindContent(t.Context(), oci.SHA256.FromBytes(nil)); !errors.Is(err, meta.ErrNotFound) {
		t.Error(err)
	}
}

// BenchmarkMiss looks for a blob that is not there, as each push of one does first.
func BenchmarkMiss(b *testing.B) {
	f := newBenchOf(b, Options{Trash: time.Hour, Memory: 32 << 20}, 1000)
	d := oci.SHA256.FromBytes(fmt.Append(nil, "nothing"))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.FindBlob(b.Context(), f.repo, d); !errors.Is(err, meta.ErrNotFound) {
			b.Fatal(err)
		}
	}
}
