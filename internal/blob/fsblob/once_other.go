//go:build !linux

package fsblob

import "os"

// forgetPages does nothing where the system cannot be told.
func forgetPages(*os.File, int64, int64) {}
