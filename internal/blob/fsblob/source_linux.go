package fsblob

import (
	"io"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// hasSources says that there is openRaw.
const hasSources = true

// A rawFile is a regular file that is open for reading: a descriptor and no more.
// An *os.File of it would cost as much again as opening does, since it asks the
// kernel for its flags and whether it can be polled, which no regular file can.
// Only one goroutine uses it, and it has to be closed.
type rawFile struct {
	fd   int // -1 when it is closed
	name string
}

// openRaw is open with an openat2, an fstat and nothing else.
func (d *disk) openRaw(name string) (source, stamp, error) {
	var fd int
	err := d.do("open", name, func() (err error) {
		fd, err = d.openFD(name, unix.O_RDONLY, 0)
		return err
	})
	if err != nil {
		return nil, stamp{}, err
	}
	f := &rawFile{fd, name}
	var st unix.Stat_t
	if err := f.call("fstat", func() error { return unix.Fstat(fd, &st) }); err != nil {
		f.Close()
		return nil, stamp{}, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		f.Close()
		return nil, stamp{}, errNotThere(name)
	}
	return f, newStamp(&st), nil
}

// openSyncer opens a directory as openDir does, as a descriptor and no more.
func (d *disk) openSyncer(name string) (syncer, error) {
	if d.plain {
		return d.openDir(name)
	}
	if d.kept != nil {
		if fd, err := d.keptDir(name); err == nil {
			return &keptSyncer{rawFile{fd, name}}, nil
		}
	}
	fd, err := d.openFD(name, unix.O_RDONLY, fs.ModeDir)
	if err != nil {
		return nil, err
	}
	return &rawFile{fd, name}, nil
}

// Sync makes the file durable.
func (f *rawFile) Sync() error { return f.call("fsync", func() error { return unix.Fsync(f.fd) }) }

// call does f until no signal interrupts it.
func (f *rawFile) call(op string, do func() error) error {
	if f.fd < 0 {
		return &fs.PathError{Op: op, Path: f.name, Err: os.ErrClosed}
	}
	for {
		err := do()
		if err == nil {
			return nil
		}
		if err != unix.EINTR {
			return &fs.PathError{Op: op, Path: f.name, Err: err}
		}
	}
}

// maxRead is what the kernel reads at once, at most.
const maxRead = 1 << 30

// Read implements io.Reader.
func (f *rawFile) Read(p []byte) (n int, err error) {
	err = f.call("read", func() (err error) { n, err = unix.Read(f.fd, p[:min(len(p), maxRead)]); return err })
	return atEnd(n, len(p), err)
}

// ReadAt implements io.ReaderAt.
func (f *rawFile) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) && err == nil {
		var m int
		err = f.call("pread", func() (err error) { m, err = unix.Pread(f.fd, p[n:min(len(p), n+maxRead)], off+int64(n)); return err })
		m, err = atEnd(m, len(p), err)
		n += m
	}
	return n, err
}

// atEnd makes io.EOF of a read of nothing.
func atEnd(n, want int, err error) (int, error) {
	switch {
	case err != nil:
		return 0, err
	case n == 0 && want > 0:
		return 0, io.EOF
	}
	return n, nil
}

// Seek implements io.Seeker.
func (f *rawFile) Seek(offset int64, whence int) (at int64, err error) {
	err = f.call("seek", func() (err error) { at, err = unix.Seek(f.fd, offset, whence); return err })
	return at, err
}

// Close implements io.Closer.
func (f *rawFile) Close() error {
	if f.fd < 0 {
		return &fs.PathError{Op: "close", Path: f.name, Err: os.ErrClosed}
	}
	fd := f.fd
	f.fd = -1
	if err := unix.Close(fd); err != nil && err != unix.EINTR { // it is closed then
		return &fs.PathError{Op: "close", Path: f.name, Err: err}
	}
	return nil
}

// SyscallConn implements syscall.Conn.
func (f *rawFile) SyscallConn() (syscall.RawConn, error) { return (*rawConn)(f), nil }

// A rawConn is the syscall.RawConn of a rawFile.
type rawConn rawFile

// Control implements syscall.RawConn.
func (c *rawConn) Control(f func(fd uintptr)) error {
	return (*rawFile)(c).call("use", func() error { f(uintptr(c.fd)); return nil })
}

// Read implements syscall.RawConn. Reading a regular file waits for nothing.
func (c *rawConn) Read(f func(fd uintptr) bool) error {
	return (*rawFile)(c).call("read", func() error { f(uintptr(c.fd)); return nil })
}

// Write implements syscall.RawConn: the file is not open for that.
func (c *rawConn) Write(func(fd uintptr) bool) error {
	return &fs.PathError{Op: "write", Path: c.name, Err: os.ErrPermission}
}
