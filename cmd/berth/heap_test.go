package main

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// A fakeHeap is what a heapKeeper keeps.
type fakeHeap struct {
	size     heapSize
	percent  int
	released int
	at       time.Time
}

func (h *fakeHeap) keeper() *heapKeeper {
	h.percent, h.at = heapUsual, time.Now()
	return &heapKeeper{
		room: heapRoom, percent: heapUsual, now: func() time.Time { return h.at },
		read: func() heapSize { return h.size }, set: func(p int) { h.percent = p }, release: func() { h.released++ },
	}
}

// collect is a collection after so much time, in which so much was allocated.
func (h *fakeHeap) collect(k *heapKeeper, after time.Duration, bytes int64) {
	h.at, h.size.allocated = h.at.Add(after), h.size.allocated+bytes
	k.notice()
}

func TestHeapKeeper(t *testing.T) {
	t.Run("a server that starts, and one with little to do", func(t *testing.T) {
		h := fakeHeap{size: heapSize{live: 2 << 20}}
		k := h.keeper()
		h.collect(k, 20*time.Millisecond, 4<<20)
		for range 10 {
			h.collect(k, 3*time.Second, 4<<20)
		}
		h.collect(k, time.Millisecond, 1<<10) // somebody asked for it
		if k.busy || h.percent != heapUsual || h.released > 0 {
			t.Errorf("busy %t, %d %%, released %d times", k.busy, h.percent, h.released)
		}
	})
	t.Run("load comes and goes", func(t *testing.T) {
		h := fakeHeap{size: heapSize{live: 2 << 20}}
		k := h.keeper()
		h.collect(k, time.Second, 4<<20)
		h.collect(k, 50*time.Millisecond, 4<<20)
		if !k.busy || h.percent != 800 {
			t.Fatalf("busy %t, %d %%, want 800: 32 MiB of the 4 that Go counts at least", k.busy, h.percent)
		}
		h.size.live = 16 << 20
		h.collect(k, 50*time.Millisecond, 4<<20)
		if h.percent != 200 {
			t.Errorf("%d %% of 16 MiB, want 200", h.percent)
		}
		h.size.live = 17 << 20
		h.collect(k, 50*time.Millisecond, 4<<20)
		if h.percent != 200 {
			t.Errorf("%d %%: the world was stopped for a small difference", h.percent)
		}
		h.size.live = 400 << 20
		k.look() // a collection that was missed
		if h.percent != heapUsual || !k.busy {
			t.Errorf("busy %t, %d %% of 400 MiB, want no more than Go takes by itself", k.busy, h.percent)
		}
		h.size.live = 2 << 20
		for range 3 * heapCalm {
			h.size.allocated += 3 << 20
			k.look()
		}
		if !k.busy || h.released > 0 {
			t.Errorf("busy %t, released %d times, under load", k.busy, h.released)
		}
		for range heapCalm - 1 {
			h.size.allocated += 1 << 20
			k.look()
		}
		if !k.busy {
			t.Error("given back at once")
		}
		k.look()
		if k.busy || h.percent != heapUsual || h.released != 1 {
			t.Errorf("busy %t, %d %%, released %d times, when all was calm", k.busy, h.percent, h.released)
		}
	})
}

// TestHeapKeeperRuns has it follow what it is told, and stop.
func TestHeapKeeperRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := fakeHeap{size: heapSize{live: 2 << 20}}
		k := h.keeper()
		percents, released := make(chan int), make(chan struct{})
		k.now, k.set, k.release = time.Now, func(p int) { percents <- p }, func() { released <- struct{}{} }
		ctx, cancel := context.WithCancel(t.Context())
		collections, done := make(chan struct{}), make(chan struct{})
		go func() { defer close(done); k.run(ctx, collections) }()
		for range 2 {
			collections <- struct{}{}
			synctest.Wait()
			h.size.allocated += 4 << 20
			collections <- struct{}{}
			if p := <-percents; p != 800 {
				t.Errorf("%d %%, want 800", p)
			}
			began := time.Now()
			if p := <-percents; p != heapUsual {
				t.Errorf("%d %% when nothing was allocated any more, want %d", p, heapUsual)
			}
			<-released
			if took := time.Since(began); took < heapCalm*time.Second {
				t.Errorf("given back after %s", took)
			}
		}
		cancel()
		<-done
	})
}

// TestNoticeCollections has collections noticed again and again.
func TestNoticeCollections(t *testing.T) {
	c := make(chan struct{}, 1)
	noticeCollections(t.Context(), c)
	for range 3 {
		for noticed := false; !noticed; {
			runtime.GC()
			select {
			case <-c:
				noticed = true
			default:
				runtime.Gosched()
			}
		}
	}
	if s := readHeap(); s.live <= 0 || s.allocated <= 0 {
		t.Errorf("the runtime tells %+v", s)
	}
}
