package clients

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"berth/test/realtest"
)

// An upload is one that a raw client makes, which can stop wherever it wants.
type upload struct {
	t        *testing.T
	reg      *realtest.Registry
	location string // path and query
	content  []byte
}

// startUpload opens a session for content that nobody has pushed before.
func startUpload(t *testing.T, reg *realtest.Registry, size int) *upload {
	t.Helper()
	u := &upload{t: t, reg: reg, content: make([]byte, size)}
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], rand.Uint64())
	rand.NewChaCha8(seed).Read(u.content)
	resp := u.send(http.MethodPost, "/v2/cut/app/blobs/uploads/", nil)
	if resp.StatusCode != http.StatusAccepted {
		t.Fatalf("POST: %s", resp.Status)
	}
	u.follow(resp)
	return u
}

// send sends a request with a body of known length, or none.
func (u *upload) send(method, path string, body []byte) *http.Response {
	u.t.Helper()
	req, err := http.NewRequest(method, u.reg.URL+path, bytes.NewReader(body))
	if err != nil {
		u.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	resp, err := u.reg.Client.Do(req)
	if err != nil {
		u.t.Fatal(err)
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	return resp
}

// follow remembers where the session goes on.
func (u *upload) follow(resp *http.Response) {
	u.t.Helper()
	to, err := url.Parse(resp.Header.Get("Location"))
	if err != nil || to.Path == "" {
		u.t.Fatalf("Location %q: %v", resp.Header.Get("Location"), err)
	}
	u.location = to.RequestURI()
}

// offset returns how many bytes the server has, by its Range header.
func (u *upload) offset(resp *http.Response) int {
	u.t.Helper()
	last, ok := strings.CutPrefix(resp.Header.Get("Range"), "0-")
	n, err := strconv.Atoi(last)
	if !ok || err != nil {
		u.t.Fatalf("Range %q with %s", resp.Header.Get("Range"), resp.Status)
	}
	if n == 0 { // no byte at all is written as one is; nobody here sends a single one
		return 0
	}
	return n + 1
}

// status asks how far the session is.
func (u *upload) status() int {
	u.t.Helper()
	resp := u.send(http.MethodGet, u.location, nil)
	if resp.StatusCode != http.StatusNoContent {
		u.t.Fatalf("GET of the session: %s", resp.Status)
	}
	u.follow(resp)
	return u.offset(resp)
}

// dribble is docker's one long PATCH: no length, no range, chunks. It sends the
// first n bytes, once the server has begun to read, and returns the connection,
// still open: what the server only begins after the session went on elsewhere
// would be added at its end.
func (u *upload) dribble(n int) net.Conn {
	u.t.Helper()
	conn, err := net.Dial("tcp", u.reg.Addr)
	if err != nil {
		u.t.Fatal(err)
	}
	w := bufio.NewWriter(conn)
	fmt.Fprintf(w, "PATCH %s HTTP/1.1\r\nHost: %s\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n", u.location, u.reg.Addr)
	if err := w.Flush(); err != nil {
		u.t.Fatal(err)
	}
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 100 ") {
		u.t.Fatalf("the server begins with %q, %v", line, err)
	}
	for rest := u.content[:n]; len(rest) > 0; {
		part := rest[:min(len(rest), 1+rand.IntN(64<<10))]
		rest = rest[len(part):]
		fmt.Fprintf(w, "%x\r\n%s\r\n", len(part), part)
	}
	if err := w.Flush(); err != nil {
		u.t.Fatal(err)
	}
	return conn
}

// resume sends what the server has not got, and finishes. If the server was
// still writing and got further meanwhile, it goes on from there.
func (u *upload) resume() {
	u.t.Helper()
	from := u.status()
	for range 100 {
		if from > len(u.content) {
			u.t.Fatalf("the server has %d bytes of %d", from, len(u.content))
		}
		req, err := http.NewRequest(http.MethodPatch, u.reg.URL+u.location, bytes.NewReader(u.content[from:]))
		if err != nil {
			u.t.Fatal(err)
		}
		req.Header.Set("Content-Range", fmt.Sprintf("%d-%d", from, len(u.content)-1))
		resp, err := u.reg.Client.Do(req)
		if err != nil {
			u.t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusRequestedRangeNotSatisfiable {
			from = u.offset(resp)
			u.follow(resp)
			continue
		}
		if resp.StatusCode != http.StatusAccepted {
			u.t.Fatalf("PATCH from %d: %s", from, resp.Status)
		}
		u.follow(resp)
		if got := u.offset(resp); got != len(u.content) {
			u.t.Fatalf("after the last PATCH the server has %d bytes, want %d", got, len(u.content))
		}
		u.finish()
		return
	}
	u.t.Fatal("the server always is elsewhere")
}

// finish puts the digest, and reads the blob back.
func (u *upload) finish() {
	u.t.Helper()
	sep := "?"
	if strings.Contains(u.location, "?") {
		sep = "&"
	}
	d := sum(u.content)
	if resp := u.send(http.MethodPut, u.location+sep+"digest="+d, nil); resp.StatusCode != http.StatusCreated {
		u.t.Fatalf("PUT: %s", resp.Status)
	}
	if err := readerOf(u.reg).blob("cut/app", descriptor{Digest: d, Size: int64(len(u.content))}); err != nil {
		u.t.Error(err)
	}
}

// await waits until the server has at least n bytes of the session.
func (u *upload) await(n int) {
	u.t.Helper()
	for end := time.Now().Add(20 * time.Second); u.status() < n; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			u.t.Fatalf("the server has %d bytes of the session after 20 s, want %d", u.status(), n)
		}
	}
}

// TestCutPush cuts docker's long PATCH at random places and goes on from where
// the server says it is.
func TestCutPush(t *testing.T) {
	reg := start(t, realtest.Options{})
	for i := range 12 {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			u := startUpload(t, reg, 100+rand.IntN(6<<20))
			n := 10 + rand.IntN(len(u.content)-20)
			t.Logf("%d of %d bytes are sent", n, len(u.content))
			conn := u.dribble(n)
			if i%2 == 0 {
				conn.(*net.TCPConn).SetLinger(0) // a reset, and not an end
			}
			conn.Close()
			u.resume()
		})
	}
}

// TestCutKeeps shows that next to nothing is sent twice when a connection was
// cut: whatever arrived is kept.
func TestCutKeeps(t *testing.T) {
	reg := start(t, realtest.Options{})
	u := startUpload(t, reg, 8<<20)
	conn := u.dribble(5 << 20)
	conn.Close() // all that was sent is delivered before
	u.await(5 << 20)
	u.resume()
}

// TestKilledPush kills the server in the middle of the PATCH. What the session
// had by its status before, it has after.
func TestKilledPush(t *testing.T) {
	reg := start(t, realtest.Options{})
	for i := range 3 {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			u := startUpload(t, reg, 48<<20)
			conn := u.dribble(40<<20 + rand.IntN(4<<20))
			defer conn.Close()
			u.await(32 << 20) // at the latest there is a checkpoint
			before := u.status()
			reg.Kill()
			reg.Restart()
			if after := u.status(); after < before {
				t.Errorf("the session is at %d, and was at %d", after, before)
			}
			u.resume()
		})
	}
}

// TestStoppedPush stops the server politely in the middle of a PATCH that takes
// longer than it is ready to wait.
func TestStoppedPush(t *testing.T) {
	reg := start(t, realtest.Options{Env: []string{"BERTH_HTTP_SHUTDOWN_GRACE=1s"}})
	u := startUpload(t, reg, 4<<20)
	conn := u.dribble(3 << 20)
	defer conn.Close()
	// What is only on its way may be lost with the connection. The server makes a
	// checkpoint every second.
	for deadline := time.Now().Add(time.Minute); u.status() == 0; <-time.After(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing of the upload arrives")
		}
	}
	reg.Stop() // which is no failure
	wantText(t, reg.Log.Tail(5), "cut what was still running")
	reg.Restart()
	if got := u.status(); got != 3<<20 {
		t.Errorf("the session is at %d, want %d", got, 3<<20)
	}
	u.resume()
}

// TestTakeover goes on over a second connection while the first one is half
// open: the client is gone, and nobody told the server.
func TestTakeover(t *testing.T) {
	reg := start(t, realtest.Options{})
	for i := range 4 {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			u := startUpload(t, reg, 2<<20)
			first := u.dribble(1<<20 + rand.IntN(1<<20))
			defer first.Close()
			u.resume()
			// The first one gets nothing more in: the server ends it.
			first.SetDeadline(time.Now().Add(20 * time.Second))
			answer, err := io.ReadAll(first)
			if errors.Is(err, net.ErrClosed) || isTimeout(err) {
				t.Errorf("the first connection is still open: %v", err)
			}
			if bytes.HasPrefix(answer, []byte("HTTP/1.1 2")) {
				t.Errorf("the first connection was told that all is well: %.100s", answer)
			}
		})
	}
}

func isTimeout(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}
