package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// cpu is how much CPU the process has used, all its threads together, to the
// nanosecond: the times of /proc are in hundredths of a second, which is too
// much where one measurement takes one.
func (p process) cpu() time.Duration {
	if p.pid == 0 {
		return 0
	}
	const sched = 2 // the kind of clock, see clock_getcpuclockid(3)
	var ts unix.Timespec
	if unix.ClockGettime(int32(^p.pid)<<3|sched, &ts) != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// flush writes what the file system of dir holds back, so that no measurement
// pays for what was made ready for it.
func flush(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return unix.Syncfs(int(d.Fd()))
}

// forget has the system forget the bytes of what is large in dir and on the disk:
// the files stay as they are. What is written next gets that memory, and not such
// as a virtual machine's host must find first, which takes ten times as long as
// to write to it.
func forget(dir string) error {
	const large = 16 << 20
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() < large {
			return nil
		}
		if err != nil {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	})
}
