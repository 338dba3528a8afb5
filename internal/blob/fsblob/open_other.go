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
