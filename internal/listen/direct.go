package listen

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// net/http starts a goroutine for each request that reads on while its handler runs,
// ends it through the socket's deadline, and keeps, copies and sorts headers: for a
// short answer that costs more than all the rest. So a plain HTTP/1.1 request without
// a body, or with one that has come with its head, is answered by the conn itself, inside
// of the Read in which net/http waits for it. net/http gets all others, and what comes behind a request of which the conn
// can't tell where it ends. The first one of a connection is always net/http's.
//
// A conn counts what it hands to net/http. It answers only where that ended with a
// request, and net/http has said that it is done with it. So no byte of a body, and
// nothing that net/http has begun to read, is ever taken for a request. Bodies come
// with their length or, as docker sends them, in chunks, which it follows.

// A stage is where a connection stands between requests.
type stage uint8

const (
	fresh   stage = iota // nothing was read
	within               // net/http has a request, not all of its body
	ended                // net/http has a request, and all of it
	begun                // it has the first byte of the next one, too
	between              // the next byte begins a request, and net/http waits for it
	behind               // net/http has the first byte of a request, and waits for the rest
	blind                // nobody but net/http can tell
)

// A direct is what the conns of a server need to answer by themselves.
type direct struct {
	handler http.Handler
	header  time.Duration // for the header of a request
	idle    time.Duration // between two requests
	limit   *limiter
	running *atomic.Int64
	parcels *sync.Pool
	scraps  *scraps
	dates   dates
}

// turns is how far a conn is with its requests. It belongs to whoever reads.
type turns struct {
	stage  stage
	left   int64  // of a body that has a length, while within
	chunks chunks // one that has none
	early  byte   // the first of a request, while begun or behind
	head   head

	// set when the connection begins
	ctx context.Context // of all requests: it belongs to the connection
	far farEnd
}

// A farEnd is the other end of a connection.
type farEnd struct {
	remote string // with its port
	addr   netip.Addr
	text   string // of addr
}

// newFarEnd reads what an http.Request has as RemoteAddr.
func newFarEnd(remote string) farEnd {
	c := farEnd{remote: remote}
	if ap, err := netip.ParseAddrPort(remote); err == nil { // else it is a unix socket
		c.addr = ap.Addr().Unmap().WithZone("")
		c.text = c.addr.String()
	}
	return c
}

// farEndOf returns who is connected. A request that has passed through no conn of
// ours, or was given another address, is read.
func farEndOf(r *http.Request) farEnd {
	if c, ok := r.Context().Value(connKey{}).(*conn); ok && c != nil && c.turns.far.remote == r.RemoteAddr {
		return c.turns.far
	}
	return newFarEnd(r.RemoteAddr)
}

// receive reads for net/http, and answers what it can.
func (c *conn) receive(p []byte) (int, error) {
	t := &c.turns
	switch {
	case c.direct == nil || t.stage == blind:
		return c.read(p)
	case t.stage == within && t.head.chunked:
		n, err := c.read(p)
		t.follow(p[:n])
		return n, err
	case t.stage == within:
		n, err := c.read(p[:min(int64(len(p)), t.left)])
		t.left -= int64(n)
		if t.left == 0 {
			t.stage = ended
		}
		return n, err
	case t.stage == ended: // net/http looks whether the client is still there
		if !c.park() {
			return 0, os.ErrDeadlineExceeded
		}
		n, err := c.read(p)
		if n > 0 {
			t.stage = blind
		}
		if n == 1 && len(p) == 1 {
			t.stage, t.early = begun, p[0]
		}
		return n, err
	case t.stage == begun: // net/http is not done with the one before
		t.stage = blind
		return c.read(p)
	case t.stage == behind:
		return c.receiveRest(p)
	}
	return c.receiveHead(p)
}

// receiveHead reads where a request begins. It returns what net/http is to read.
func (c *conn) receiveHead(p []byte) (n int, err error) {
	t := &c.turns
	for {
		if n == 0 {
			if n, err = c.read(p); n == 0 {
				return 0, err
			}
		}
		for err == nil && n < len(p) && isUnfinished(p[:n]) {
			var more int
			more, err = c.readOn(p[n:])
			n += more
		}
		if err != nil || !t.head.read(p[:n]) {
			t.stage = blind
			return n, nil // who reads on gets the error, too
		}
		var r *http.Request
		var w *reply
		size := t.head.size
		if t.stage == between && !t.head.chunked && t.head.length <= int64(n-size) {
			size += int(t.head.length)
			r, w = c.request(p[t.head.size:size])
		}
		if r == nil {
			t.hand(p[:n])
			return n, nil
		}
		n = copy(p, p[size:n])
		more, err := c.answer(w, r, p[n:])
		if n += more; err != nil {
			return 0, err
		}
	}
}

// receiveRest reads where a request goes on of which net/http has the first byte: the
// client was answered, and sent it, before net/http had ceased to look for one that
// leaves. net/http has the whole request, and what comes behind is seen again.
func (c *conn) receiveRest(p []byte) (n int, err error) {
	t := &c.turns
	if n, err = c.read(p); n == 0 {
		return 0, err
	}
	text := append([]byte{t.early}, p[:n]...)
	for err == nil && n < len(p) && isUnfinished(text) {
		var more int
		more, err = c.readOn(p[n:])
		text = append(text, p[n:n+more]...)
		n += more
	}
	if err != nil || !t.head.read(text) {
		t.stage = blind
		return n, nil // who reads on gets the error, too
	}
	t.hand(text)
	return n, nil
}

// readOn reads more of a head, for which there is as much time as net/http gives.
func (c *conn) readOn(p []byte) (int, error) {
	if c.turns.stage != fresh {
		if err := c.SetReadDeadline(time.Now().Add(c.direct.header)); err != nil {
			return 0, err
		}
	}
	return c.read(p)
}

// hand notes that net/http gets p, which begins with the head.
func (t *turns) hand(p []byte) {
	if t.head.chunked {
		t.stage, t.chunks = within, chunks{}
		t.follow(p[t.head.size:])
		return
	}
	t.left = int64(t.head.size) + t.head.length - int64(len(p))
	switch {
	case t.left > 0:
		t.stage = within
	case t.left == 0:
		t.stage = ended
	default: // it has the beginning of the next one, too
		t.stage = blind
	}
}

// follow notes that net/http gets p of a body in chunks.
func (t *turns) follow(p []byte) {
	n, ok := t.chunks.follow(p)
	switch {
	case !ok || n < len(p): // only net/http can tell; or it has the beginning of the next one, too
		t.stage = blind
	case t.chunks.at == chunksOver:
		t.stage = ended
	}
}

// rest notes that net/http is done with a request, and waits for the next.
func (t *turns) rest() {
	switch t.stage {
	case ended:
		t.stage = between
	case begun:
		t.stage = behind
	case blind: // others may be reading, of HTTP/2
	default:
		t.stage = blind // we don't agree
	}
}

// An exchange is what one request takes, in one piece.
type exchange struct {
	reply reply
	ctx   requestContext
	url   url.URL
	body  wholeBody
}

// A wholeBody is a body that has come.
type wholeBody struct{ bytes.Reader }

// Close implements io.Closer.
func (*wholeBody) Close() error { return nil }

// request makes a request of the head and a body, which it copies; nil if only net/http
// can say what is wrong with it.
func (c *conn) request(body []byte) (*http.Request, *reply) {
	h := &c.turns.head
	e := &exchange{}
	u, target, err := h.url(&e.url)
	if err != nil {
		return nil, nil
	}
	e.ctx.Context = c.turns.ctx
	e.reply = reply{c: c, ctx: &e.ctx, isHead: h.method == http.MethodHead, length: -1}
	r := new(http.Request).WithContext(&e.ctx)
	r.ContentLength = h.length
	r.Method, r.URL, r.Proto, r.ProtoMajor, r.ProtoMinor = h.method, u, "HTTP/1.1", 1, 1
	r.Header, r.Body, r.Host, r.RemoteAddr, r.RequestURI = h.header, http.NoBody, h.host, c.turns.far.remote, target
	if len(body) > 0 {
		e.body.Reset(bytes.Clone(body))
		r.Body = &e.body
	}
	return r, &e.reply
}

// answer has the handler answer r, and sends what it has said. What comes meanwhile
// is read into ahead, and the number of its bytes returned. The error is the end of
// the connection. A handler that panics does so in net/http's hands, which close it.
func (c *conn) answer(w *reply, r *http.Request, ahead []byte) (n int, err error) {
	d := c.direct
	d.running.Add(1)
	defer d.running.Add(-1)
	d.limit.begin(c)
	c.watch.begin(w.ctx, ahead)
	c.parcel.open(d.parcels)
	w.header = d.scraps.headers.Get().(http.Header)
	goesOn := false
	defer func() {
		w.ctx.end()
		c.dropHeld()
		n, err = c.watch.end(c)
		if !d.limit.end(c) && err == nil && goesOn {
			err = c.SetReadDeadline(time.Now().Add(d.idle))
		} else if err == nil {
			err = io.EOF
		}
	}()
	d.handler.ServeHTTP(w, r)
	w.ctx.end()
	goesOn = w.finish()
	return 0, nil
}

// A watch reads on while a request takes long, since nothing else tells that its
// client has left.
type watch struct {
	mu    sync.Mutex
	ctx   *requestContext // nil without a request
	ahead []byte
	n     int
	err   error
	done  chan struct{} // closed when the reading has ended; nil if it has not begun
}

func (w *watch) begin(ctx *requestContext, ahead []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ctx, w.ahead, w.n, w.err, w.done = ctx, ahead, 0, nil, nil
}

// start begins to read, if a request is being answered and nobody reads yet.
func (w *watch) start(c *conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ctx == nil || w.done != nil || len(w.ahead) == 0 {
		return
	}
	w.done = make(chan struct{})
	if w.err = c.SetReadDeadline(time.Time{}); w.err != nil {
		close(w.done)
		return
	}
	go func(ctx *requestContext) {
		defer close(w.done)
		w.n, w.err = c.read(w.ahead)
		if w.err != nil && !errors.Is(w.err, os.ErrDeadlineExceeded) {
			ctx.end()
		}
	}(w.ctx)
}

// end ends the reading, and returns what came of it.
func (w *watch) end(c *conn) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ctx = nil
	if w.done == nil {
		return 0, nil
	}
	_ = c.SetReadDeadline(time.Unix(1, 0)) // a connection that is closed ends it, too
	<-w.done
	if errors.Is(w.err, os.ErrDeadlineExceeded) {
		return w.n, nil
	}
	return w.n, w.err
}

// Close closes the connection and gives its place back. While it is being answered
// on, whoever closes it takes it for idle, and means that nothing more is to come.
func (c *conn) Close() error {
	if c.direct != nil && c.direct.limit.endsLater(c) {
		return nil
	}
	return c.abandon()
}

// abandon closes the connection, whatever it is doing.
func (c *conn) abandon() error {
	err := c.Conn.Close()
	c.reads.hurry()
	c.closing.Do(c.release)
	return err
}

// newTurns prepares c for the requests of a connection.
func (c *conn) newTurns(ctx context.Context) {
	ctx = context.WithValue(ctx, http.LocalAddrContextKey, c.LocalAddr())
	ctx, end := context.WithCancel(ctx)
	release := c.release
	c.release = func() { end(); release() }
	c.turns.ctx = ctx
	c.turns.far = newFarEnd(c.RemoteAddr().String())
}

var _ net.Conn = (*conn)(nil)
