package listen

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

func TestListenPortInUse(t *testing.T) {
	held, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	addr := held.Addr().String()

	// Optional forgives an address that isn't there, not one that is taken.
	_, err = Listen(t.Context(), ListenOptions{
		Addresses: []Address{{Host: "127.0.0.1:0"}, {Host: addr, Optional: true}},
		Setting:   "--listen",
	})
	if err == nil {
		t.Fatalf("listening twice on %s: got no error", addr)
	}
	wantAll(t, err.Error(), addr, "in use", portOf(addr), "set --listen to 127.0.0.1:5001")
	if _, ok := errors.AsType[*AddressError](err); !ok {
		t.Errorf("got %T, want an *AddressError in the chain", err)
	}
}

func TestListenMissingAddress(t *testing.T) {
	const missing = "[2001:db8::1]:0" // documentation addresses belong to nobody
	_, err := Listen(t.Context(), ListenOptions{Addresses: []Address{{Host: missing}}, Setting: "--listen"})
	if err == nil {
		t.Fatal("listening on an address of others: got no error")
	}
	wantAll(t, err.Error(), missing, "not an address of this machine", "set --listen to :0")

	ls, err := Listen(t.Context(), ListenOptions{Addresses: []Address{{Host: "127.0.0.1:0"}, {Host: missing, Optional: true}}})
	if err != nil {
		t.Fatalf("with the missing address optional: %v", err)
	}
	defer closeAll(ls)
	if len(ls) != 1 {
		t.Errorf("got %d listeners, want 1", len(ls))
	}
	if _, err := Listen(t.Context(), ListenOptions{Addresses: []Address{{Host: missing, Optional: true}}}); err == nil {
		t.Error("with nothing left to listen on: got no error")
	}
}

func TestListenLocalhost(t *testing.T) {
	got := expand([]Address{{Host: "localhost:5000"}, {Host: ":80"}, {Network: "unix", Host: "localhost:1"}})
	want := []Address{
		{Network: "tcp", Host: "127.0.0.1:5000"},
		{Network: "tcp", Host: "[::1]:5000", Optional: true},
		{Network: "tcp", Host: ":80"},
		{Network: "unix", Host: "localhost:1"},
	}
	if len(got) != len(want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("address %d: got %v, want %v", i, got[i], want[i])
		}
	}
}

func TestExplain(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("error numbers of unix")
	}
	tests := []struct {
		name    string
		address Address
		err     error
		want    []string
	}{
		{"reserved port", Address{Host: ":443"}, syscall.EACCES, []string{":443", "below 1024", "cap_net_bind_service", "set --listen to :5000"}},
		{"forbidden port", Address{Host: ":8080"}, syscall.EACCES, []string{":8080", "policy", "set --listen to :5001"}},
		{"in use", Address{Host: "[::1]:5001"}, syscall.EADDRINUSE, []string{"[::1]:5001 is already in use", "set --listen to [::1]:5002"}},
		{"no such form", Address{Host: "5000"}, errors.New("missing port in address"), []string{"5000", "missing port", "127.0.0.1:5000"}},
		{"socket without directory", Address{Network: "unix", Host: "/no/where"}, syscall.ENOENT, []string{"directory", "/no/where"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := explain(tt.address, "--listen", &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", tt.err)})
			wantAll(t, err.Error(), tt.want...)
			if !errors.Is(err, tt.err) {
				t.Errorf("%v doesn't wrap %v", err, tt.err)
			}
		})
	}
}

// socketDir returns a directory whose path leaves room for a socket's name.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "s")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func listenUnixAt(t *testing.T, path string) (net.Listener, error) {
	t.Helper()
	ls, err := Listen(t.Context(), ListenOptions{Addresses: []Address{{Network: "unix", Host: path}}})
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { closeAll(ls) })
	return ls[0], nil
}

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(socketDir(t), "admin.sock")
	l, err := listenUnixAt(t, path)
	if err != nil {
		t.Fatal(err)
	}
	fi, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := fi.Mode().Perm(); runtime.GOOS != "windows" && got != 0o600 {
		t.Errorf("mode of the socket: got %o, want 600", got)
	}
	if _, err := listenUnixAt(t, path); !errors.Is(err, ErrSocketInUse) {
		t.Errorf("second listener: got %v, want %v", err, ErrSocketInUse)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("the socket is still there after Close")
	}
}

// TestUnixSocketMode holds that a socket for proxies can be opened by its group.
func TestUnixSocketMode(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("files have no modes")
	}
	a := ParseAddress("unix:" + filepath.Join(socketDir(t), "front.sock"))
	a.Mode = 0o660
	ls, err := Listen(t.Context(), ListenOptions{Addresses: []Address{a}})
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(ls)
	if fi, err := os.Lstat(a.Host); err != nil || fi.Mode().Perm() != 0o660 {
		t.Errorf("got %v, %v; want mode 660", fi.Mode(), err)
	}
}

func TestParseAddress(t *testing.T) {
	tests := map[string]Address{
		":5000":                {Network: "tcp", Host: ":5000"},
		"[::1]:5000":           {Network: "tcp", Host: "[::1]:5000"},
		"unix:/run/berth.sock": {Network: "unix", Host: "/run/berth.sock"},
		"unix:berth.sock":      {Network: "unix", Host: "berth.sock"},
		"unix.example:5000":    {Network: "tcp", Host: "unix.example:5000"},
	}
	for text, want := range tests {
		if got := ParseAddress(text); got != want {
			t.Errorf("%s: got %+v, want %+v", text, got, want)
		}
	}
}

func TestUnixSocketStale(t *testing.T) {
	path := filepath.Join(socketDir(t), "admin.sock")
	dead, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	dead.(*net.UnixListener).SetUnlinkOnClose(false) // as if the process had been killed
	_ = dead.Close()

	l, err := listenUnixAt(t, path)
	if err != nil {
		t.Fatalf("in place of a stale socket: %v", err)
	}
	go func() {
		if c, err := l.Accept(); err == nil {
			_ = c.Close()
		}
	}()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatalf("nobody answers on the new socket: %v", err)
	}
	_ = c.Close()
}

func TestUnixSocketRefusals(t *testing.T) {
	dir := socketDir(t)
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listenUnixAt(t, file); !errors.Is(err, errNotASocket) {
		t.Errorf("in place of a file: got %v, want %v", err, errNotASocket)
	}
	if b, _ := os.ReadFile(file); string(b) != "precious" {
		t.Errorf("the file holds %q now", b)
	}
	if _, err := listenUnixAt(t, filepath.Join(dir, strings.Repeat("x", 200))); !errors.Is(err, ErrSocketPathTooLong) {
		t.Errorf("a path of 200 bytes: got %v, want %v", err, ErrSocketPathTooLong)
	}
}

// wantAll reports every one of parts that s lacks.
func wantAll(t *testing.T, s string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(s, p) {
			t.Errorf("got  %s\nwant it to contain %q", s, p)
		}
	}
}
