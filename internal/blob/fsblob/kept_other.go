//go:build !linux

package fsblob

// keptDirs are none: here names are found anew each time.
type keptDirs struct{}

func (*keptDirs) close() {}
