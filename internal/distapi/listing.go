package distapi

import (
	"net/http"
	"strconv"
)

// listBuffer is how much of a list is kept before it is sent.
const listBuffer = 64 << 10

// A listing is the answer to a request for a list while it is written: it is
// sent whenever the buffer is full, so that it takes no more memory however long
// it is.
type listing struct {
	h         *Handler
	w         http.ResponseWriter
	mediaType string
	buf       *[]byte
	length    int // of the whole, if known; 0: not
	begun     bool
}

// list begins an answer. Nothing of it is sent before its buffer is full, so an
// error may still take its place as long as begun is false. end ends it.
func (h *Handler) list(w http.ResponseWriter, mediaType string) *listing {
	buf, ok := h.buffers.Get().(*[]byte)
	if !ok {
		b := make([]byte, 0, listBuffer)
		buf = &b
	}
	return &listing{h: h, w: w, mediaType: mediaType, buf: buf}
}

// text adds to the answer.
func (l *listing) text(s string) {
	for len(*l.buf)+len(s) > listBuffer {
		n := listBuffer - len(*l.buf)
		*l.buf = append(*l.buf, s[:n]...)
		s = s[n:]
		l.send()
	}
	*l.buf = append(*l.buf, s...)
}

// name adds an item of a list of names.
func (l *listing) name(before, s string) {
	if len(*l.buf)+len(before)+len(s)+2 > listBuffer {
		l.send()
	}
	*l.buf = append(append(append(append(*l.buf, before...), '"'), s...), '"')
}

// send sends what is in the buffer.
func (l *listing) send() {
	if !l.begun {
		l.begun = true
		header := l.w.Header()
		header.Set("Content-Type", l.mediaType)
		header.Set("Cache-Control", "no-cache")
		if l.length > 0 {
			header.Set("Content-Length", strconv.Itoa(l.length))
		}
	}
	_, _ = l.w.Write(*l.buf) // an error here is the client's loss
	*l.buf = (*l.buf)[:0]
}

// finish sends the rest.
func (l *listing) finish() {
	if !l.begun {
		l.length = len(*l.buf)
	}
	l.send()
}

// end gives the buffer back. The listing is of no use any more.
func (l *listing) end() {
	*l.buf = (*l.buf)[:0]
	l.h.buffers.Put(l.buf)
	l.buf = nil
}

// failed is err as a handler returns it.
func (l *listing) failed(err error) error {
	if l.begun {
		return aborted(err)
	}
	return err
}
