package listen

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	aGet   = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
	aPut   = "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 41\r\n\r\nGET /evil HTTP/1.1\r\nHost: x\r\n\r\n0123456789"
	aChunk = chunked + "3\r\nabc\r\n1F\r\nGET /evil HTTP/1.1\r\nHost: x\r\n\r\n\r\n0\r\n\r\n"

	chunked  = "PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
	oddChunk = chunked + "3;a=b\r\nabc\r\n0\r\n\r\n"
	anOld    = "GET / HTTP/1.0\r\nConnection: keep-alive\r\nHost: x\r\n\r\n"
	theEnd   = "GET /end HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
)

// aLong does not fit into what net/http reads at once.
var aLong = "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 4600\r\n\r\n" + strings.Repeat("GET /evil HTTP/1.1\r\nHost: x\r\n\r\n0123456789     ", 100)

// send sends a request and returns the body of its answer.
func send(t *testing.T, c net.Conn, r *bufio.Reader, request string) string {
	t.Helper()
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	a, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestDirect holds which requests the conn answers by itself.
func TestDirect(t *testing.T) {
	s := serve(t, ServerOptions{}, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, ours := w.(*reply)
		fmt.Fprint(w, map[bool]string{true: "ours", false: "not"}[ours])
	})
	for name, tt := range map[string]struct {
		send []string
		want string
	}{
		"always but the first time": {[]string{aGet, aGet, aGet}, "not ours ours"},
		"behind a body":             {[]string{aGet, aPut, aGet, aPut, aPut, aGet}, "not ours ours ours ours ours"},
		"behind a long body":        {[]string{aGet, aLong, aGet, aLong, aLong, aGet, aPut}, "not not ours not not ours ours"},
		"behind a body, first":      {[]string{aPut, aGet}, "not ours"},
		"behind chunks":             {[]string{aGet, aGet, aChunk, aGet, aGet}, "not ours not ours ours"},
		"behind chunks, first":      {[]string{aChunk, aGet, aLong, aChunk, aPut}, "not ours not not ours"},
		"behind odd chunks":         {[]string{aGet, oddChunk, aGet, aGet}, "not not not not"},
		"behind an older version":   {[]string{aGet, anOld, aGet}, "not not not"},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, s.addr)
			r := bufio.NewReader(c)
			var got []string
			for _, request := range tt.send {
				got = append(got, send(t, c, r, request))
			}
			if got := strings.Join(got, " "); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// A pipeListener has connections within the process: what is written to one of them
// has been read when the write returns.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (l pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l pipeListener) Close() error   { close(l.closed); return nil }
func (l pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

// TestSplit sends requests in two pieces, divided anywhere, and has the answers be
// those of net/http alone. What is in a body must not be taken for a request, nor
// what stands behind something that net/http has read a part of.
func TestSplit(t *testing.T) {
	reads := func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %q %v", r.Method, r.RequestURI, body, err)
		for _, key := range slices.Sorted(maps.Keys(r.Header)) {
			fmt.Fprint(w, key, r.Header[key])
		}
	}
	leaves := func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Method, r.RequestURI) }
	for name, script := range map[string]string{
		"requests":        aGet + "DELETE /a HTTP/1.1\r\nHost: x\r\nAccept: b\r\n\r\n" + aGet + theEnd,
		"bodies":          aGet + aPut + aGet + aPut + aPut + aGet + theEnd,
		"a long body":     aGet + aPut + aLong + aPut + aGet + theEnd,
		"chunks":          aGet + aGet + aChunk + aGet + aPut + theEnd,
		"many chunks":     aChunk + aGet + aChunk + aChunk + aGet + aPut + aChunk + theEnd,
		"only chunks":     aChunk + aChunk + theEnd,
		"no chunks":       aGet + chunked + "0\r\n\r\n" + aGet + theEnd,
		"odd chunks":      aGet + oddChunk + aGet + theEnd,
		"a trailer":       aGet + chunked + "3\r\nabc\r\n0\r\nA: b\r\n\r\n" + aGet + theEnd,
		"a wrong chunk":   aGet + chunked + "2\r\nabc\r\n0\r\n\r\n" + aGet + theEnd,
		"a wrong line":    aGet + chunked + "3\nabc\r\n0\r\n\r\n" + aGet + theEnd,
		"a large chunk":   aGet + chunked + "fffffffffffffffff\r\nabc" + aGet + theEnd,
		"nonsense":        aGet + aGet + "X" + aGet + theEnd,
		"a line too much": aGet + aPut + "\r\n" + aGet + theEnd,
		"a length twice":  aGet + aGet + "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n12" + theEnd,
		"both lengths":    aGet + aGet + "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + theEnd,
	} {
		t.Run(name, func(t *testing.T) {
			for _, h := range []http.HandlerFunc{reads, leaves} {
				plain := pipeListener{make(chan net.Conn), make(chan struct{})}
				server := http.Server{Handler: h}
				go server.Serve(plain)
				ours := pipeListener{make(chan net.Conn), make(chan struct{})}
				ctx, stop := context.WithCancel(context.Background())
				done := make(chan error, 1)
				go func() { done <- NewServer(ServerOptions{}, h).Serve(ctx, ours) }()
				step := 1
				if testing.Short() {
					step = 7
				}
				for at := 0; at < len(script); at += step {
					want, got := split(plain, script, at), split(ours, script, at)
					if got != want {
						t.Fatalf("divided behind %q: got\n%s\nwant\n%s", script[:at], got, want)
					}
				}
				stop()
				<-done
				server.Close()
			}
		})
	}
}

// split sends a text in two pieces and returns the answers without what differs from
// one moment to the next.
func split(l pipeListener, text string, at int) string {
	near, far := net.Pipe()
	defer near.Close()
	l.conns <- far
	go func() {
		io.WriteString(near, text[:at])
		io.WriteString(near, text[at:])
	}()
	var b strings.Builder
	for r := bufio.NewReader(near); ; {
		a, err := http.ReadResponse(r, nil)
		if err != nil {
			return b.String()
		}
		body, err := io.ReadAll(a.Body)
		fmt.Fprintf(&b, "%s %v %v %q %v\n", a.Status, a.Close, a.ContentLength, body, err)
	}
}

// TestSlowHead holds that a head that comes in pieces is as good as any, and that
// there is a time in which it must come.
func TestSlowHead(t *testing.T) {
	var ours []bool
	s := serve(t, ServerOptions{}, func(w http.ResponseWriter, _ *http.Request) {
		_, is := w.(*reply)
		ours = append(ours, is)
	})
	c := dial(t, s.addr)
	r := bufio.NewReader(c)
	for range 3 {
		for _, b := range []byte(aGet[:len(aGet)-1]) {
			c.Write([]byte{b})
		}
		send(t, c, r, aGet[len(aGet)-1:])
	}
	if want := []bool{false, true, true}; !slices.Equal(ours, want) {
		t.Errorf("got %v, want %v", ours, want)
	}
	for before := range 3 {
		s := serve(t, ServerOptions{ReadHeaderTimeout: 50 * time.Millisecond}, waiting(nil))
		_, r := begin(t, s.addr, aGet[:20], before)
		// net/http takes the end for that of a line, and says that it is a bad one.
		if all, err := io.ReadAll(r); err != nil || strings.Contains(string(all), "200 OK") {
			t.Errorf("behind %d requests: got %q, %v", before, all, err)
		}
	}
}

// waiting is a handler that answers at once, but what asks for /wait when wait returns.
func waiting(wait func(http.ResponseWriter, *http.Request)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/wait" {
			wait(w, r)
		}
		_, _ = io.WriteString(w, r.Method+" is done")
	}
}

// eachWait runs a test on a connection on which a request has just been sent that
// waits: one that net/http has, with and without a body, and one that the conn has.
func eachWait(t *testing.T, test func(t *testing.T, request string, before int)) {
	for before := range 3 {
		for _, request := range []string{aGet, aPut} {
			t.Run(fmt.Sprint(request[:3], " behind ", before), func(t *testing.T) {
				test(t, strings.Replace(request, " / ", " /wait ", 1), before)
			})
		}
	}
}

// begin makes a connection with a request that waits.
func begin(t *testing.T, addr, request string, before int) (net.Conn, *bufio.Reader) {
	t.Helper()
	c := dial(t, addr)
	r := bufio.NewReader(c)
	for range before {
		send(t, c, r, aGet)
	}
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	return c, r
}

// waitUntil waits for a condition.
func waitUntil(t *testing.T, what string, is func() bool) {
	t.Helper()
	for range 2000 {
		if is() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("it never came to that: " + what)
}

// TestClientLeaves holds that a handler learns that its client has left.
func TestClientLeaves(t *testing.T) {
	eachWait(t, func(t *testing.T, request string, before int) {
		started, left := make(chan struct{}), make(chan error)
		s := serve(t, ServerOptions{}, waiting(func(_ http.ResponseWriter, r *http.Request) {
			close(started)
			<-r.Context().Done()
			left <- context.Cause(r.Context())
		}))
		c, _ := begin(t, s.addr, request, before)
		<-started
		c.Close()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

// TestClientGoesOn holds that what a client sends while it waits is its next request,
// however long it waits, and does not end the first one.
func TestClientGoesOn(t *testing.T) {
	eachWait(t, func(t *testing.T, request string, before int) {
		for next, want := range map[string]string{
			aGet: " GET GET", aGet + aGet[:10]: " GET GET GET", aPut + aGet: " PUT GET GET", aChunk: " PUT GET", "X" + aGet: " XGET GET",
		} {
			started, goOn := make(chan *http.Request), make(chan struct{})
			s := serve(t, ServerOptions{}, waiting(func(_ http.ResponseWriter, r *http.Request) {
				started <- r
				<-goOn
			}))
			c, r := begin(t, s.addr, request, before)
			waits := <-started
			if _, err := io.WriteString(c, next); err != nil {
				t.Fatal(err)
			}
			ours := waits.Context().Value(connKey{}).(*conn)
			waitUntil(t, "somebody looks whether the client is there", func() bool {
				ours.direct.limit.mu.Lock()
				defer ours.direct.limit.mu.Unlock()
				return ours.place.in == &ours.direct.limit.slow
			})
			if err := waits.Context().Err(); err != nil {
				t.Errorf("%.20q: the request before was ended: %v", next, err)
			}
			close(goOn)
			rest := theEnd
			if strings.HasSuffix(next, aGet[:10]) {
				rest = aGet[10:] + theEnd
			}
			if _, err := io.WriteString(c, rest); err != nil {
				t.Fatal(err)
			}
			all, err := io.ReadAll(r)
			got := ""
			for _, answer := range strings.SplitAfter(string(all), " is done") {
				if method, ok := strings.CutSuffix(answer, " is done"); ok {
					got += " " + method[strings.LastIndexByte(method, '\n')+1:]
				}
			}
			if want = " " + request[:3] + want; got != want || err != nil {
				t.Errorf("%.20q: got answers to%s and %v, want%s:\n%s", next, got, err, want, all)
			}
		}
	})
}

// TestDirectAgain holds that the conn answers again behind a request of which net/http
// read the first byte too early.
func TestDirectAgain(t *testing.T) {
	for _, next := range []string{aGet, aPut, aChunk} {
		started, goOn := make(chan *http.Request), make(chan struct{})
		s := serve(t, ServerOptions{}, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			if r.URL.Path == "/wait" {
				started <- r
				<-goOn
			}
			_, ours := w.(*reply)
			fmt.Fprint(w, map[bool]string{true: "ours", false: "not"}[ours])
		})
		c, r := begin(t, s.addr, strings.Replace(aPut, " / ", " /wait ", 1), 0)
		waits := (<-started).Context().Value(connKey{}).(*conn)
		waitUntil(t, "somebody looks whether the client is there", func() bool {
			waits.reads.mu.Lock()
			defer waits.reads.mu.Unlock()
			return waits.reads.reading
		})
		if _, err := io.WriteString(c, next); err != nil {
			t.Fatal(err)
		}
		waitUntil(t, "the first byte is read", func() bool {
			waits.reads.mu.Lock()
			defer waits.reads.mu.Unlock()
			return !waits.reads.reading
		})
		close(goOn)
		var got []string
		for _, request := range []string{"", "", aGet, aGet} {
			got = append(got, send(t, c, r, request))
		}
		if want := "not not ours ours"; strings.Join(got, " ") != want {
			t.Errorf("%.5q: got %s, want %s", next, got, want)
		}
	}
}

// TestShutdownWaits holds that a shutdown waits for an answer, whoever gives it, and
// that the connection ends with it.
func TestShutdownWaits(t *testing.T) {
	eachWait(t, func(t *testing.T, request string, before int) {
		started, goOn := make(chan http.ResponseWriter), make(chan struct{})
		s := serve(t, ServerOptions{ShutdownGrace: 20 * time.Second}, waiting(func(w http.ResponseWriter, r *http.Request) {
			started <- w
			<-goOn
			if err := r.Context().Err(); err != nil {
				t.Errorf("the context of a running request ended: %v", err)
			}
		}))
		_, r := begin(t, s.addr, request, before)
		w := <-started
		s.stop()
		waitRefused(t, s.addr)
		if w, ok := w.(*reply); ok {
			waitUntil(t, "the connection is to end", w.c.ending.Load)
		}
		select {
		case err := <-s.done:
			t.Errorf("the server ended before its request, with %v", err)
		default:
		}
		close(goOn)
		all, err := io.ReadAll(r)
		if err != nil || !strings.HasSuffix(string(all), " is done") || !strings.Contains(string(all), "\r\nConnection: close\r\n") {
			t.Errorf("got %q and %v", all, err)
		}
		if err := <-s.done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

// TestShutdownCuts holds that one that takes too long is cut, and told so.
func TestShutdownCuts(t *testing.T) {
	eachWait(t, func(t *testing.T, request string, before int) {
		started, cause := make(chan struct{}), make(chan error, 1)
		s := serve(t, ServerOptions{ShutdownGrace: 50 * time.Millisecond}, waiting(func(_ http.ResponseWriter, r *http.Request) {
			close(started)
			<-r.Context().Done()
			cause <- context.Cause(r.Context())
		}))
		begin(t, s.addr, request, before)
		<-started
		s.stop()
		if cut, ok := errors.AsType[*CutError](<-s.done); !ok || cut.Requests != 1 {
			t.Errorf("got %v, want one request cut", cut)
		}
		if err := <-cause; !errors.Is(err, ErrShutdown) {
			t.Errorf("cause: got %v, want %v", err, ErrShutdown)
		}
	})
}

// TestIdleEnds holds that connections end that idle too long, or whose place somebody
// needs, whoever gave the last answer.
func TestIdleEnds(t *testing.T) {
	for before := range 3 {
		s := serve(t, ServerOptions{IdleTimeout: 50 * time.Millisecond}, waiting(nil))
		if all, err := io.ReadAll(connected(t, s.addr, before+1)); err != nil {
			t.Errorf("%d requests, idle: got %q, %v", before+1, all, err)
		}
		s = serve(t, ServerOptions{MaxConns: 1}, waiting(nil))
		first := connected(t, s.addr, before+1)
		connected(t, s.addr, 1)
		if all, err := io.ReadAll(first); err != nil {
			t.Errorf("%d requests, crowded: got %q, %v", before+1, all, err)
		}
	}
}

// connected makes a connection on which some requests were answered.
func connected(t *testing.T, addr string, requests int) io.Reader {
	c := dial(t, addr)
	r := bufio.NewReader(c)
	for range requests {
		send(t, c, r, aGet)
	}
	return r
}

// TestPanics holds that a handler that panics ends its connection and nothing else.
func TestPanics(t *testing.T) {
	s := serve(t, ServerOptions{}, waiting(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half")
		panic("as it may")
	}))
	eachWait(t, func(t *testing.T, request string, before int) {
		_, r := begin(t, s.addr, request, before)
		if all, err := io.ReadAll(r); err != nil || len(all) > 0 {
			t.Errorf("got %q and %v, want nothing", all, err)
		}
	})
}
