package main

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// How Go's heap is kept (ADR 0039). A registry has a small heap and allocates
// much, so that by itself Go would collect it after every two or four megabytes:
// dozens of times a second under load. While that would be more often than once a
// second, the heap may grow by heapRoom before it is collected. When it has not
// been so for heapCalm seconds, what it has grown by is given back.
const (
	heapRoom  = 32 << 20
	heapCalm  = 5
	heapUsual = 100     // percent: what Go does by itself
	heapLeast = 4 << 20 // what the heap may have at 100 percent before Go collects it at all

	// notGo is what is kept free of a container's memory for what is not Go's, at
	// most: the pages of the database.
	notGo = 64 << 20
)

// A heapKeeper decides how often Go's heap is collected.
type heapKeeper struct {
	room    int64 // bytes that may be allocated from one collection to the next
	now     func() time.Time
	read    func() heapSize
	set     func(percent int)
	release func() // gives memory back to the system

	busy      bool
	percent   int       // that was set last
	calm      int       // seconds that it has not been busy for
	last      time.Time // when the last collection was noticed
	collected int64     // what had been allocated then
	looked    int64     // what had been allocated a second ago
}

// A heapSize says what a collection has left and how much was ever allocated.
type heapSize struct {
	live      int64 // bytes that a collection's costs and its goal are counted by
	allocated int64 // grows
}

// keepHeap keeps the heap until ctx ends. Who has set GOGC has decided, so that
// nothing is done then; a limit of the memory is kept to, be it GOMEMLIMIT or that
// of the container.
func keepHeap(ctx context.Context) {
	room := int64(heapRoom)
	if limit := limitMemory(); limit > 0 {
		room = min(room, limit/8)
	}
	if os.Getenv("GOGC") != "" {
		return
	}
	k := &heapKeeper{
		room: room, now: time.Now, read: readHeap, percent: heapUsual,
		set: func(percent int) { debug.SetGCPercent(percent) }, release: debug.FreeOSMemory,
	}
	collections := make(chan struct{}, 1)
	noticeCollections(ctx, collections)
	go k.run(ctx, collections)
}

// limitMemory sets the limit of Go's memory where that is left to us, in a
// container that has a limit, and returns it; 0 if there is none. What is not
// Go's, as the pages of the database, has to fit beside it.
func limitMemory() int64 {
	if os.Getenv("GOMEMLIMIT") != "" {
		return debug.SetMemoryLimit(-1)
	}
	limit := cgroupMemory(os.ReadFile)
	if limit == 0 {
		return 0
	}
	limit -= min(limit/4, notGo)
	debug.SetMemoryLimit(limit)
	return limit
}

// noticeCollections sends to c after collections until ctx ends: what nothing
// refers to is cleaned up by the next one. One that begins meanwhile is missed.
func noticeCollections(ctx context.Context, c chan<- struct{}) {
	type canary struct{ _ *int }
	runtime.AddCleanup(new(canary), func(c chan<- struct{}) {
		if ctx.Err() != nil {
			return
		}
		select {
		case c <- struct{}{}:
		default: // it hears of one anyway
		}
		noticeCollections(ctx, c)
	}, c)
}

// readHeap reads the runtime's own numbers.
func readHeap() heapSize {
	s := []metrics.Sample{
		{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"},
		{Name: "/gc/heap/allocs:bytes"},
	}
	metrics.Read(s)
	n := func(i int) int64 { return int64(s[i].Value.Uint64()) }
	return heapSize{live: n(0) + n(1) + n(2), allocated: n(3)}
}

// run keeps the heap until ctx ends. Nothing wakes it up while there is nothing to
// give back.
func (k *heapKeeper) run(ctx context.Context, collections <-chan struct{}) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	tick.Stop()
	defer func() { k.apply(heapUsual) }()
	for {
		was := k.busy
		select {
		case <-ctx.Done():
			return
		case <-collections:
			k.notice()
		case <-tick.C:
			k.look()
		}
		switch {
		case k.busy && !was:
			tick.Reset(time.Second)
		case was && !k.busy:
			tick.Stop()
		}
	}
}

// notice follows a collection: a second one within a second makes the heap busy.
// One after less than half of heapLeast was not for want of room, but asked for.
func (k *heapKeeper) notice() {
	size, now := k.read(), k.now()
	often := now.Sub(k.last) < time.Second && size.allocated-k.collected >= heapLeast/2
	k.last, k.collected = now, size.allocated
	if often && !k.busy {
		k.busy, k.calm, k.looked = true, 0, size.allocated
	}
	if k.busy {
		k.apply(k.wanted(size.live))
	}
}

// look is called every second while the heap is busy. What Go would have collected
// by itself at least once since the last time still is.
func (k *heapKeeper) look() {
	size := k.read()
	k.calm++
	if size.allocated-k.looked >= max(size.live, heapLeast/2) {
		k.calm = 0
	}
	k.looked = size.allocated
	if k.calm < heapCalm {
		k.apply(k.wanted(size.live))
		return
	}
	k.busy = false
	k.apply(heapUsual)
	k.release()
}

// wanted is the percentage that leaves room beside what lives. Go takes it of no
// less than heapLeast.
func (k *heapKeeper) wanted(live int64) int {
	return max(heapUsual, int(k.room*heapUsual/max(live, heapLeast)))
}

// apply sets the percentage, unless it is about what it was: that is not worth
// stopping the world for.
func (k *heapKeeper) apply(percent int) {
	near := 4*max(percent-k.percent, k.percent-percent) < k.percent
	if percent == k.percent || near && percent != heapUsual {
		return
	}
	k.percent = percent
	k.set(percent)
}
