package listen

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// TestShutdownFinishesTransfers stops a server in the middle of a download that
// then goes on, and looks at the order of things.
func TestShutdownFinishesTransfers(t *testing.T) {
	certs, tc := selfSigned(t)
	for _, o := range []ServerOptions{{}, {TLS: tlsConfig(t, certs)}} {
		goOn, before := make(chan struct{}), make(chan struct{})
		o.ShutdownGrace = 20 * time.Second
		o.Settle = 50 * time.Millisecond
		o.BeforeShutdown = func() { close(before) }
		s := serve(t, o, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/health" {
				return
			}
			_, _ = io.WriteString(w, "first")
			_ = http.NewResponseController(w).Flush()
			<-goOn
			if err := r.Context().Err(); err != nil {
				t.Errorf("the context of a running request ended: %v", err)
			}
			_, _ = io.WriteString(w, "second")
		})
		url := "http://" + s.addr
		if o.TLS != nil {
			url = "https://" + s.addr
		}
		resp, err := client(t, tc).Get(url)
		if err != nil {
			t.Fatal(err)
		}
		s.stop()
		<-before
		// A load balancer still asks, and is told, while readiness fails.
		if health, err := client(t, tc).Get(url + "/health"); err != nil {
			t.Errorf("while settling: %v", err)
		} else {
			_ = health.Body.Close()
		}
		waitRefused(t, s.addr)
		close(goOn)
		if b, err := io.ReadAll(resp.Body); string(b) != "firstsecond" || err != nil {
			t.Errorf("%s: got %q and %v, want the whole answer", resp.Proto, b, err)
		}
		_ = resp.Body.Close()
		if err := <-s.done; err != nil {
			t.Errorf("%s: Serve: %v", resp.Proto, err)
		}
	}
}

// waitRefused waits until nobody accepts connections at addr any more.
func waitRefused(t *testing.T, addr string) {
	t.Helper()
	for range 1000 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		_ = c.Close()
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("the server still accepts connections")
}

func TestShutdownCutsWhatDoesNotEnd(t *testing.T) {
	started, cleaned := make(chan struct{}, 2), make(chan error, 2)
	s := serve(t, ServerOptions{ShutdownGrace: 50 * time.Millisecond}, func(_ http.ResponseWriter, r *http.Request) {
		started <- struct{}{}
		<-r.Context().Done()
		cleaned <- context.Cause(r.Context())
	})
	for range 2 {
		go func() {
			if resp, err := http.Get("http://" + s.addr); err == nil {
				_ = resp.Body.Close()
			}
		}()
	}
	<-started
	<-started
	s.stop()
	cut, ok := errors.AsType[*CutError](<-s.done)
	if !ok || cut.Requests != 2 {
		t.Errorf("got %v, want two requests cut", cut)
	}
	// Serve has waited for the handlers.
	for range 2 {
		select {
		case err := <-cleaned:
			if !errors.Is(err, ErrShutdown) {
				t.Errorf("cause: got %v, want %v", err, ErrShutdown)
			}
		default:
			t.Fatal("Serve returned before a handler that cleans up")
		}
	}
}

func TestServeFailsWithItsListener(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	err = NewServer(ServerOptions{}, http.HandlerFunc(hello)).Serve(t.Context(), l, other)
	if !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v, want %v", err, net.ErrClosed)
	}
	if c, err := net.Dial("tcp", other.Addr().String()); err == nil {
		_ = c.Close()
		t.Error("the other listener is still open")
	}
}
