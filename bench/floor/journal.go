package floor

import (
	"os"
	"sync"
)

// A journal is a file of lines. Whoever adds one waits until it is synced;
// those who wait together share a sync.
type journal struct {
	file *os.File

	mu    sync.Mutex
	lines []byte        // that the next sync is for
	next  chan struct{} // closed after that
	wake  chan struct{}
	err   error
}

func openJournal(path string) (*journal, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	j := &journal{file: f, next: make(chan struct{}), wake: make(chan struct{}, 1)}
	go j.run()
	return j, nil
}

// add returns once line is on the disk.
func (j *journal) add(line string) error {
	j.mu.Lock()
	j.lines = append(append(j.lines, line...), '\n')
	done := j.next
	j.mu.Unlock()
	select {
	case j.wake <- struct{}{}:
	default: // it is awake
	}
	<-done
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.err
}

func (j *journal) run() {
	for range j.wake {
		j.mu.Lock()
		lines, done := j.lines, j.next
		j.lines, j.next = nil, make(chan struct{})
		j.mu.Unlock()
		_, err := j.file.Write(lines)
		if err == nil {
			err = syncData(j.file)
		}
		j.mu.Lock()
		if j.err == nil {
			j.err = err
		}
		j.mu.Unlock()
		close(done)
	}
}
