package listen

import (
	"bytes"
	"net"
	"net/http"
	"sync"
)

// Most headers of an answer mean nothing to net/http, which keeps each answer's in a
// map, copies the map and sorts it: for ten headers that costs as much as all the
// rest of a short answer. So those of an HTTP/1 answer are kept in a map that is used
// again, and what net/http need not see goes to the conn as it is sent: the lead,
// which the conn writes behind the status line.

// leads are the memory that leads and headers are made in.
type leads struct {
	bytes   sync.Pool // of *[]byte
	headers sync.Pool // of http.Header
}

func newLeads() *leads {
	l := &leads{}
	l.bytes.New = func() any { b := make([]byte, 0, 1<<10); return &b }
	l.headers.New = func() any { return make(http.Header, 16) }
	return l
}

// maxLead is how much memory of a lead is kept, in bytes.
const maxLead = 4 << 10

func (l *leads) put(b *[]byte) {
	if cap(*b) <= maxLead {
		*b = (*b)[:0]
		l.bytes.Put(b)
	}
}

// leadsWith reports whether a header may go before the others, behind net/http's
// back: one that means nothing to it, with values that it would write as they are.
func leadsWith(key string, values []string) bool {
	switch key {
	case "Accept-Ranges", "Cache-Control", "Content-Disposition", "Content-Security-Policy", "Docker-Content-Digest",
		"Docker-Distribution-Api-Version", "Etag", "Link", "Location", "Vary", "X-Content-Type-Options", "X-Request-Id":
	default:
		return false
	}
	for _, v := range values {
		if v == "" || v[0] == ' ' || v[len(v)-1] == ' ' {
			return false
		}
		for i := range len(v) {
			if v[i] < ' ' || v[i] > '~' {
				return false
			}
		}
	}
	return true
}

// split gives net/http what it needs of header, and returns the rest as a lead.
func (l *leads) split(header, to http.Header) *[]byte {
	b := l.bytes.Get().(*[]byte)
	for key, values := range header {
		if !leadsWith(key, values) {
			to[key] = values
			continue
		}
		for _, v := range values {
			*b = append(*b, key...)
			*b = append(*b, ": "...)
			*b = append(*b, v...)
			*b = append(*b, "\r\n"...)
		}
	}
	return b
}

// setLead has c write b, which is of l, with the next answer; nil takes away what is
// left of one that was never written.
func (c *conn) setLead(l *leads, b *[]byte) {
	c.parcel.mu.Lock()
	defer c.parcel.mu.Unlock()
	c.leads, c.lead = l, b
}

// writeLed writes p, the beginning of an answer, with the lead behind its first
// line. The parcel's lock is held.
func (c *conn) writeLed(p []byte) (int, error) {
	lead := c.lead
	c.lead = nil
	defer c.leads.put(lead)
	h := &c.parcel
	at := bytes.IndexByte(p, '\n') + 1
	size := len(p) + len(*lead)
	if h.n+size > heldBytes {
		h.isOpen = false
		defer h.empty()
		parts := net.Buffers{p[:at], *lead, p[at:]}
		if h.n > 0 {
			parts = append(net.Buffers{h.buf[:h.n]}, parts...)
		}
		n, err := c.keepOn(func() (int64, error) { return parts.WriteTo(c.Conn) })
		return int(min(int64(len(p)), max(0, n-int64(h.n+len(*lead))))), err
	}
	open := h.isOpen
	h.isOpen = true
	h.put(p[:at])
	h.put(*lead)
	h.put(p[at:])
	if h.isOpen = open; open {
		return len(p), nil
	}
	defer h.empty()
	n, err := c.write(h.buf[:h.n])
	return min(len(p), max(0, n-len(*lead))), err
}
