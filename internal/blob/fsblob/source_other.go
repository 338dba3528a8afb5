//go:build !linux

package fsblob

// hasSources says that there is no openRaw.
const hasSources = false

func (d *disk) openRaw(name string) (source, stamp, error) { return d.openSource(name) }
