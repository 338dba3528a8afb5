package fsblob

import (
	"io"
	"os"
	"syscall"
)

// A source is an open file that is only read. It shows of the file what reading
// needs and SyscallConn, by which package net finds what it can give to sendfile;
// it has no WriteTo that counts, which would be asked first and copies less well.
type source interface {
	io.ReadSeekCloser
	io.ReaderAt
	syscall.Conn
}

// openSource opens the content of a finished object as open does.
func (d *disk) openSource(name string) (source, stamp, error) {
	if hasSources && !d.plain {
		return d.openRaw(name)
	}
	f, info, err := d.open(name, os.O_RDONLY)
	if err != nil {
		return nil, stamp{}, err
	}
	return f.File, stampOf(info), nil
}
