package ops_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/internal/listen"
	"berth/internal/ops"
)

// start serves h as the registry does: through Record and a listen.Server.
func start(t *testing.T, log *slog.Logger, h http.HandlerFunc) (addr string) {
	t.Helper()
	ls, err := listen.Listen(t.Context(), listen.ListenOptions{Addresses: []listen.Address{{Host: "127.0.0.1:0"}}})
	if err != nil {
		t.Fatal(err)
	}
	recorded := ops.Record(ops.RecordOptions{Log: log, Metrics: ops.NewMetrics("v")}, h)
	s := listen.NewServer(listen.ServerOptions{ShutdownGrace: time.Second, BodyStall: 200 * time.Millisecond}, recorded)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Serve(ctx, ls...); err != nil {
			t.Errorf("serve: %v", err)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return ls[0].Addr().String()
}

// A lineLog hands on each line that is logged.
type lineLog chan map[string]any

func (l lineLog) Write(b []byte) (int, error) {
	line := map[string]any{}
	if err := json.Unmarshal(b, &line); err != nil {
		return 0, err
	}
	l <- line
	return len(b), nil
}

// TestClientGone has clients that leave at each stage of a request.
func TestClientGone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "blob")
	if err := os.WriteFile(file, make([]byte, 32<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	waiting := make(chan struct{}, 1)
	h := func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/blob":
			http.ServeFile(w, r, file)
		case "/bytes":
			_, _ = io.Copy(w, io.LimitReader(zeros{}, 32<<20))
		case "/upload":
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				w.WriteHeader(http.StatusBadRequest)
			}
		case "/wait":
			waiting <- struct{}{}
			<-r.Context().Done()
		}
	}
	lines := make(lineLog, 10)
	addr := start(t, slog.New(slog.NewJSONHandler(lines, nil)), h)
	const upload = "PUT /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf"
	tests := []struct {
		name, send string
		leave      func(net.Conn)
		status     float64
	}{
		{"in the middle of a file", "GET /blob HTTP/1.1\r\nHost: x\r\n\r\n", readSome, 499},
		{"in the middle of an answer", "GET /bytes HTTP/1.1\r\nHost: x\r\n\r\n", readSome, 499},
		{"in the middle of a body", upload, readNothing, 499},
		{"while it is worked on", "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n", func(net.Conn) { <-waiting }, 499},
		{"never, with a body that stalls", upload, waitForAnswer, 400},
		{"never, with a malformed body", "PUT /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", waitForAnswer, 400},
		{"after the answer", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", waitForAnswer, 200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(c, tt.send); err != nil {
				t.Fatal(err)
			}
			tt.leave(c)
			_ = c.Close()
			if line := <-lines; line["status"] != tt.status {
				t.Errorf("got %v, want status %v", line, tt.status)
			}
		})
	}
}

func readNothing(net.Conn)     {}
func readSome(c net.Conn)      { _, _ = io.ReadFull(c, make([]byte, 100<<10)) }
func waitForAnswer(c net.Conn) { _, _ = c.Read(make([]byte, 1)) }

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// blobSize is larger than two of the chunks that a conn sends, and no multiple.
const blobSize = 20<<20 + 12345

// TestSendfile holds that a blob goes from the disk to the network inside the
// kernel, through everything that wraps a ResponseWriter. It runs this very test
// program under strace and counts.
func TestSendfile(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("strace is of Linux")
	}
	strace, err := exec.LookPath("strace")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("strace is not installed: sendfile can't be proven")
		}
		t.Skip("STRACE IS NOT INSTALLED: that blobs are sent by sendfile is NOT proven in this run")
	}
	for _, mode := range []string{"HTTP/1.1", "HTTP/1.0", "range"} {
		t.Run(mode, func(t *testing.T) {
			trace := filepath.Join(t.TempDir(), "trace")
			cmd := exec.CommandContext(t.Context(), strace, "-f", "-qq", "-e", "trace=sendfile,pread64", "-o", trace,
				os.Args[0], "-test.run=^TestServeBlobForSendfile$", "-test.count=1")
			cmd.Env = append(os.Environ(), "BERTH_TEST_SENDFILE="+mode)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			b, err := os.ReadFile(trace)
			if err != nil {
				t.Fatal(err)
			}
			sent := sentByKernel(t, string(b))
			want := blobSize
			if mode == "range" {
				want -= 1000
			}
			// net/http copies the first 512 bytes itself.
			if sent != want-512 {
				t.Errorf("sendfile sent %d bytes, want %d:\n%.2000s", sent, want-512, b)
			}
		})
	}
}

// sentByKernel adds up what the sendfile calls of a trace returned.
func sentByKernel(t *testing.T, trace string) int {
	t.Helper()
	result := regexp.MustCompile(`(?m)sendfile(?:\(| resumed).* = (\d+)$`)
	sum := 0
	for _, m := range result.FindAllStringSubmatch(trace, -1) {
		n, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		sum += n
	}
	return sum
}

// A blob offers what a stored blob offers, without being an *os.File.
type blob struct{ f *os.File }

func (b blob) Read(p []byte) (int, error)         { return b.f.Read(p) }
func (b blob) Seek(o int64, w int) (int64, error) { return b.f.Seek(o, w) }
func (b blob) SyscallConn() (syscall.RawConn, error) {
	return b.f.SyscallConn()
}

// TestServeBlobForSendfile is what TestSendfile runs under strace.
func TestServeBlobForSendfile(t *testing.T) {
	mode := os.Getenv("BERTH_TEST_SENDFILE")
	if mode == "" {
		t.Skip("run by TestSendfile")
	}
	content := bytes.Repeat([]byte("0123456789abcdef!"), blobSize/17+1)[:blobSize]
	name := filepath.Join(t.TempDir(), "blob")
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	addr := start(t, slog.New(slog.NewJSONHandler(io.Discard, nil)), func(w http.ResponseWriter, r *http.Request) {
		f, err := os.Open(name)
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		w.Header().Set("Content-Type", "application/octet-stream")
		http.ServeContent(w, r, "", time.Time{}, blob{f})
	})
	request, want := "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", content
	switch mode {
	case "HTTP/1.0":
		request = "GET / HTTP/1.0\r\n\r\n"
	case "range":
		request, want = "GET / HTTP/1.1\r\nHost: x\r\nRange: bytes=1000-\r\nConnection: close\r\n\r\n", content[1000:]
	}
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	head, body, _ := bytes.Cut(answer, []byte("\r\n\r\n"))
	if !bytes.Equal(body, want) {
		t.Errorf("got %d bytes that differ from the blob's %d, after\n%s", len(body), len(want), head)
	}
	if strings.Contains(strings.ToLower(string(head)), "chunked") {
		t.Errorf("the answer is chunked:\n%s", head)
	}
}
