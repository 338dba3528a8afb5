package realtest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Options say how Start runs berth. The zero Options are the defaults of berth.
type Options struct {
	Dir    string   // data directory; empty: a new one, removed after the test
	Args   []string // more arguments for berth serve
	Env    []string // KEY=value, more environment
	Under  []string // a program and its arguments to run berth with, such as strace -D -f -o FILE
	Binary string   // the program; empty: Berth

	// TLS, if CertFile is set. CAFile is what the registry's HTTP client trusts.
	CertFile, KeyFile, CAFile string

	// Unready makes Start return without waiting for readiness, for a server
	// that is expected to end by itself.
	Unready bool
}

// A Registry is a running berth.
type Registry struct {
	Addr   string       // 127.0.0.1:port, as in image names
	URL    string       // http:// or https:// and Addr
	Dir    string       // its data directory
	Log    *Log         // what it wrote, over all restarts
	Client *http.Client // follows no redirects, trusts Options.CAFile

	t     testing.TB
	opts  Options
	child *child
}

// Start runs berth serve on a free port of the loopback interface, waits until
// it is ready, and stops it when the test ends.
func Start(t testing.TB, o Options) *Registry {
	t.Helper()
	if o.Binary == "" {
		o.Binary = Berth(t)
	}
	r := &Registry{t: t, opts: o, Dir: o.Dir, Log: &Log{t: t}, Addr: "127.0.0.1:" + strconv.Itoa(FreePort(t))}
	if r.Dir == "" {
		r.Dir = filepath.Join(t.TempDir(), "data")
	}
	r.URL = "http://" + r.Addr
	if o.CertFile != "" {
		r.URL = "https://" + r.Addr
	}
	r.Client = newClient(t, o.CAFile)
	t.Cleanup(r.end)
	r.launch()
	return r
}

func newClient(t testing.TB, caFile string) *http.Client {
	t.Helper()
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil
	t.Cleanup(transport.CloseIdleConnections)
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			t.Fatal(err)
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(pem)
		transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// FreePort returns a port of the loopback interface that nothing listens on. It
// is outside the range from which outgoing connections get theirs, so that it
// stays free while a registry is being restarted.
func FreePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		port := 20000 + rand.IntN(12000)
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err != nil {
			continue
		}
		l.Close()
		return port
	}
	t.Fatal("no free port found")
	return 0
}

func (r *Registry) launch() {
	r.t.Helper()
	args := append([]string{}, r.opts.Under...)
	args = append(args, r.opts.Binary, "serve", "--data", r.Dir, "--listen", r.Addr, "--log-format", "json")
	if r.opts.CertFile != "" {
		args = append(args, "--tls-cert", r.opts.CertFile, "--tls-key", r.opts.KeyFile)
	}
	args = append(args, r.opts.Args...)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(cleanEnv(), r.opts.Env...)
	cmd.Stdout, cmd.Stderr = r.Log, r.Log
	cmd.Dir = filepath.Dir(r.Dir)    // not the source tree: nothing may depend on it
	cmd.WaitDelay = 10 * time.Second // whatever it left running must not hold us up
	var err error
	if r.child, err = startChild(cmd, syscall.SIGKILL); err != nil {
		r.t.Fatal(err)
	}
	if !r.opts.Unready {
		r.AwaitReady()
	}
}

// cleanEnv is the environment without settings for berth or registry:2.
func cleanEnv() []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "BERTH_") && !strings.HasPrefix(kv, "REGISTRY_") {
			env = append(env, kv)
		}
	}
	return env
}

// AwaitReady waits until /readyz answers 200.
func (r *Registry) AwaitReady() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.URL+"/readyz", nil)
		if err != nil {
			r.t.Fatal(err)
		}
		if resp, err := r.Client.Do(req); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		if r.child.ended() {
			r.t.Fatalf("berth ended before it was ready: %v\n%s", r.child.err, r.Log.Tail(40))
		}
		if ctx.Err() != nil {
			r.t.Fatalf("berth is not ready after a minute\n%s", r.Log.Tail(40))
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Pid returns the process id of the server.
func (r *Registry) Pid() int { return r.child.cmd.Process.Pid }

// Running reports whether the server has not ended.
func (r *Registry) Running() bool { return !r.child.ended() }

// Stop ends the server with SIGTERM and wants it to end well, within a minute.
func (r *Registry) Stop() {
	r.t.Helper()
	if err := r.Terminate(); err != nil {
		r.t.Errorf("berth after SIGTERM: %v\n%s", err, r.Log.Tail(40))
	}
}

// Terminate is Stop, but returns how the server ended.
func (r *Registry) Terminate() error {
	if !r.child.signal(syscall.SIGTERM, time.Minute) {
		return errors.New("did not end within a minute")
	}
	return r.child.err
}

// Wait waits until the server has ended by itself and returns how.
func (r *Registry) Wait() error {
	r.t.Helper()
	select {
	case <-r.child.done:
		return r.child.err
	case <-time.After(time.Minute):
		r.t.Fatalf("berth has not ended after a minute\n%s", r.Log.Tail(40))
		return nil
	}
}

// Kill ends the server with SIGKILL, as a crash would, and waits until it is
// gone.
func (r *Registry) Kill() {
	r.child.cmd.Process.Kill()
	<-r.child.done
}

// Restart runs the server again, on the same port and data directory, after
// stopping it if it is running.
func (r *Registry) Restart() {
	r.t.Helper()
	if r.Running() {
		r.Stop()
	}
	r.Client.CloseIdleConnections()
	r.launch()
}

// end is the test's clean-up.
func (r *Registry) end() {
	if r.child != nil && r.Running() {
		if err := r.Terminate(); err != nil {
			r.t.Errorf("berth at the end of the test: %v", err)
		}
	}
	if r.t.Failed() {
		r.t.Logf("the end of berth's log:\n%s", r.Log.Tail(40))
	}
}

// Memory returns the server's resident memory and the most it ever had, in
// bytes. It needs Linux.
func (r *Registry) Memory() (now, peak int64) {
	r.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.Pid()))
	if err != nil {
		r.t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) != 3 {
			continue
		}
		kib, _ := strconv.ParseInt(f[1], 10, 64)
		switch f[0] {
		case "VmRSS:":
			now = kib << 10
		case "VmHWM:":
			peak = kib << 10
		}
	}
	return now, peak
}
