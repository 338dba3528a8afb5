package listen

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"runtime"
	"syscall"
	"time"
)

// ErrSocketInUse is in the error of Listen when a process answers on the unix
// socket.
var ErrSocketInUse = errors.New("a process answers on the socket")

// ErrSocketPathTooLong is in the error of Listen when the path of a unix socket
// is longer than the operating system can bind.
var ErrSocketPathTooLong = errors.New("the path of the socket is too long")

var errNotASocket = errors.New("not a socket")

// maxSocketPath is how many bytes the path of a unix socket may have: the size
// of sockaddr_un.sun_path less its closing zero.
func maxSocketPath() int {
	if runtime.GOOS == "linux" || runtime.GOOS == "windows" {
		return 107
	}
	return 103
}

// listenUnix makes the socket at path with the mode.
//
// On Linux it is 0600 before it gets its name, so that there is no moment at
// which others than those of mode could connect. Elsewhere it is set right after:
// put the socket into a directory that only its owner may enter.
func listenUnix(ctx context.Context, path string, mode fs.FileMode) (net.Listener, error) {
	if len(path) > maxSocketPath() {
		return nil, ErrSocketPathTooLong
	}
	if err := removeStale(ctx, path); err != nil {
		return nil, err
	}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(privateSocket)
	}}
	l, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, mode); err != nil {
		return nil, errors.Join(fmt.Errorf("protect socket %s: %w", path, err), l.Close())
	}
	return l, nil
}

// removeStale removes the socket at path if no process listens on it any more.
// The caller makes sure, by a lock, that two processes don't do so at once.
func removeStale(ctx context.Context, path string) error {
	fi, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	// Windows shows sockets as irregular files.
	if fi.Mode()&(fs.ModeSocket|fs.ModeIrregular) == 0 {
		return errNotASocket
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	if err == nil {
		_ = c.Close()
		return ErrSocketInUse
	}
	if !isConnectionRefused(err) {
		return fmt.Errorf("ask who answers on the socket: %w", err)
	}
	return os.Remove(path)
}
