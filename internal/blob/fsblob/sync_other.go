//go:build !linux

package fsblob

import (
	"errors"
	"os"
)

// awaitContent says that there is no such thing here.
func awaitContent(*os.File) error { return errors.ErrUnsupported }

// beginWriteback does nothing here: the system begins when it sees fit.
func beginWriteback(*os.File, int64, int64) {}
