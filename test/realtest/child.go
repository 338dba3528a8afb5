package realtest

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// A child is a running program that does not outlive the test process.
type child struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // what Wait said; to be read after done
}

// startChild starts cmd. On Linux the kernel ends it with sig if this process
// dies before it.
func startChild(cmd *exec.Cmd, sig syscall.Signal) (*child, error) {
	c := &child{cmd: cmd, done: make(chan struct{})}
	tether(cmd, sig)
	started := make(chan error, 1)
	go func() {
		// The kernel watches the thread that started the program, so that thread
		// must live as long as the program.
		runtime.LockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		c.err = cmd.Wait()
		close(c.done)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return c, nil
}

// ended reports whether the program has ended.
func (c *child) ended() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// signal sends sig and waits for the program to end, for at most d; then it
// kills it. It reports whether the program ended by itself.
func (c *child) signal(sig os.Signal, d time.Duration) bool {
	c.cmd.Process.Signal(sig) // it may have ended already
	timeout := time.NewTimer(d)
	defer timeout.Stop()
	select {
	case <-c.done:
		return true
	case <-timeout.C:
		c.cmd.Process.Kill()
		<-c.done
		return false
	}
}
