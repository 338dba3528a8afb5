package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// openTerminal returns both ends of a new terminal.
func openTerminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { person.Close() })
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return person, program
}

// atTerminal runs a program whose terminal a person types the answers at, one
// whenever a prompt appears. It returns all that was to be seen there.
func atTerminal(t *testing.T, program string, args []string, answers ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // rather than hang
	defer cancel()
	cmd := exec.CommandContext(ctx, program)
	cmd.Args = args
	person, tty := openTerminal(t)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	tty.Close()
	var seen strings.Builder
	buf := make([]byte, 1024)
	for {
		n, err := person.Read(buf)
		seen.Write(buf[:n])
		if err != nil { // the last of the program's ends is closed
			break
		}
		if strings.HasSuffix(string(buf[:n]), ": ") && len(answers) > 0 {
			waitForSilence(ctx, t, person)
			if _, err := person.WriteString(answers[0]); err != nil {
				t.Fatal(err)
			}
			answers = answers[1:]
		}
	}
	_ = cmd.Wait() // its exit code is looked at below
	return fmt.Sprintf("%s\nexit code %d", withoutSalts(seen.String()), cmd.ProcessState.ExitCode())
}

// waitForSilence waits until the terminal shows no longer what is typed.
func waitForSilence(ctx context.Context, t *testing.T, person *os.File) {
	t.Helper()
	for ctx.Err() == nil {
		state, err := unix.IoctlGetTermios(int(person.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		if state.Lflag&unix.ECHO == 0 {
			return
		}
		runtime.Gosched()
	}
}

// TestApachePrompts compares what a person sees who is asked for a password.
func TestApachePrompts(t *testing.T) {
	theirs, ours := apacheProgram(t), ourProgram(t)
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, []byte(twoUsers), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		args    []string
		answers []string
	}{
		{"same twice", []string{"-n", "u"}, []string{"hunter2\n", "hunter2\n"}},
		{"different", []string{"-n", "u"}, []string{"hunter2\n", "hunter3\n"}},
		{"mended while typing", []string{"-ns", "u"}, []string{"hunterr\x7f2\n", "hunter2\n"}},
		{"empty", []string{"-ns", "u"}, []string{"\n", "\n"}},
		{"verify", []string{"-v", file, "v"}, []string{"p\n"}},
		{"verify wrong", []string{"-v", file, "v"}, []string{"hunter2\n"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			run := func(program string) string {
				return atTerminal(t, program, append([]string{"htpasswd"}, tt.args...), tt.answers...)
			}
			want, got := run(theirs), run(ours)
			if got != want {
				t.Errorf("got:\n%s\nApache's:\n%s", got, want)
			}
			if strings.Contains(got, "hunter") {
				t.Errorf("the password was to be seen:\n%s", got)
			}
		})
	}
}

// TestPasswordTyped adds a user at a terminal, and is interrupted.
func TestPasswordTyped(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	run := func(answers ...string) string {
		return atTerminal(t, ourProgram(t), []string{"berth", "htpasswd", "add", "--cost", "4", file, "bob"}, answers...)
	}
	const asked = "Password for bob: \r\nAgain for bob: \r\n"
	if got, want := run("hunter2\n", "hunter3\n"), asked+"berth: the two passwords differ: nothing was changed\r\n\nexit code 1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := run("hunter\x03"), "Password for bob: \r\n\nexit code 130"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("a file was made for nobody")
	}
	if got, want := run("hunter2\n", "hunter2\n"), asked+"added bob\r\n\nexit code 0"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
