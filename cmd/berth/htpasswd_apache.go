package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"berth/internal/auth/htpasswd"
)

// The exit codes of Apache's htpasswd.
const (
	apacheFile        = 1
	apacheUsage       = 2
	apacheMismatch    = 3
	apacheOverflow    = 5
	apacheBadUser     = 6
	apacheBadFile     = 7
	apacheGeneral     = 9
	apacheUnsupported = 10
)

const (
	// apacheMaxText is one more than the bytes that a user name or a password
	// may have, as its messages count them.
	apacheMaxText = 256
	apacheMaxPath = 4096

	apacheDefaultCost = 5
)

// An apacheMode is what an invocation is for; the flags exclude each other.
type apacheMode uint

const (
	apacheUpdate apacheMode = 0
	apacheCreate apacheMode = 1 << (iota - 1) // -c
	apachePrint                               // -n
	apacheDelete                              // -D
	apacheVerify                              // -v
)

// An apacheSource is where the password comes from.
type apacheSource int

const (
	fromPrompt   apacheSource = iota
	fromArgument              // -b
	fromStdin                 // -i
)

// An apache is one run of Apache's htpasswd.
type apache struct {
	stdin          io.Reader
	lines          *bufio.Reader // over stdin, for prompts without a terminal
	stdout, stderr io.Writer

	mode     apacheMode
	from     apacheSource
	scheme   htpasswd.Scheme
	refused  string // the flag of a scheme that is not made; "" if it is
	cost     int
	path     string
	user     string
	password *string // nil until it is known
}

// An apacheError ends a run.
type apacheError struct {
	code int
	text string // with its newline; what was printed already is not in it
}

func (e *apacheError) Error() string { return e.text }

// apacheFailed is an error that Apache's prints behind its name.
func apacheFailed(code int, format string, args ...any) error {
	return &apacheError{code, "htpasswd: " + fmt.Sprintf(format, args...) + "\n"}
}

// runApacheHtpasswd behaves as Apache's htpasswd does when it is called with
// args, which begin behind the name of the program: same output, same exit
// codes, same file. It differs where Apache's would damage a file or make a
// line that can log nobody in: it adds a missing newline at the end of the
// file, replaces the file as a whole, and refuses passwords of more than 72
// bytes for bcrypt, invalid rounds, control characters in names, -d and -p.
func runApacheHtpasswd(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &apache{stdin: stdin, lines: bufio.NewReader(stdin), stdout: stdout, stderr: stderr, scheme: htpasswd.APR1}
	err := a.run(args)
	if err == nil {
		return 0
	}
	if e, ok := errors.AsType[*apacheError](err); ok {
		fmt.Fprint(stderr, e.text)
		return e.code
	}
	if code, ok := exitCode(err); ok {
		return code
	}
	fmt.Fprintf(stderr, "htpasswd: %v\n", err)
	return apacheGeneral
}

func (a *apache) run(args []string) error {
	rest, err := a.parseFlags(args)
	if err != nil {
		return err
	}
	if err := a.takeArguments(rest); err != nil {
		return err
	}
	if err := a.checkFile(); err != nil {
		return err
	}
	var stored string
	if a.mode != apacheDelete && a.mode != apacheVerify {
		if stored, err = a.makeHash(); err != nil {
			return err
		}
	}
	if a.mode == apachePrint {
		fmt.Fprintf(a.stdout, "%s:%s\n\n", a.user, stored)
		return nil
	}
	return a.edit(stored)
}

// parseFlags reads flags up to the first argument that is none, as getopt of
// Apache's library does: "-" is no flag, and what begins with "--" ends them.
func (a *apache) parseFlags(args []string) ([]string, error) {
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' {
		flags := args[0][1:]
		args = args[1:]
		if flags[0] == '-' {
			break
		}
		for i := 0; i < len(flags); i++ {
			flag := flags[i]
			if flag != 'C' && flag != 'r' {
				if err := a.setFlag(flag); err != nil {
					return nil, err
				}
				continue
			}
			value := flags[i+1:]
			if value == "" {
				if len(args) == 0 {
					return nil, apacheMisused(fmt.Sprintf("htpasswd: option requires an argument -- %c\n", flag))
				}
				value, args = args[0], args[1:]
			}
			if err := a.setCost(value); err != nil {
				return nil, err
			}
			break
		}
	}
	if a.mode&(a.mode-1) != 0 {
		return nil, apacheFailed(apacheUsage, "only one of -c -n -v -D may be specified")
	}
	return args, nil
}

func (a *apache) setFlag(flag byte) error {
	switch flag {
	case 'c':
		a.mode |= apacheCreate
	case 'n':
		a.mode |= apachePrint
	case 'D':
		a.mode |= apacheDelete
	case 'v':
		a.mode |= apacheVerify
	case 'b':
		a.from = fromArgument
	case 'i':
		a.from = fromStdin
	case 'm':
		a.scheme, a.refused = htpasswd.APR1, ""
	case 's':
		a.scheme, a.refused = htpasswd.SHA1, ""
	case '2':
		a.scheme, a.refused = htpasswd.SHA256Crypt, ""
	case '5':
		a.scheme, a.refused = htpasswd.SHA512Crypt, ""
	case 'B':
		a.scheme, a.refused = htpasswd.Bcrypt, ""
	case 'd':
		a.scheme, a.refused = 0, "CRYPT (-d) ignores all but 8 characters of a password"
	case 'p':
		a.scheme, a.refused = 0, "plain text (-p) is readable for everybody who gets the file"
		fmt.Fprint(a.stderr, "Warning: storing passwords as plain text might just not work on this platform.\n")
	default:
		return apacheMisused(fmt.Sprintf("htpasswd: illegal option -- %c\n", flag))
	}
	return nil
}

func (a *apache) setCost(value string) error {
	n, err := strconv.ParseInt(strings.TrimLeft(value, " \t\n\v\f\r"), 10, 32)
	if errors.Is(err, strconv.ErrRange) && !strings.Contains(value, "-") {
		err = nil // n is the largest number then
	}
	if err != nil || n <= 0 {
		return apacheFailed(apacheUsage, "argument to -C/-r must be a positive integer")
	}
	a.cost = int(n)
	return nil
}

// takeArguments reads what follows the flags: file, user, password.
func (a *apache) takeArguments(rest []string) error {
	want := 2
	if a.mode == apachePrint {
		want--
	}
	if a.from == fromArgument {
		want++
	}
	if len(rest) != want {
		return apacheMisused("")
	}
	if a.mode != apachePrint {
		if a.path = rest[0]; len(a.path) >= apacheMaxPath {
			return apacheFailed(apacheOverflow, "filename too long")
		}
		rest = rest[1:]
	}
	a.user = rest[0]
	if len(a.user) >= apacheMaxText {
		return apacheFailed(apacheOverflow, "username too long (> %d)", apacheMaxText-1)
	}
	if strings.Contains(a.user, ":") {
		return apacheFailed(apacheBadUser, "username contains illegal character ':'")
	}
	if i := strings.IndexFunc(a.user, func(r rune) bool { return r < ' ' || r == 0x7f }); i >= 0 {
		return apacheFailed(apacheBadUser, "username contains illegal character %q", a.user[i])
	}
	if a.from == fromArgument {
		if len(rest[1]) >= apacheMaxText {
			return apacheFailed(apacheOverflow, "password too long (> %d)", apacheMaxText)
		}
		a.password = &rest[1]
	}
	return nil
}

// checkFile finds out whether the file can be used before anybody types a
// password for it.
func (a *apache) checkFile() error {
	if a.mode == apachePrint {
		return nil
	}
	info, err := os.Stat(a.path)
	there := err == nil && info.Mode().IsRegular()
	switch {
	case there && a.mode == apacheVerify:
		if !canOpen(a.path, os.O_RDONLY) {
			return apacheFailed(apacheFile, "cannot open file %s for read access", a.path)
		}
	case there:
		if !canOpen(a.path, os.O_RDWR) {
			return apacheFailed(apacheFile, "cannot open file %s for read/write access", a.path)
		}
	case a.mode != apacheCreate:
		return apacheFailed(apacheFile, "cannot modify file %s; use '-c' to create it", a.path)
	case err == nil && !canOpen(a.path, os.O_WRONLY), err != nil && !canCreate(a.path):
		return apacheFailed(apacheFile, "cannot create file %s", a.path)
	}
	return nil
}

func canOpen(path string, flag int) bool {
	f, err := os.OpenFile(path, flag, 0)
	if err != nil {
		return false
	}
	f.Close()
	return true
}

// canCreate reports whether a file can be made at path, and leaves none there.
func canCreate(path string) bool {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return false
	}
	f.Close()
	return os.Remove(path) == nil
}
