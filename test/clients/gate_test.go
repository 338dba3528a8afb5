package clients

import (
	"io"
	"net"
	"sync"
	"testing"
)

// A gate stands between clients and a registry, and once so many bytes have
// come from the clients it does something bad, a single time.
type gate struct {
	addr    string
	tripped chan struct{} // closed when it happens
	open    func()        // ends a stall: what stood still is cut off then

	limit   int64
	onTrip  trouble
	to      string
	resumed chan struct{}

	mu     sync.Mutex
	passed int64
}

// trouble is what a gate does to a connection.
type trouble string

const (
	cuts   trouble = "the connection is reset"
	stalls trouble = "nothing gets through any more"
)

// newGate opens a gate to addr. It needs no log-in to be passed, so it is only
// on the loopback interface.
func newGate(t *testing.T, addr string, limit int64, onTrip trouble) *gate {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{addr: l.Addr().String(), tripped: make(chan struct{}), resumed: make(chan struct{}), limit: limit, onTrip: onTrip, to: addr}
	g.open = sync.OnceFunc(func() { close(g.resumed) })
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { g.carry(conn) })
		}
	})
	t.Cleanup(func() { l.Close(); g.open(); running.Wait() })
	return g
}

// carry carries one connection until either side ends it.
func (g *gate) carry(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", g.to)
	if err != nil {
		return
	}
	defer server.Close()
	back := make(chan struct{})
	go func() {
		defer close(back)
		io.Copy(client, server)
		client.(*net.TCPConn).CloseWrite()
	}()
	if g.forward(server, client) {
		server.(*net.TCPConn).CloseWrite()
	} else {
		client.(*net.TCPConn).SetLinger(0)
		client.Close()
		server.Close()
	}
	<-back
}

// forward copies until the end, which it returns true for, or until there is
// trouble.
func (g *gate) forward(server io.Writer, client io.Reader) bool {
	buf := make([]byte, 32<<10)
	for {
		n, err := client.Read(buf)
		if err != nil {
			return true
		}
		if g.trips(int64(n)) {
			return false
		}
		if _, err := server.Write(buf[:n]); err != nil {
			return true
		}
	}
}

// trips counts n bytes and reports whether the connection has to end, after
// having stood still for as long as it should.
func (g *gate) trips(n int64) bool {
	g.mu.Lock()
	before := g.passed
	g.passed += n
	first := before < g.limit && g.passed >= g.limit
	over := g.passed >= g.limit
	g.mu.Unlock()
	if first {
		close(g.tripped)
	}
	if g.onTrip == cuts {
		return first
	}
	if over {
		select {
		case <-g.resumed:
			return first // those that come later pass
		default:
			<-g.resumed
			return true
		}
	}
	return false
}
