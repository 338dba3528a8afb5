package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// TestReach holds that a log hears of what takes long, and is not filled by it.
func TestReach(t *testing.T) {
	var out bytes.Buffer
	var now time.Time
	p := newProgress(&out)
	p.now = func() time.Time { return now }
	pass := func(what string, n, total int64, each time.Duration) {
		for i := range n {
			p.reach(reached{What: what, Done: (i + 1) << 20, Total: total << 20, Bytes: true})
			now = now.Add(each)
		}
	}
	pass("read the database", 1000, 1000, time.Millisecond)
	pass("read blobs", 1000, 1000, 100*time.Millisecond)
	pass("look at uploads", 300, 0, 100*time.Millisecond)
	pass("copy", 100, 100, 50*time.Millisecond)
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	want := map[int]string{
		0:  "read blobs: 100.0 MiB of 1000.0 MiB (10%)",
		9:  "read blobs: 1000.0 MiB of 1000.0 MiB (100%)",
		10: "look at uploads: 101.0 MiB",
		11: "look at uploads: 201.0 MiB",
		12: "copy: 41.0 MiB of 100.0 MiB (41%)",
		13: "copy: 81.0 MiB of 100.0 MiB (81%)",
	}
	if len(lines) != 14 {
		t.Fatalf("got %d lines:\n%s", len(lines), out.String())
	}
	for i, line := range want {
		if lines[i] != line {
			t.Errorf("line %d: got %q, want %q", i, lines[i], line)
		}
	}
	if got, want := (reached{What: "x", Done: 1, Total: 2}).bar(), "[===============               ] x: 1 of 2 (50%)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
