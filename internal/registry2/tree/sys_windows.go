package tree

import (
	"io/fs"
	"os"
)

// An owner is whom the tree belongs to. Here files inherit that.
type owner struct{}

func ownerOf(fs.FileInfo) owner { return owner{} }

func (owner) give(*os.Root, string) error { return nil }

// syncDir does nothing: directories can't be fsynced here.
func syncDir(*os.Root, string) error { return nil }
