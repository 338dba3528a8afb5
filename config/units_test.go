package config

import (
	"net/netip"
	"testing"
	"time"
)

func samePrefix(a, b netip.Prefix) bool { return a == b }

func TestParseSize(t *testing.T) {
	tests := []struct {
		text string
		want Size
		back string
	}{
		{"0", 0, "0"},
		{"1", 1, "1"},
		{"1023", 1023, "1023"},
		{"64MiB", 64 * MiB, "64MiB"},
		{"64 mib", 64 * MiB, "64MiB"},
		{" 4096 ", 4096, "4KiB"},
		{"1kB", 1000, "1kB"},
		{"2GB", 2e9, "2GB"},
		{"3tb", 3e12, "3TB"},
		{"5GiB", 5 * GiB, "5GiB"},
		{"2TiB", 2 * TiB, "2TiB"},
		{"7B", 7, "7"},
		{"9223372036854775807", 1<<63 - 1, "9223372036854775807"},
	}
	for _, tt := range tests {
		got, err := ParseSize(tt.text)
		if err != nil || got != tt.want || got.String() != tt.back {
			t.Errorf("ParseSize(%q) = %d (%s), %v, want %d (%s)", tt.text, got, got, err, tt.want, tt.back)
		}
	}
	for _, bad := range []string{"", "MiB", "-1", "1.5GiB", "64M", "64k", "64 miles", "0x10", "1_000", "9223372036854775808", "8388608TiB", "٣"} {
		if got, err := ParseSize(bad); err == nil {
			t.Errorf("ParseSize(%q) = %d, want an error", bad, got)
		}
	}
}

func TestParseDuration(t *testing.T) {
	tests := []struct {
		text string
		want time.Duration
		back string
	}{
		{"0", 0, "0"},
		{"0s", 0, "0"},
		{"90s", 90 * time.Second, "1m30s"},
		{"1h30m", 90 * time.Minute, "1h30m"},
		{"1m", time.Minute, "1m"},
		{"10m", 10 * time.Minute, "10m"},
		{"24h", day, "24h"},
		{"1d", day, "24h"},
		{"7d", 7 * day, "7d"},
		{"1d12h", 36 * time.Hour, "36h"},
		{" 5m ", 5 * time.Minute, "5m"},
		{"1.5h", 90 * time.Minute, "1h30m"},
		{"100ms", 100 * time.Millisecond, "100ms"},
		{"2562047h47m16.854775807s", 1<<63 - 1, "2562047h47m16.854775807s"},
	}
	for _, tt := range tests {
		got, err := ParseDuration(tt.text)
		if err != nil || got != tt.want || formatDuration(got) != tt.back {
			t.Errorf("ParseDuration(%q) = %s (%s), %v, want %s (%s)", tt.text, got, formatDuration(got), err, tt.want, tt.back)
		}
	}
	for _, bad := range []string{"", "30", "-5s", "d", "1.5d", "-1d", "1d-1h", "1dd", "1d1", "106752d", "106751d24h", "soon", "1w"} {
		if got, err := ParseDuration(bad); err == nil {
			t.Errorf("ParseDuration(%q) = %s, want an error", bad, got)
		}
	}
}

func FuzzUnits(f *testing.F) {
	for _, seed := range []string{"64MiB", "1d12h", "7d", "0", "90s", "-1", "9223372036854775807", "106751d23h47m", "１"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if s, err := ParseSize(text); err == nil {
			if back, err := ParseSize(s.String()); err != nil || back != s || s < 0 {
				t.Errorf("size %q is %d, written %q, read back %d, %v", text, int64(s), s, int64(back), err)
			}
		}
		if d, err := ParseDuration(text); err == nil {
			if back, err := ParseDuration(formatDuration(d)); err != nil || back != d || d < 0 {
				t.Errorf("duration %q is %d, written %q, read back %d, %v", text, d, formatDuration(d), back, err)
			}
		}
	})
}
