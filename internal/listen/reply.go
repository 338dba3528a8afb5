package listen

import (
	"errors"
	"io"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A reply is the http.ResponseWriter of a request that the conn answers itself. Its
// answers are those of net/http, which a test compares them with, except that they
// have no trailers.
type reply struct {
	c      *conn
	ctx    *requestContext
	header http.Header
	isHead bool

	status  int // 0 until WriteHeader
	length  int64
	written int64
	top     *[]byte // the head of the answer, as far as it is known
	held    *[]byte // the beginning of the body, before the head is sent
	begun   bool    // the head is sent
	chunked bool
	ends    bool // the connection, with this answer
	typed   bool // what the content is need not be found out
	dated   bool
	over    bool
	err     error // of the connection
}

// heldBody is how much of a body is held to find out how long it is, as in net/http.
const heldBody = 2048

var errOver = errors.New("the request has been answered")

// Header implements http.ResponseWriter.
func (w *reply) Header() http.Header {
	if w.header == nil { // somebody is late
		return http.Header{}
	}
	return w.header
}

// hasBody reports whether the status lets an answer have one.
func (w *reply) hasBody() bool {
	return w.status != http.StatusNoContent && w.status != http.StatusNotModified
}

// WriteHeader begins the answer. What is changed in Header from then on is without
// effect.
func (w *reply) WriteHeader(status int) {
	if w.status != 0 || w.over {
		return
	}
	if status < 100 || status > 999 {
		panic("invalid WriteHeader code " + strconv.Itoa(status))
	}
	top := w.c.direct.scraps.bytes.Get().(*[]byte)
	*top = append(*top, "HTTP/1.1 "...)
	*top = strconv.AppendInt(*top, int64(status), 10)
	*top = append(*top, ' ')
	if text := http.StatusText(status); text != "" {
		*top = append(*top, text...)
	} else {
		*top = append(append(*top, "status code "...), strconv.Itoa(status)...)
	}
	*top = append(*top, "\r\n"...)
	if status < 200 {
		w.inform(top)
		return
	}
	w.status, w.top = status, top
	for key, values := range w.header {
		w.put(key, values)
	}
}

// inform sends an answer before the answer, with all headers that there are so far.
func (w *reply) inform(top *[]byte) {
	defer w.c.direct.scraps.put(top)
	for key, values := range w.header {
		if key != "Content-Length" && key != "Transfer-Encoding" {
			*top = appendField(*top, key, values)
		}
	}
	w.send(append(*top, "\r\n"...))
	w.flush()
}

// put adds a field of the handler's to the head, and heeds what it means.
func (w *reply) put(key string, values []string) {
	switch key {
	case "Content-Length":
		if !w.hasBody() || len(values) == 0 {
			return
		}
		n, err := strconv.ParseInt(values[0], 10, 64)
		if err != nil || n < 0 {
			return
		}
		w.length = n
	case "Content-Type":
		w.typed = true
		if w.status == http.StatusNotModified {
			return
		}
	case "Content-Encoding":
		w.typed = w.typed || len(values) > 0 && values[0] != ""
	case "Date":
		w.dated = true
	case "Connection":
		if len(values) > 0 && values[0] == "close" {
			w.ends = true
			return
		}
	case "Transfer-Encoding", "Trailer":
		return
	}
	*w.top = appendField(*w.top, key, values)
}

// appendField appends what net/http would write of a field.
func appendField(b []byte, key string, values []string) []byte {
	if !isToken(key) {
		return b
	}
	for _, v := range values {
		b = append(append(b, key...), ": "...)
		if strings.IndexByte(v, '\n') >= 0 || strings.IndexByte(v, '\r') >= 0 {
			v = strings.NewReplacer("\n", " ", "\r", " ").Replace(v)
		}
		b = append(append(b, textproto.TrimString(v)...), "\r\n"...)
	}
	return b
}

// The bytes that the name of a field may have, as bits: letters, digits and
// !#$%&'*+-.^_`|~ (RFC 9110, section 5.6.2).
const (
	tokensBelow64 = (1<<10-1)<<'0' | 1<<'!' | 1<<'#' | 1<<'$' | 1<<'%' | 1<<'&' | 1<<'\'' | 1<<'*' | 1<<'+' | 1<<'-' | 1<<'.'
	tokensAbove   = (1<<26-1)<<('A'-64) | (1<<26-1)<<('a'-64) | 1<<('^'-64) | 1<<('_'-64) | 1<<('`'-64) | 1<<('|'-64) | 1<<('~'-64)
)

// isToken reports whether s can be the name of a field.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c >= 128 || c < 64 && uint64(tokensBelow64)>>c&1 == 0 || c >= 64 && uint64(tokensAbove)>>(c-64)&1 == 0 {
			return false
		}
	}
	return s != ""
}

// begin completes the head and sends it. start is the beginning of the body, and if
// whole is set all of it.
func (w *reply) begin(start []byte, whole bool) {
	w.begun = true
	b := *w.top
	if whole && w.hasBody() && w.length < 0 && (!w.isHead || len(start) > 0) {
		w.length = int64(len(start))
		b = append(strconv.AppendInt(append(b, "Content-Length: "...), w.length, 10), "\r\n"...)
	}
	if !w.typed && w.hasBody() && len(start) > 0 {
		b = append(append(append(b, "Content-Type: "...), http.DetectContentType(start)...), "\r\n"...)
	}
	if !w.dated {
		b = append(append(append(b, "Date: "...), w.c.direct.dates.now()...), "\r\n"...)
	}
	if w.chunked = w.hasBody() && w.length < 0 && !w.isHead; w.chunked {
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	}
	if w.ends = w.ends || w.c.ending.Load(); w.ends {
		b = append(b, "Connection: close\r\n"...)
	}
	b = append(b, "\r\n"...)
	w.send(b)
	*w.top = b
	w.c.direct.scraps.put(w.top)
	w.top = nil
}

// send hands b to the connection, unless that has failed before.
func (w *reply) send(b []byte) {
	if w.err == nil && len(b) > 0 {
		_, w.err = w.c.Write(b)
	}
}

// body sends p as a part of the body.
func (w *reply) body(p []byte) {
	switch {
	case w.isHead || len(p) == 0:
	case w.chunked:
		var size [20]byte
		w.send(append(strconv.AppendInt(size[:0], int64(len(p)), 16), "\r\n"...))
		w.send(p)
		w.send([]byte("\r\n"))
	default:
		w.send(p)
	}
}

// Write writes p.
func (w *reply) Write(p []byte) (int, error) {
	if w.over {
		return 0, errOver
	}
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	switch {
	case len(p) == 0:
		return 0, nil
	case !w.hasBody():
		return 0, http.ErrBodyNotAllowed
	}
	w.written += int64(len(p))
	if w.length >= 0 && w.written > w.length {
		return 0, http.ErrContentLength
	}
	rest := p
	if !w.begun && (w.held != nil || w.length < 0 || !w.typed) {
		if w.held == nil {
			w.held = w.c.direct.scraps.bytes.Get().(*[]byte)
		}
		n := min(len(p), heldBody-len(*w.held))
		*w.held = append(*w.held, p[:n]...)
		if rest = p[n:]; len(rest) == 0 {
			return len(p), nil
		}
	}
	w.start(rest)
	w.body(rest)
	if w.err != nil {
		return 0, w.err
	}
	return len(p), nil
}

// start sends the head, if it is not sent, and what is held of the body; next comes
// behind that.
func (w *reply) start(next []byte) {
	if w.begun {
		return
	}
	if w.held == nil {
		w.begin(next, false)
		return
	}
	w.begin(*w.held, false)
	w.drain()
}

// drain sends what is held of the body.
func (w *reply) drain() {
	if w.held != nil {
		w.body(*w.held)
		w.c.direct.scraps.put(w.held)
		w.held = nil
	}
}

// WriteString writes s.
func (w *reply) WriteString(s string) (int, error) { return w.Write([]byte(s)) }

// ReadFrom sends what src holds; if that is a file, by the kernel.
func (w *reply) ReadFrom(src io.Reader) (int64, error) {
	if w.status == 0 && !w.over {
		w.WriteHeader(http.StatusOK)
	}
	limited, ok := src.(*io.LimitedReader)
	if w.over || !ok || w.isHead || !w.hasBody() || !w.typed || w.length-w.written < limited.N || w.held != nil {
		return w.c.copies.copy(w, src)
	}
	w.start(nil)
	if w.err != nil {
		return 0, w.err
	}
	n, err := w.c.ReadFrom(src)
	w.written += n
	return n, err
}

// Flush sends what is buffered.
func (w *reply) Flush() { _ = w.FlushError() } // the next Write reports it

// FlushError sends what is buffered; http.ResponseController calls it.
func (w *reply) FlushError() error {
	if w.over {
		return errOver
	}
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	w.start(nil)
	w.flush()
	return w.err
}

func (w *reply) flush() {
	if w.err == nil {
		w.err = w.c.sendHeld()
	}
}

// SetWriteDeadline is for http.ResponseController.
func (w *reply) SetWriteDeadline(t time.Time) error { return w.c.SetWriteDeadline(t) }

// finish ends the answer, and reports whether the connection goes on.
func (w *reply) finish() bool {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if !w.begun {
		var all []byte
		if w.held != nil {
			all = *w.held
		}
		w.begin(all, true)
		w.drain()
	}
	if w.chunked {
		w.send([]byte("0\r\n\r\n"))
	}
	w.flush()
	w.over = true
	clear(w.header)
	w.c.direct.scraps.headers.Put(w.header)
	w.header = nil
	short := !w.isHead && w.hasBody() && w.length >= 0 && w.written != w.length
	return w.err == nil && !w.ends && !short && w.c.SetWriteDeadline(time.Time{}) == nil
}

// scraps are the memory that answers are made in.
type scraps struct {
	bytes   sync.Pool // of *[]byte
	headers sync.Pool // of http.Header
}

func newScraps() *scraps {
	s := &scraps{}
	s.bytes.New = func() any { b := make([]byte, 0, 1<<10); return &b }
	s.headers.New = func() any { return make(http.Header, 16) }
	return s
}

// maxScrap is how much memory is kept in one piece, in bytes.
const maxScrap = 4 << 10

func (s *scraps) put(b *[]byte) {
	if cap(*b) <= maxScrap {
		*b = (*b)[:0]
		s.bytes.Put(b)
	}
}

// dates makes the text of Date, once in a second.
type dates struct{ last atomic.Pointer[date] }

type date struct {
	second int64
	text   []byte
}

func (d *dates) now() []byte {
	now := time.Now()
	if last := d.last.Load(); last != nil && last.second == now.Unix() {
		return last.text
	}
	fresh := &date{now.Unix(), now.UTC().AppendFormat(nil, http.TimeFormat)}
	d.last.Store(fresh)
	return fresh.text
}
