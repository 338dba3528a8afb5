//go:build !unix

package listen

// fileLimit reports that this system has no limit of open files to ask for.
func fileLimit() (uint64, bool) { return 0, false }
