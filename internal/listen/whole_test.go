package listen

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// A countingListener counts the writes of its connections. What goes out by
// writev is none of them.
type countingListener struct {
	net.Listener
	writes *atomic.Int64
}

func (l countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return countingConn{c.(*net.TCPConn), l.writes}, nil
}

type countingConn struct {
	*net.TCPConn
	writes *atomic.Int64
}

func (c countingConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.TCPConn.Write(p)
}

// serveCounted is serve, and counts.
func serveCounted(t *testing.T, o ServerOptions, h http.HandlerFunc) (addr string, writes *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	writes = &atomic.Int64{}
	ctx, cancel := context.WithCancel(context.Background())
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		_ = NewServer(o, h).Serve(ctx, countingListener{l, writes})
	}()
	t.Cleanup(func() { cancel(); <-finished })
	return l.Addr().String(), writes
}

// textOf is a body of n bytes.
func textOf(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('a' + (i+i>>8+n)%26)
	}
	return b
}

// answersWith writes a body of as many bytes as the path says.
func answersWith(w http.ResponseWriter, r *http.Request) {
	n, _ := strconv.Atoi(r.URL.Path[1:])
	if r.URL.RawQuery != "chunked" {
		w.Header().Set("Content-Length", strconv.Itoa(n))
	}
	_, _ = w.Write(textOf(n))
}

// ask sends a request on c and returns the body of the answer.
func ask(c net.Conn, r *bufio.Reader, method, target string) ([]byte, error) {
	if _, err := fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: x\r\n\r\n", method, target); err != nil {
		return nil, err
	}
	a, err := http.ReadResponse(r, &http.Request{Method: method})
	if err != nil {
		return nil, err
	}
	defer a.Body.Close()
	return io.ReadAll(a.Body)
}

// TestAnswersInOnePiece holds how many writes answers take, by their size. One
// connection is asked for all of them, so that what one leaves behind is seen in
// the next.
func TestAnswersInOnePiece(t *testing.T) {
	certs, tc := selfSigned(t)
	tc.NextProtos = []string{"http/1.1"}
	secure := func(addr string) net.Conn {
		c := tls.Client(dial(t, addr), tc.Clone())
		return c
	}
	for name, o := range map[string]ServerOptions{"plain": {}, "tls": {TLS: tlsConfig(t, certs)}} {
		t.Run(name, func(t *testing.T) {
			addr, writes := serveCounted(t, o, answersWith)
			connect := func(addr string) net.Conn { return dial(t, addr) }
			if o.TLS != nil {
				connect = secure
				tc.ServerName = "127.0.0.1"
			}
			c := connect(addr)
			r := bufio.NewReader(c)
			for _, q := range []struct {
				method, target string
				size           int
				atMost         int64
			}{
				{"GET", "/10", 10, 9}, // under TLS it comes with the end of the handshake
				{"GET", "/0", 0, 1},
				{"GET", "/100", 100, 1},
				{"GET", "/4096", 4096, 1},
				{"HEAD", "/4096", 0, 1},
				{"GET", "/7000", 7000, 1},
				{"GET", "/3000?chunked", 3000, 1},
				{"GET", "/1000", 1000, 1},
			} {
				before := writes.Load()
				b, err := ask(c, r, q.method, q.target)
				if err != nil || !bytes.Equal(b, textOf(q.size)) && q.size > 0 {
					t.Fatalf("%s %s: got %d bytes and error %v, want %d", q.method, q.target, len(b), err, q.size)
				}
				if got := writes.Load() - before; got > q.atMost {
					t.Errorf("%s %s: got %d writes, want at most %d", q.method, q.target, got, q.atMost)
				}
			}
			if o.TLS != nil {
				return // its records are written one by one
			}
			for _, size := range []int{9000, 65536, 1 << 20, 5} {
				before := writes.Load()
				b, err := ask(c, r, "GET", fmt.Sprintf("/%d", size))
				if err != nil || !bytes.Equal(b, textOf(size)) {
					t.Fatalf("%d: got %d bytes and error %v", size, len(b), err)
				}
				want := int64(0) // all by one writev
				if size < heldBytes/2 {
					want = 1
				}
				if got := writes.Load() - before; got != want {
					t.Errorf("%d bytes: got %d writes beside writev, want %d", size, got, want)
				}
			}
		})
	}
}

// TestFlushIsNotHeldBack has a handler that waits, in the middle of its answer,
// for the client to have got the beginning.
func TestFlushIsNotHeldBack(t *testing.T) {
	got := make(chan struct{})
	s := serve(t, ServerOptions{}, func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(textOf(5000))
		if r.URL.Path == "/controller" {
			_ = http.NewResponseController(w).Flush()
		} else {
			w.(http.Flusher).Flush()
		}
		<-got
		_, _ = w.Write(textOf(100))
	})
	for _, path := range []string{"/controller", "/flusher"} {
		c := dial(t, s.addr)
		if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path); err != nil {
			t.Fatal(err)
		}
		a, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		first := make([]byte, 5000)
		if _, err := io.ReadFull(a.Body, first); err != nil || !bytes.Equal(first, textOf(5000)) {
			t.Fatalf("%s: the first part did not come: %v", path, err)
		}
		got <- struct{}{}
		if rest, err := io.ReadAll(a.Body); err != nil || !bytes.Equal(rest, textOf(100)) {
			t.Errorf("%s: got %d bytes more and error %v", path, len(rest), err)
		}
	}
}

// TestContinueIsNotHeldBack has a client that waits to be told to go on.
func TestContinueIsNotHeldBack(t *testing.T) {
	s := serve(t, ServerOptions{}, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	c := dial(t, s.addr)
	if _, err := io.WriteString(c, "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(io.LimitReader(c, 25)).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "HTTP/1.1 100") {
		t.Fatalf("got %q, %v, want a 100", line, err)
	}
	if _, err := io.WriteString(c, "hello"); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(c); err != nil || !strings.HasSuffix(string(b), "hello") {
		t.Errorf("got %q, %v", b, err)
	}
}

// TestAbortedAnswer holds that nothing of an answer that was given up comes out
// later, as the beginning of another one.
func TestAbortedAnswer(t *testing.T) {
	s := serve(t, ServerOptions{}, func(w http.ResponseWriter, r *http.Request) {
		answersWith(w, r)
		if r.URL.RawQuery == "abort" {
			panic(http.ErrAbortHandler)
		}
	})
	for range 20 {
		got := talk(t, s.addr, "GET /6000?abort HTTP/1.1\r\nHost: x\r\n\r\n")
		if strings.Count(got, "HTTP/1.1 ") > 1 || len(got) > 6000 {
			t.Fatalf("got %d bytes of an aborted answer: %.100q", len(got), got)
		}
		got = talk(t, s.addr, "GET /6000 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		if !strings.HasSuffix(got, "\r\n\r\n"+string(textOf(6000))) {
			t.Fatalf("the answer after an aborted one has %d bytes: %.100q", len(got), got)
		}
	}
}

// TestAnswersConcurrently has many clients ask for bodies that differ, over the
// buffers that they share.
func TestAnswersConcurrently(t *testing.T) {
	s := serve(t, ServerOptions{}, answersWith)
	sizes := []int{1, 500, 3000, 4096, 5000, 9000, 70_000}
	var wg sync.WaitGroup
	for k := range 8 {
		wg.Go(func() {
			c, err := net.Dial("tcp", s.addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			r := bufio.NewReader(c)
			for i := range 100 {
				size := sizes[(i+k)%len(sizes)] + k
				b, err := ask(c, r, "GET", fmt.Sprintf("/%d", size))
				if err != nil || !bytes.Equal(b, textOf(size)) {
					t.Errorf("client %d: got %d bytes and error %v, want %d", k, len(b), err, size)
					return
				}
			}
		})
	}
	wg.Wait()
}

// TestStreamsConcurrently sends files over TLS to many at once, through buffers that
// are used again.
func TestStreamsConcurrently(t *testing.T) {
	t.Run("HTTP/1", func(t *testing.T) { streamsConcurrently(t, ServerOptions{HTTP1: true}, 1) })
	t.Run("HTTP/2", func(t *testing.T) { streamsConcurrently(t, ServerOptions{}, 2) })
}

func streamsConcurrently(t *testing.T, o ServerOptions, proto int) {
	const size = 300_000
	dir := t.TempDir()
	for k := range 4 {
		if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(k)), textOf(size+k), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	certs, tc := selfSigned(t)
	o.TLS = tlsConfig(t, certs)
	s := serve(t, o, func(w http.ResponseWriter, r *http.Request) {
		f, err := os.Open(filepath.Join(dir, filepath.Base(r.URL.Path)))
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		if n, err := w.(io.ReaderFrom).ReadFrom(io.LimitReader(f, 2*size)); err != nil || n < size {
			t.Errorf("sent %d bytes, %v", n, err)
		}
	})
	c := client(t, tc)
	var wg sync.WaitGroup
	for k := range 4 {
		wg.Go(func() {
			for range 10 {
				a, err := c.Get("https://" + s.addr + "/" + strconv.Itoa(k))
				if err != nil {
					t.Error(err)
					return
				}
				b, err := io.ReadAll(a.Body)
				a.Body.Close()
				if err != nil || a.ProtoMajor != proto || !bytes.Equal(b, textOf(size+k)) {
					t.Errorf("%d over %s: got %d bytes and error %v", k, a.Proto, len(b), err)
				}
			}
		})
	}
	wg.Wait()
}
