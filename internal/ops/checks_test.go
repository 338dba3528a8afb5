package ops

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// checksOf returns the status and the body of /debug/health.
func checksOf(h *Health) (int, string) {
	w := httptest.NewRecorder()
	h.Checks().ServeHTTP(w, httptest.NewRequest("GET", "/debug/health", nil))
	return w.Code, w.Body.String()
}

// TestWatch holds that a check fails after as many failures in a row as its
// threshold says, closes the registry if it is to, and is good again at once.
func TestWatch(t *testing.T) {
	for _, tt := range []struct {
		effect Effect
		open   bool
	}{{NotReady, true}, {Closed, false}} {
		synctest.Test(t, func(t *testing.T) {
			var broken atomic.Bool
			var logged bytes.Buffer
			h := NewHealth()
			h.SetReady()
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() {
				defer close(done)
				h.Watch(ctx, []Check{{Name: "part", Interval: time.Minute, Threshold: 3, Effect: tt.effect, Look: func(context.Context) error {
					if broken.Load() {
						return errors.New("out of order")
					}
					return nil
				}}}, slog.New(slog.NewTextHandler(&logged, nil)))
			}()
			step := func(name string, status int, body string, open bool) {
				t.Helper()
				time.Sleep(time.Minute)
				synctest.Wait()
				if s, b := checksOf(h); s != status || b != body || h.Open() != open || h.State().Ready != (status == 200) {
					t.Errorf("%s: got %d %s, open %v, ready %v; want %d %s, open %v", name, s, b, h.Open(), h.State().Ready, status, body, open)
				}
			}
			time.Sleep(time.Second)
			step("good", 200, "{}", true)
			broken.Store(true)
			step("the first failure", 200, "{}", true)
			step("the second failure", 200, "{}", true)
			step("the third failure", 503, `{"part":"out of order"}`, tt.open)
			step("the fourth failure", 503, `{"part":"out of order"}`, tt.open)
			broken.Store(false)
			step("mended", 200, "{}", true)
			broken.Store(true)
			step("a failure after it", 200, "{}", true)
			cancel()
			<-done
			if n := strings.Count(logged.String(), "\n"); n != 2 {
				t.Errorf("logged %d lines, want one when it failed and one when it was mended:\n%s", n, &logged)
			}
		})
	}
}

// TestWatchHanging holds that a look that hangs is a failure, and that there is
// never more than one.
func TestWatchHanging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var looks atomic.Int64
		release := make(chan struct{})
		h := NewHealth()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			h.Watch(ctx, []Check{{Name: "disk", Interval: time.Minute, Timeout: time.Second, Threshold: 2, Look: func(context.Context) error {
				if looks.Add(1) == 1 {
					<-release
				}
				return nil
			}}}, slog.New(slog.DiscardHandler))
		}()
		time.Sleep(90 * time.Second)
		synctest.Wait()
		if s, b := checksOf(h); s != 503 || !strings.Contains(b, "no answer") || looks.Load() != 1 {
			t.Errorf("got %d %s after %d looks, want 503 after one", s, b, looks.Load())
		}
		close(release)
		time.Sleep(time.Minute)
		synctest.Wait()
		if s, b := checksOf(h); s != 200 {
			t.Errorf("got %d %s when it had answered, want 200", s, b)
		}
		cancel()
		<-done
	})
}

// TestSameNames holds that two checks of one name are both seen.
func TestSameNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHealth()
		ctx, cancel := context.WithCancel(t.Context())
		bad := Check{Name: "x", Interval: time.Minute, Look: func(context.Context) error { return errors.New("bad") }}
		done := make(chan struct{})
		go func() { defer close(done); h.Watch(ctx, []Check{bad, bad}, slog.New(slog.DiscardHandler)) }()
		synctest.Wait()
		if _, b := checksOf(h); b != `{"x":"bad","x (2)":"bad"}` {
			t.Errorf("got %s, want both", b)
		}
		cancel()
		<-done
	})
}

func TestLooks(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method != http.MethodHead:
			w.WriteHeader(http.StatusMethodNotAllowed)
		case r.Header.Get("X-Key") != "k" || r.Host != "name":
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	defer server.Close()
	header := http.Header{"X-Key": {"k"}, "Host": {"name"}}
	file := filepath.Join(t.TempDir(), "down")
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := closed.Addr().String()
	closed.Close()
	secret := "http://user:s3cret@" + nobody + "/"
	for name, tt := range map[string]struct {
		look func(context.Context) error
		want string // of the error; empty: none
	}{
		"no file":        {FileAbsent(file), ""},
		"answer":         {Answers(server.URL, header, 200), ""},
		"another status": {Answers(server.URL, nil, 200), "403"},
		"wanted so":      {Answers(server.URL, nil, 403), ""},
		"no answer":      {Answers(secret, nil, 200), "refused"},
		"accepts":        {Accepts(server.Listener.Addr().String()), ""},
		"refuses":        {Accepts(nobody), "refused"},
	} {
		err := tt.look(t.Context())
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: got %v, want %q", name, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: the error tells a password: %v", name, err)
		}
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := FileAbsent(file)(t.Context()); err == nil || err.Error() != "file exists" {
		t.Errorf("with the file: got %v, want what registry:2 says", err)
	}
	if got := Redacted(secret); strings.Contains(got, "s3cret") {
		t.Errorf("got %s, want no password", got)
	}
}
