package listen

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// connPair returns both ends of a TCP connection whose near end is a conn.
func connPair(t *testing.T, p pace) (near *conn, far *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error { return raw.Control(smallSegments) }}
	c, err := d.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far = c.(*net.TCPConn)
	a, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	near = &conn{Conn: a, pace: p, release: func() {}, copies: newCopyBuffers()}
	t.Cleanup(func() { _ = near.Close(); _ = far.Close() })
	return near, far
}

// bigFile makes a file of n bytes that repeat nowhere near.
func bigFile(t *testing.T, n int) (*os.File, []byte) {
	t.Helper()
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16)
	}
	name := filepath.Join(t.TempDir(), "blob")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f, b
}

// onlyReader hides everything but Read.
type onlyReader struct{ io.Reader }

func TestConnReadFrom(t *testing.T) {
	const size = 2*sendChunk + 17
	tests := []struct {
		name string
		src  func(f *os.File) io.Reader
		want int
	}{
		{"file", func(f *os.File) io.Reader { return f }, size},
		{"limited file", func(f *os.File) io.Reader { return io.LimitReader(f, sendChunk+1) }, sendChunk + 1},
		{"limit beyond the end", func(f *os.File) io.Reader { return io.LimitReader(f, size+100) }, size},
		{"limit of nothing", func(f *os.File) io.Reader { return io.LimitReader(f, 0) }, 0},
		{"no file", func(f *os.File) io.Reader { return onlyReader{f} }, size},
		{"limited, no file", func(f *os.File) io.Reader { return io.LimitReader(onlyReader{f}, 1000) }, 1000},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, content := bigFile(t, size)
			near, far := connPair(t, pace{stall: time.Minute, rate: 1024})
			got := make(chan []byte)
			go func() {
				b, _ := io.ReadAll(far)
				got <- b
			}()
			src := tt.src(f)
			n, err := near.ReadFrom(src)
			if err != nil || n != int64(tt.want) {
				t.Errorf("got %d bytes and error %v, want %d and none", n, err, tt.want)
			}
			if l, ok := src.(*io.LimitedReader); ok && l.N != 0 && tt.want < size {
				t.Errorf("the limit says that %d bytes are left, want 0", l.N)
			}
			_ = near.Close()
			if b := <-got; !bytes.Equal(b, content[:tt.want]) {
				t.Errorf("the peer got %d bytes that differ from the %d sent", len(b), tt.want)
			}
		})
	}
}

// writers are the ways in which an answer leaves.
func writers(f *os.File, content []byte) map[string]func(*conn) (int64, error) {
	return map[string]func(*conn) (int64, error){
		"file": func(c *conn) (int64, error) { return c.ReadFrom(f) },
		"bytes": func(c *conn) (int64, error) {
			n, err := c.Write(content)
			return int64(n), err
		},
		"bytes behind what was held back": func(c *conn) (int64, error) {
			c.parcel.open(newParcels())
			m, _ := c.Write(content[:1000]) // held back
			n, err := c.Write(content[1000:])
			return int64(m + n), err
		},
	}
}

func TestConnCutsWhoTakesNothing(t *testing.T) {
	f, content := bigFile(t, 16<<20)
	for name, write := range writers(f, content) {
		t.Run(name, func(t *testing.T) {
			near, _ := connPair(t, pace{stall: 50 * time.Millisecond, rate: 1024})
			n, err := write(near)
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("got %d bytes and error %v, want %v", n, err, os.ErrDeadlineExceeded)
			}
		})
	}
}

// TestConnKeepsWhoIsSlow has a peer that takes something in every step, while
// the kernel, which has buffered megabytes, takes nothing for several. A step
// is longer than the pauses that TCP itself makes at a window of zero.
func TestConnKeepsWhoIsSlow(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows does not tell what the peer has acknowledged")
	}
	f, content := bigFile(t, 5<<20)
	for name, write := range writers(f, content) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			near, far := connPair(t, pace{stall: 800 * time.Millisecond, rate: 1024})
			got, written := make(chan []byte), make(chan struct{})
			go func() {
				var all bytes.Buffer
				for {
					if _, err := io.CopyN(&all, far, 64<<10); err != nil {
						got <- all.Bytes()
						return
					}
					select {
					case <-written: // what is left may come at once
					case <-time.After(100 * time.Millisecond):
					}
				}
			}()
			start := time.Now()
			n, err := write(near)
			close(written)
			if err != nil || n != int64(len(content)) {
				t.Errorf("got %d bytes and error %v after %s, want %d and none", n, err, time.Since(start), len(content))
			}
			_ = near.Close()
			if b := <-got; !bytes.Equal(b, content) {
				t.Errorf("the peer got %d bytes that differ from the %d sent", len(b), len(content))
			}
		})
	}
}

func TestConnKeepsTheDeadlineOfOthers(t *testing.T) {
	_, content := bigFile(t, 16<<20)
	near, _ := connPair(t, pace{stall: time.Hour, rate: 1})
	if err := near.SetDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := near.Write(content); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("past the deadline: got %v, want %v", err, os.ErrDeadlineExceeded)
	}
	if _, err := near.Write(nil); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("again: got %v, want %v", err, os.ErrDeadlineExceeded)
	}

	// A deadline that comes while a write waits ends that write.
	near, _ = connPair(t, pace{stall: time.Hour, rate: 1})
	time.AfterFunc(50*time.Millisecond, func() { _ = near.SetWriteDeadline(time.Now()) })
	if _, err := near.Write(content); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a deadline set meanwhile: got %v, want %v", err, os.ErrDeadlineExceeded)
	}
	if err := near.SetWriteDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if err := near.arm(); err != nil {
		t.Errorf("after the deadline was taken away: %v", err)
	}
}
