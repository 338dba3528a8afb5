package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// exitInterrupted is how shells report a program that Ctrl-C ended.
const exitInterrupted = exitError(130)

var errNoTerminal = errors.New("there is no terminal to ask for a password: give it on standard input with --stdin")

// An asker gets passwords from a person, or line by line from a program.
type asker struct {
	lines  *bufio.Reader // nil to ask a person
	in     io.Reader
	stderr io.Writer
}

func newAsker(cmd *cobra.Command, stdin bool) *asker {
	a := &asker{in: cmd.InOrStdin(), stderr: cmd.ErrOrStderr()}
	if stdin {
		a.lines = bufio.NewReader(a.in)
	}
	return a
}

// newPassword returns a password for user that was typed twice, or the next line.
func (a *asker) newPassword(user string) (string, error) {
	password, err := a.password(user)
	if err != nil {
		return "", err
	}
	if password == "" {
		return "", fmt.Errorf("the password of %s is empty", user)
	}
	if a.lines != nil {
		return password, nil
	}
	again, err := a.typed(fmt.Sprintf("Again for %s: ", user))
	if err != nil {
		return "", err
	}
	if again != password {
		return "", errors.New("the two passwords differ: nothing was changed")
	}
	return password, nil
}

// password returns what was typed for user, or the next line.
func (a *asker) password(user string) (string, error) {
	if a.lines == nil {
		return a.typed(fmt.Sprintf("Password for %s: ", user))
	}
	line, err := a.lines.ReadString('\n')
	if err == io.EOF && line == "" {
		return "", fmt.Errorf("standard input has no line with a password for %s", user)
	}
	if err != nil && err != io.EOF {
		return "", fmt.Errorf("read standard input: %w", err)
	}
	return strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"), nil
}

func (a *asker) typed(prompt string) (string, error) {
	tty, done := terminal(a.in)
	if tty == nil {
		return "", errNoTerminal
	}
	defer done()
	return askTerminal(tty, promptTo(tty, a.stderr), prompt)
}

// terminal returns the terminal of the process, even if stdin is a pipe, and
// how to let go of it. It is nil if there is none, or if stdin is not the
// process's own.
func terminal(stdin io.Reader) (*os.File, func()) {
	f, ok := stdin.(*os.File)
	if !ok {
		return nil, nil
	}
	if runtime.GOOS != "windows" {
		if tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0); err == nil {
			return tty, func() { tty.Close() }
		}
	}
	if term.IsTerminal(int(f.Fd())) {
		return f, func() {}
	}
	return nil, nil
}

// promptTo returns where to write for a person at tty to see it: standard
// input may be open for reading only.
func promptTo(tty *os.File, stderr io.Writer) io.Writer {
	if tty.Name() == "/dev/tty" {
		return tty
	}
	return stderr
}

// askTerminal reads a line without echo. Ctrl-C brings the echo back and
// returns exitInterrupted.
func askTerminal(tty *os.File, out io.Writer, prompt string) (string, error) {
	fd := int(tty.Fd())
	state, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("ask for a password: %w", err)
	}
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt)
	defer signal.Stop(interrupted)

	fmt.Fprint(out, prompt)
	typed := make(chan error, 1)
	var password []byte
	go func() {
		var err error
		password, err = term.ReadPassword(fd)
		typed <- err
	}()
	select {
	case err = <-typed:
	case <-interrupted:
		err = exitInterrupted
	}
	err = errors.Join(err, term.Restore(fd, state))
	fmt.Fprintln(out)
	if err != nil {
		return "", err
	}
	return string(password), nil
}
