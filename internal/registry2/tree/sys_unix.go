//go:build unix

package tree

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"berth/internal/osfile"
)

// An owner is whom the tree belongs to, if it is another user than root who
// writes to it: a registry:2 that runs as that user must be able to go on.
type owner struct {
	uid, gid int
	set      bool
}

func ownerOf(info fs.FileInfo) owner {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() != 0 || st.Uid == 0 {
		return owner{}
	}
	return owner{int(st.Uid), int(st.Gid), true}
}

// give gives a new file or directory to the owner.
func (o owner) give(root *os.Root, name string) error {
	if !o.set {
		return nil
	}
	return root.Lchown(name, o.uid, o.gid)
}

// syncDir makes the names in a directory durable, where that can be done.
func syncDir(root *os.Root, name string) error {
	f, err := root.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // removed since
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return osfile.SyncNames(f)
}
