//go:build !linux

package fsblob

// hasSources says that there is no openRaw.
const hasSources = false

func (d *disk) openRaw(name string) (source, stamp, error) { return d.openSource(name) }

func (d *disk) openSyncer(name string) (syncer, error) { return d.openDir(name) }
