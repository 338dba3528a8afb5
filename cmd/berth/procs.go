package main

import (
	"os"
	"runtime"
)

// fewProcs is how many goroutines may run at once, at least, on a machine that is
// ours as a whole.
const fewProcs = 4

// shareProcs lets more goroutines run than a small machine has processors (ADR
// 0045). A goroutine that waits for the disk keeps its place until Go takes it away,
// which takes from 20 µs to milliseconds; on two processors two pushes are enough
// to have all pulls wait for that.
//
// Who has set GOMAXPROCS has decided, and so has who gave a container fewer
// processors than the machine has: what runs beyond that is stopped by the kernel.
func shareProcs() {
	if os.Getenv("GOMAXPROCS") != "" {
		return
	}
	if now := runtime.GOMAXPROCS(0); procs(now, runtime.NumCPU()) != now {
		runtime.GOMAXPROCS(procs(now, runtime.NumCPU()))
	}
}

// procs returns how many goroutines may run at once, where Go would let now of them
// on so many processors.
func procs(now, processors int) int {
	if now != processors || now >= fewProcs {
		return now
	}
	return min(2*now, fewProcs)
}
