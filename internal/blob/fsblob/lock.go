package fsblob

import (
	"fmt"
	"io"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"

	"berth/internal/osfile"
)

const lockName = berthDir + "/lock"

// A Lock is the right to use a data directory. The system takes it away when the
// process ends, however it ends.
type Lock struct {
	f     *os.File
	close func() error
}

// A LockedError says that another process uses the data directory. Host and PID
// are what that one has written down: they are empty and 0 if it hasn't yet, and
// the PID means something only on that host, or in that container.
type LockedError struct {
	Dir  string
	Host string
	PID  int
}

func (e *LockedError) Error() string {
	who := "another process"
	if e.PID != 0 {
		who = fmt.Sprintf("process %d on host %s", e.PID, e.Host)
	}
	return fmt.Sprintf("data directory %s is in use by %s: one process at a time may use it; stop that one, choose another directory with --data, "+
		"or use the commands that talk to the running server", e.Dir, who)
}

// LockDir locks the data directory dir, which it makes if there is none. The
// error is a *LockedError when another one has the lock.
func LockDir(dir string) (*Lock, error) {
	d, err := openDisk(dir)
	if err != nil {
		return nil, explain(dir, err)
	}
	defer d.close()
	l, err := d.lock(dir)
	if _, ok := err.(*LockedError); err != nil && !ok {
		return nil, explain(dir, err)
	}
	return l, err
}

func (d *disk) lock(dir string) (*Lock, error) {
	if err := d.mkdir(berthDir, privateDir); err != nil {
		return nil, err
	}
	f, err := d.openOrCreate(lockName)
	if err != nil {
		return nil, err
	}
	ok, err := osfile.TryLock(f.File)
	if err == nil && !ok {
		err = lockedBy(dir, f.File)
	}
	if err == nil {
		err = sign(f)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &Lock{f: f.File, close: sync.OnceValue(f.Close)}, nil
}

// openOrCreate opens a regular file, which it makes if there is none.
func (d *disk) openOrCreate(name string) (*file, error) {
	f, _, err := d.open(name, os.O_RDWR)
	if !isMissing(err) {
		return f, err
	}
	f, err = d.create(name)
	if err == nil {
		return f, nil
	}
	// Another process may have made it just now. A link there is refused by both.
	if again, _, oerr := d.open(name, os.O_RDWR); oerr == nil {
		return again, nil
	}
	return nil, err
}

// sign writes down who has the lock. What the file has already it is written over, so
// that a full disk keeps nobody from starting; a new file may stay empty there.
func sign(f *file) error {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	text := fmt.Appendf(nil, "%d %s\n", os.Getpid(), host)
	_, err = f.WriteAt(text, 0)
	if osfile.NoSpace(err) {
		return nil
	}
	if err == nil {
		err = f.Truncate(int64(len(text)))
	}
	return err
}

// lockedBy reads who has the lock.
func lockedBy(dir string, f *os.File) error {
	e := &LockedError{Dir: path.Clean(dir)}
	b, err := io.ReadAll(io.LimitReader(f, 512))
	pid, host, ok := strings.Cut(strings.TrimSpace(string(b)), " ")
	if n, perr := strconv.Atoi(pid); err == nil && ok && perr == nil {
		e.PID, e.Host = n, host
	}
	return e
}

// Close gives the lock back. The file stays: removing it would let two processes
// lock two files of the same name.
func (l *Lock) Close() error { return l.close() }
