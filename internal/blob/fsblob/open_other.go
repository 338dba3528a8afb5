//go:build !linux

package fsblob

import (
	"io/fs"
	"os"
)

// canOpenBeneath reports that there is no openat2.
func (d *disk) canOpenBeneath() bool { return false }

func (d *disk) openBeneath(name string, flag int, want fs.FileMode) (*os.File, error) {
	return d.openPlain(name, flag, want)
}

// names returns how the names of d are changed.
func (d *disk) names() namer { return d.root }

// throughLink reports whether name, or a directory on the way to it, is a
// symbolic link.
func (d *disk) throughLink(name string) bool { return d.anyLink(name) }
