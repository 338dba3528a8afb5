package main

import (
	"bytes"
	"strings"
	"testing"
)

// TestReach holds that a log is not filled by an action that takes long.
func TestReach(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out)
	for i := range int64(1000) {
		p.reach(reached{What: "read blobs", Done: (i + 1) << 20, Total: 1000 << 20, Bytes: true})
	}
	for i := range int64(50) {
		p.reach(reached{What: "look at repositories", Done: i})
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 12 {
		t.Errorf("got %d lines:\n%s", len(lines), out.String())
	}
	if got, want := lines[10], "read blobs: 1000.0 MiB of 1000.0 MiB (100%)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := lines[11], "look at repositories: 0"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := (reached{What: "x", Done: 1, Total: 2}).bar(), "[===============               ] x: 1 of 2 (50%)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
