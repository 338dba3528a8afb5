//go:build !linux

package fsblob

import (
	"errors"
	"io/fs"
)

// hasStamps says that it takes more than one call to tell a file's state safely,
// so that keeping bytes in memory gains nothing.
const hasStamps = false

type stamp struct{}

func stampOf(fs.FileInfo) (stamp, bool) { return stamp{}, false }

func (d *disk) stamp(string) (stamp, error) { return stamp{}, errors.ErrUnsupported }
