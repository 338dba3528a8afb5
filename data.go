package berth

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Where things of Berth's own are in the data directory, beside the tree that
// registry:2 knows.
const (
	ownDir       = "berth"
	lockFile     = "lock"
	socketFile   = "admin.sock"
	snapshotsDir = "snapshots"
	tokenKeyFile = "token.key"
)

// tokenKeySize is the length in bytes of the key that tokens are signed with.
const tokenKeySize = 32

// loadTokenKey reads the key that tokens are signed with, and makes one the
// first time. It is kept, so that a push survives a restart of the server.
func loadTokenKey(dir string) ([]byte, error) {
	path := filepath.Join(dir, tokenKeyFile)
	key, err := os.ReadFile(path)
	if err == nil && len(key) == tokenKeySize {
		return key, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the key of tokens: %w", err)
	}
	key = make([]byte, tokenKeySize)
	rand.Read(key) // never fails
	tmp := path + ".new"
	if err := os.WriteFile(tmp, key, 0o600); err != nil {
		return nil, fmt.Errorf("write the key of tokens: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return nil, fmt.Errorf("write the key of tokens: %w", err)
	}
	return key, nil
}

// SocketPath returns where the server of a data directory listens for its
// operator: the admin socket.
func SocketPath(data string) string { return filepath.Join(data, ownDir, socketFile) }

// closers are closed in reverse order.
type closers []func(context.Context) error

func (c *closers) add(f func(context.Context) error) { *c = append(*c, f) }

func (c *closers) close(ctx context.Context) error {
	var all error
	for i := len(*c) - 1; i >= 0; i-- {
		all = errors.Join(all, (*c)[i](ctx))
	}
	*c = nil
	return all
}
