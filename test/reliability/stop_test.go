package reliability

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"syscall"
	"testing"
	"time"

	"berth/test/realtest"
)

// A running upload is one long PATCH that goes on for as long as the test wants.
type running struct {
	*session
	pipe   *io.PipeWriter
	result chan error
}

// startStream begins to upload b, sends the first half of it, and waits until the
// server has some: what is only on its way may be lost with the connection.
func startStream(t *testing.T, c *client, repo string, b thing) *running {
	t.Helper()
	a, err := c.do(t.Context(), request{method: "POST", path: uploadsPath(repo)}, 202)
	if err != nil {
		t.Fatal(err)
	}
	r, w := io.Pipe()
	up := &running{&session{repo: repo, location: a.header.Get("Location"), blob: b}, w, make(chan error, 1)}
	go func() {
		_, err := c.do(context.WithoutCancel(t.Context()), request{method: "PATCH", path: up.location, body: r, length: -1}, 202)
		r.CloseWithError(err)
		up.result <- err
	}()
	if _, err := w.Write(b.data[:len(b.data)/2]); err != nil {
		t.Fatal(err)
	}
	arrived := await(func() bool { // the server makes a checkpoint every second
		a, err := c.get(t.Context(), up.location, 204)
		if err != nil {
			return false
		}
		at, err := uploaded(a)
		return err == nil && at > 0
	})
	if !arrived {
		t.Fatal("nothing of the upload arrives")
	}
	return up
}

// rest sends the other half.
func (up *running) rest() error {
	if _, err := up.pipe.Write(up.blob.data[len(up.blob.data)/2:]); err != nil {
		return err
	}
	up.pipe.Close()
	return <-up.result
}

// TestStopMidUpload shows what docker stop does: the server is no longer ready, a
// transfer that is running comes to its end, and then the server ends well.
func TestStopMidUpload(t *testing.T) {
	metrics := fmt.Sprintf("127.0.0.1:%d", realtest.FreePort(t))
	reg := realtest.Start(t, realtest.Options{Env: append(quiet(), "BERTH_METRICS_LISTEN="+metrics)})
	c, ops := newClient(t, reg.URL), newClient(t, "http://"+metrics)
	for i := range 3 {
		b := newThing(content(1<<20, 9, uint64(i)))
		up := startStream(t, c, "stop/app", b)
		if _, err := ops.get(t.Context(), "/readyz", 200); err != nil {
			t.Fatal(err)
		}
		terminate(t, reg)
		unready := await(func() bool {
			_, err := ops.get(t.Context(), "/readyz", http.StatusServiceUnavailable)
			return err == nil
		})
		if !unready || !reg.Running() {
			t.Fatalf("the server is still ready: %v; running: %v", !unready, reg.Running())
		}
		if err := up.rest(); err != nil {
			t.Errorf("the upload that was running: %v", err)
		}
		if err := reg.Wait(); err != nil {
			t.Errorf("the server ended: %v", err)
		}
		reg.Restart()
		c.http.CloseIdleConnections()
		ops.http.CloseIdleConnections()
		if err := c.finish(t.Context(), up.location, b.digest, nil); err != nil {
			t.Errorf("finish the upload after the restart: %v", err)
		}
		if got, _, err := c.blob(t.Context(), "stop/app", b.digest); err != nil || got != b.digest {
			t.Errorf("got the blob %q, %v, want %s", got, err, b.digest)
		}
	}
}

// TestStopCutsUpload shows that a transfer that does not come to its end is cut
// when the grace is over, and goes on after the restart where the server says.
func TestStopCutsUpload(t *testing.T) {
	reg := realtest.Start(t, realtest.Options{Env: append(quiet(), "BERTH_HTTP_SHUTDOWN_GRACE=1s")})
	c := newClient(t, reg.URL)
	b := newThing(content(1<<20, 10))
	up := startStream(t, c, "stop/app", b)
	terminate(t, reg)
	if err := reg.Wait(); err != nil {
		t.Errorf("the server ended: %v", err)
	}
	if !reg.Log.Contains("cut what was still running") {
		t.Error("the log does not say that a transfer was cut")
	}
	up.pipe.Close()
	if err := <-up.result; err == nil {
		t.Error("an upload that was cut was acknowledged")
	}
	reg.Restart()
	c.http.CloseIdleConnections()
	resumed(t, c, up.session, 1)
}

// resumed goes on with an upload of which the server must have some bytes, and
// ends it.
func resumed(t *testing.T, c *client, s *session, least int) {
	t.Helper()
	a, err := c.get(t.Context(), s.location, 204)
	if err != nil {
		t.Fatal(err)
	}
	at, err := uploaded(a)
	if err != nil || at < least || at > len(s.blob.data) {
		t.Fatalf("the upload is at %d bytes, %v; want at least %d", at, err, least)
	}
	if _, err := c.append(t.Context(), s.location, at, s.blob.data[at:]); err != nil {
		t.Errorf("go on at %d: %v", at, err)
	}
	if err := c.finish(t.Context(), s.location, s.blob.digest, nil); err != nil {
		t.Errorf("finish: %v", err)
	}
	if got, _, err := c.blob(t.Context(), s.repo, s.blob.digest); err != nil || got != s.blob.digest {
		t.Errorf("got the blob %q, %v, want %s", got, err, s.blob.digest)
	}
}

// TestKillMidUpload shows that docker's one long PATCH goes on near where the
// server was killed, not at its beginning.
func TestKillMidUpload(t *testing.T) {
	reg := realtest.Start(t, realtest.Options{Env: quiet()})
	c := newClient(t, reg.URL)
	b := newThing(content(8<<20, 11))
	up := startStream(t, c, "stop/app", b)
	at := 0
	// A checkpoint comes with the bytes that arrive a second after the last one.
	for half := len(b.data) / 2; at == 0 && half < len(b.data)-4096; half += 4096 {
		if _, err := up.pipe.Write(b.data[half : half+4096]); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
		a, err := c.get(t.Context(), up.location, 204)
		if err == nil {
			at, err = uploaded(a)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if at < len(b.data)/2 {
		t.Fatalf("the server says that it has %d bytes, after %d were sent and some more for seconds", at, len(b.data)/2)
	}
	reg.Kill()
	up.pipe.Close()
	<-up.result
	reg.Restart()
	c.http.CloseIdleConnections()
	resumed(t, c, up.session, at)
}

// terminate sends SIGTERM and does not wait.
func terminate(t *testing.T, reg *realtest.Registry) {
	t.Helper()
	p, err := os.FindProcess(reg.Pid())
	if err == nil {
		err = p.Signal(syscall.SIGTERM)
	}
	if err != nil {
		t.Fatal(err)
	}
}
