//go:build unix

package sqlmeta

import (
	"fmt"
	"os"
	"syscall"
)

// fileID tells a file from its copies. It does not open the file: closing it
// again would drop the locks that SQLite holds.
func fileID(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "", fmt.Errorf("%s: no inode", path)
	}
	return fmt.Sprintf("%d:%d", s.Dev, s.Ino), nil
}
