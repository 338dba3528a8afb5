package retention

import (
	"strconv"
	"strings"
	"time"
)

// span writes how long something is, in the largest unit of which there are at
// least two.
func span(d time.Duration) string {
	for _, unit := range []struct {
		of   time.Duration
		name string
	}{{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}} {
		if n := int(d / unit.of); n >= 2 {
			return strconv.Itoa(n) + " " + unit.name + "s"
		}
	}
	return strconv.Itoa(max(0, int(d/time.Second))) + " seconds"
}

// ago writes how long ago something was.
func ago(now, at time.Time) string {
	if at.IsZero() {
		return "at a time that is not known"
	}
	return span(now.Sub(at)) + " ago"
}

func ordinal(n int) string {
	suffix := "th"
	if n%100/10 != 1 {
		switch n % 10 {
		case 1:
			suffix = "st"
		case 2:
			suffix = "nd"
		case 3:
			suffix = "rd"
		}
	}
	return strconv.Itoa(n) + suffix
}

func count(n int) string { return strconv.Itoa(n) }

// name says in a reason which rule it is.
func (r *numbered) name() string { return " (rule " + count(r.number) + ")" }

func ruleNames(numbers []int) string {
	if len(numbers) == 1 {
		return " (rule " + count(numbers[0]) + ")"
	}
	texts := make([]string, len(numbers))
	for i, n := range numbers {
		texts[i] = count(n)
	}
	return " (rules " + strings.Join(texts, ", ") + ")"
}
