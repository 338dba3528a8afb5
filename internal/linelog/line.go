package linelog

import (
	"log/slog"
	"math"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"
)

// A line is one line while it is made. It ceases to be simple when it meets what
// only slog knows how to write.
type line struct {
	buf    []byte
	json   bool
	simple bool
	each   func(slog.Attr) bool // attr
	second second
}

func newLine(f Format) *line {
	l := &line{json: f == JSON, simple: true}
	l.each = l.attr
	return l
}

// begin begins a new line with what every one begins with.
func (l *line) begin(at time.Time, severity slog.Level, message string) {
	l.buf, l.simple = l.buf[:0], true
	if y := at.Year(); at.IsZero() || y < 0 || y > 9999 {
		l.simple = false
		return
	}
	level := severity.String()
	if l.json {
		l.buf = append(l.buf, `{"time":"`...)
		l.buf = at.AppendFormat(l.buf, time.RFC3339Nano)
		l.buf = append(l.buf, `","level":"`...)
		l.buf = append(l.buf, level...)
		l.buf = append(l.buf, `","msg":`...)
	} else {
		l.buf = append(l.buf, "time="...)
		l.buf = l.second.append(l.buf, at)
		l.buf = append(l.buf, " level="...)
		l.buf = append(l.buf, level...)
		l.buf = append(l.buf, " msg="...)
	}
	l.string(message)
}

// end ends the line.
func (l *line) end() {
	if l.json {
		l.buf = append(l.buf, '}')
	}
	l.buf = append(l.buf, '\n')
}

// attr writes an attribute, with what separates it from what is before it. It
// reports whether to go on.
func (l *line) attr(a slog.Attr) bool {
	if a.Key == "" || classOf(a.Key) != plain {
		l.simple = false
		return false
	}
	if l.json {
		l.buf = append(l.buf, ',', '"')
		l.buf = append(l.buf, a.Key...)
		l.buf = append(l.buf, '"', ':')
	} else {
		l.buf = append(l.buf, ' ')
		l.buf = append(l.buf, a.Key...)
		l.buf = append(l.buf, '=')
	}
	switch v := a.Value; v.Kind() {
	case slog.KindString:
		l.string(v.String())
	case slog.KindInt64:
		l.buf = strconv.AppendInt(l.buf, v.Int64(), 10)
	case slog.KindUint64:
		l.buf = strconv.AppendUint(l.buf, v.Uint64(), 10)
	case slog.KindBool:
		l.buf = strconv.AppendBool(l.buf, v.Bool())
	case slog.KindFloat64:
		l.float(v.Float64())
	default:
		l.simple = false
	}
	return l.simple
}

// float writes a number. JSON has forms of its own for very large and very small
// ones, and none for what is no number.
func (l *line) float(f float64) {
	if !l.json {
		l.buf = strconv.AppendFloat(l.buf, f, 'g', -1, 64)
		return
	}
	if size := math.Abs(f); size != 0 && !(size >= 1e-6 && size < 1e21) {
		l.simple = false
		return
	}
	l.buf = strconv.AppendFloat(l.buf, f, 'f', -1, 64)
}

// string writes a text.
func (l *line) string(s string) {
	c := classOf(s)
	switch {
	case l.json && c == special:
		l.simple = false
	case c == blank, l.json, s == "":
		l.buf = append(l.buf, '"')
		l.buf = append(l.buf, s...)
		l.buf = append(l.buf, '"')
	case c == plain:
		l.buf = append(l.buf, s...)
	case needsQuotes(s):
		l.buf = strconv.AppendQuote(l.buf, s)
	default:
		l.buf = append(l.buf, s...)
	}
}

// A class says how a text is written.
type class uint8

// The classes, each of which is in the ones behind it.
const (
	plain   class = iota // as it is
	blank                // as it is in quotes, which text needs and JSON has in any case
	special              // not as it is, perhaps
)

// classes are the classes of bytes, as digits. Nothing but printable ASCII is sure
// to be written as it is.
const (
	of16        = "0000000000000000"
	of16Special = "2222222222222222"
	classes     = of16Special + of16Special +
		"1020000000000000" + "0000000000000100" + // blank, double quote; equals sign
		of16 + "0000000000002000" + // backslash
		of16 + "0000000000000002" + // delete
		of16Special + of16Special + of16Special + of16Special + of16Special + of16Special + of16Special + of16Special
)

func classOf(s string) class {
	var all byte
	for i := range len(s) {
		all |= classes[s[i]]
	}
	return class(min(all&3, byte(special)))
}

// needsQuotes reports whether slog puts s in quotes as text.
func needsQuotes(s string) bool {
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			if c <= ' ' || c == '"' || c == '=' {
				return true
			}
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError || unicode.IsSpace(r) || !unicode.IsPrint(r) {
			return true
		}
		i += size
	}
	return s == ""
}

// A second is how the last second was written in which there was a line.
type second struct {
	unix   int64
	offset int // of its zone, in seconds
	text   []byte
}

// append writes a time with three digits behind the second.
func (s *second) append(b []byte, t time.Time) []byte {
	_, offset := t.Zone()
	if unix := t.Unix(); s.text == nil || unix != s.unix || offset != s.offset {
		s.unix, s.offset = unix, offset
		s.text = t.AppendFormat(s.text[:0], time.RFC3339)
	}
	const zone = len("2006-01-02T15:04:05") // where that begins, and the fraction goes
	milli := t.Nanosecond() / int(time.Millisecond)
	b = append(b, s.text[:zone]...)
	b = append(b, '.', byte('0'+milli/100), byte('0'+milli/10%10), byte('0'+milli%10))
	return append(b, s.text[zone:]...)
}
