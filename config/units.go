package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Size is a number of bytes. It is written as a whole number, alone or with a
// unit: 64MiB, 100MB, 4096.
type Size int64

// The binary units of [Size].
const (
	KiB Size = 1 << 10
	MiB Size = 1 << 20
	GiB Size = 1 << 30
	TiB Size = 1 << 40
)

// ParseSize reads a size. The binary units KiB, MiB, GiB and TiB count in
// 1024s, the decimal ones kB, MB, GB and TB in 1000s; B and no unit are bytes.
// Case does not matter, and a space may stand before the unit.
func ParseSize(s string) (Size, error) {
	text := strings.TrimSpace(s)
	digits := len(text) - len(strings.TrimLeft(text, "0123456789"))
	unit, ok := sizeUnit(strings.TrimSpace(text[digits:]))
	if digits == 0 || !ok {
		return 0, fmt.Errorf("%q is no size: write a whole number of bytes, or one with a unit, such as 64MiB or 2GB", s)
	}
	n, err := strconv.ParseInt(text[:digits], 10, 64)
	if err != nil || n > math.MaxInt64/int64(unit) {
		return 0, fmt.Errorf("%q is too large for a size: the largest is %d bytes", s, int64(math.MaxInt64))
	}
	return Size(n) * unit, nil
}

// sizeUnit returns the number of bytes in a unit, and whether there is such a
// unit. A bare K, M, G or T is none: it means 1000s to some and 1024s to others.
func sizeUnit(name string) (Size, bool) {
	switch strings.ToLower(name) {
	case "", "b":
		return 1, true
	case "kib":
		return KiB, true
	case "mib":
		return MiB, true
	case "gib":
		return GiB, true
	case "tib":
		return TiB, true
	case "kb":
		return 1e3, true
	case "mb":
		return 1e6, true
	case "gb":
		return 1e9, true
	case "tb":
		return 1e12, true
	}
	return 0, false
}

// String returns the size in the shortest way that is exact, with a unit rather
// than without. [ParseSize] reads it back.
func (s Size) String() string {
	best := strconv.FormatInt(int64(s), 10)
	for _, unit := range []string{"KiB", "MiB", "GiB", "TiB", "kB", "MB", "GB", "TB"} {
		size, _ := sizeUnit(unit)
		if s == 0 || s%size != 0 {
			continue
		}
		text := strconv.FormatInt(int64(s/size), 10) + unit
		if len(text) < len(best) || len(text) == len(best) && isNumber(best) {
			best = text
		}
	}
	return best
}

// day is the longest unit of time that is always as long as it says.
const day = 24 * time.Hour

// ParseDuration reads a duration: what [time.ParseDuration] reads, and days
// before it, such as 90s, 1h30m, 7d or 1d12h. It is never negative.
func ParseDuration(s string) (time.Duration, error) {
	text := strings.TrimSpace(s)
	d, err := parseDays(text)
	switch {
	case err == nil && d >= 0:
		return d, nil
	case err == nil:
		return 0, fmt.Errorf("%q is negative: write 0 or a positive time, such as 90s", s)
	case isNumber(text):
		return 0, fmt.Errorf("%q has no unit: write %ss for seconds, %sm for minutes, or use h for hours, d for days", s, text, text)
	}
	return 0, fmt.Errorf("%q is no duration: write a number with a unit, such as 90s, 15m, 24h or 7d", s)
}

func parseDays(text string) (time.Duration, error) {
	days, rest, found := strings.Cut(text, "d")
	if !found {
		return time.ParseDuration(text)
	}
	n, err := strconv.ParseUint(days, 10, 63)
	if err != nil || n > uint64(math.MaxInt64/day) {
		return 0, errors.New("not a number of days")
	}
	whole := time.Duration(n) * day
	if rest == "" {
		return whole, nil
	}
	more, err := time.ParseDuration(rest)
	if err != nil || more < 0 || whole > math.MaxInt64-more {
		return 0, errors.New("not a time after the days")
	}
	return whole + more, nil
}

func isNumber(s string) bool {
	_, err := strconv.ParseUint(s, 10, 64)
	return err == nil
}

// formatDuration writes d as [ParseDuration] reads it, in days where that is a
// whole number greater than one.
func formatDuration(d time.Duration) string {
	if d > day && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	if text == "0s" {
		return "0"
	}
	return text
}
