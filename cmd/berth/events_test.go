package main

import (
	"testing"
	"time"
)

func TestParseSince(t *testing.T) {
	zone := time.FixedZone("", 3600)
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, zone)
	for text, want := range map[string]time.Time{
		"90m":                  now.Add(-90 * time.Minute),
		"2026-11-28T09:00:00Z": time.Date(2026, 11, 28, 9, 0, 0, 0, time.UTC),
		"2026-11-27":           time.Date(2026, 11, 27, 0, 0, 0, 0, zone),
		"-2h":                  {},
		"yesterday":            {},
		"":                     {},
	} {
		got, err := parseSince(text, now)
		if !got.Equal(want) || (err == nil) == want.IsZero() {
			t.Errorf("%q: got %v, %v; want %v", text, got, err, want)
		}
	}
}
