package realtest

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// A Program is a running program that is neither berth nor a client: a proxy in
// front of it, or another registry.
type Program struct {
	Log *Log // both of its streams

	t     testing.TB
	name  string
	child *child
}

// ProgramOptions say how StartProgram runs a program.
type ProgramOptions struct {
	Name string   // as Tool knows it
	Args []string // its arguments
	Env  []string // KEY=value, more environment
	Dir  string   // where it runs; empty: where the test does

	// Ready is asked until it returns nil, for a minute at most.
	Ready func() error
}

// StartProgram starts a program, waits until it is ready, and ends it with
// SIGTERM when the test ends.
func StartProgram(t testing.TB, o ProgramOptions) *Program {
	t.Helper()
	p := &Program{Log: &Log{t: t}, t: t, name: o.Name}
	cmd := exec.Command(Tool(t, o.Name), o.Args...)
	cmd.Env = append(cleanEnv(), o.Env...)
	cmd.Dir = o.Dir
	cmd.Stdout, cmd.Stderr = p.Log, p.Log
	cmd.WaitDelay = 10 * time.Second
	var err error
	if p.child, err = startChild(cmd, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Stop()
		if t.Failed() {
			t.Logf("the end of what %s wrote:\n%s", p.name, p.Log.Tail(40))
		}
	})
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		err := o.Ready()
		if err == nil {
			return p
		}
		if p.child.ended() || time.Now().After(end) {
			t.Fatalf("%s is not ready: %v\n%s", o.Name, err, p.Log)
		}
	}
}

// Stop ends the program with SIGTERM, and with SIGKILL if it hasn't ended after
// half a minute.
func (p *Program) Stop() {
	if !p.child.ended() {
		p.child.signal(syscall.SIGTERM, 30*time.Second)
	}
}

// Signal sends a signal to the program: SIGHUP makes nginx and httpd read their
// configuration again.
func (p *Program) Signal(sig os.Signal) error { return p.child.cmd.Process.Signal(sig) }
