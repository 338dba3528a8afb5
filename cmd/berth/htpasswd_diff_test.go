//go:build unix

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"berth/internal/auth/htpasswd"
)

// apacheProgram returns Apache's own htpasswd, without which nothing here can
// be known.
func apacheProgram(t *testing.T) string {
	t.Helper()
	const path = "/usr/bin/htpasswd"
	if err := exec.Command(path, "-nbs", "u", "p").Run(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("Apache's htpasswd is needed (apt-get install apache2-utils): %v", err)
		}
		t.Skipf("SKIPPED, nothing compared: Apache's htpasswd is needed (apt-get install apache2-utils): %v", err)
	}
	return path
}

// ourProgram returns what is berth when it is called htpasswd; see TestMain.
func ourProgram(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return self
}

// An outcome is all that a run leaves behind.
type outcome struct {
	code           int
	stdout, stderr string
	files          string
}

// runHtpasswd runs program as htpasswd in a directory with the files, without
// a terminal.
func runHtpasswd(t *testing.T, program string, files map[string]string, stdin string, args ...string) outcome {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Args = append([]string{"htpasswd"}, args...)
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = dir, strings.NewReader(stdin), &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return outcome{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String(), listing(t, dir)}
}

// listing writes down every file below dir: name, mode and content.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var text strings.Builder
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&text, "-- %s %v --\n%s", e.Name(), info.Mode(), data)
	}
	return text.String()
}

var (
	saltedBcrypt = regexp.MustCompile(`(\$2y\$\d\d\$)[./0-9A-Za-z]{53}`)
	saltedCrypt  = regexp.MustCompile(`(\$(?:apr1|5|6)\$(?:rounds=\d+\$)?)[./0-9A-Za-z]{8,16}\$([./0-9A-Za-z]{22,86})`)
)

// withoutSalts makes hashes of the same kind, cost and length equal.
func withoutSalts(s string) string {
	s = saltedBcrypt.ReplaceAllString(s, "${1}x")
	return saltedCrypt.ReplaceAllStringFunc(s, func(h string) string {
		m := saltedCrypt.FindStringSubmatch(h)
		return fmt.Sprintf("%s%d", m[1], len(h))
	})
}

func (o outcome) String() string {
	return withoutSalts(fmt.Sprintf("exit code %d\nstdout:\n%s\nstderr:\n%s\nfiles:\n%s", o.code, o.stdout, o.stderr, o.files))
}

type comparison struct {
	name  string
	args  []string
	stdin string
	file  string // content of the file f; "" for none
}

func words(s string) []string { return strings.Fields(s) }

const twoUsers = "# people\nu:$apr1$Vo8UTm3h$2SvKU3xLhlW/2Da44hlGF1\n\n  v:{SHA}UWuXg/ylF+7L0dBk2i0WUxCxl1k=\n"

func comparisons() []comparison {
	long := strings.Repeat("a", 300)
	return []comparison{
		{name: "default hash", args: words("-nb u p")},
		{name: "MD5", args: words("-nbm u p")},
		{name: "bcrypt", args: words("-Bbn u p")},
		{name: "bcrypt, flags apart", args: words("-n -b -B u p")},
		{name: "bcrypt cost", args: words("-nbBC 6 u p")},
		{name: "bcrypt cost attached", args: words("-nbBC6 u p")},
		{name: "bcrypt cost by -r", args: words("-Bnbr6 u p")},
		{name: "cost eats the flags behind it", args: words("-C7nB -b u p")},
		{name: "cost with blanks and sign", args: []string{"-Bnb", "-C", " +5", "u", "p"}},
		{name: "cost too low", args: words("-Bbn -C 3 u p")},
		{name: "cost too high", args: words("-Bbn -C 18 u p")},
		{name: "cost absurd", args: words("-Bbn -C 99999999999999999999 u p")},
		{name: "cost no number", args: words("-Bbn -C x u p")},
		{name: "cost trailing text", args: words("-Bbn -C5x u p")},
		{name: "cost empty", args: []string{"-Bbn", "-C", "", "u", "p"}},
		{name: "cost negative", args: words("-Bbn -C -5 u p")},
		{name: "cost zero", args: words("-Bbn -C 0 u p")},
		{name: "cost ignored", args: words("-nb -C 6 u p")},
		{name: "cost ignored for SHA", args: words("-nbs -r 6 u p")},
		{name: "SHA", args: words("-nbs u p")},
		{name: "SHA-256", args: words("-nb2 u p")},
		{name: "SHA-512", args: words("-nb5 u p")},
		{name: "SHA-256 rounds", args: words("-nb2r 1000 u p")},
		{name: "SHA-512 rounds", args: words("-nb5 -r 5000 u p")},
		{name: "the last algorithm counts", args: words("-nbBs u p")},
		{name: "-p can still delete", args: words("-pD f u"), file: twoUsers},
		{name: "-d can still verify", args: words("-dvb f v p"), file: twoUsers},

		{name: "no arguments"},
		{name: "user missing", args: words("-nb")},
		{name: "password missing", args: words("-nb u")},
		{name: "too many", args: words("-nb u p x")},
		{name: "unknown flag", args: words("-z")},
		{name: "unknown flag behind others", args: words("-nbh u p")},
		{name: "flag without value", args: words("-nbBC")},
		{name: "--help", args: words("--help")},
		{name: "two dashes end flags", args: words("-nb -- u p")},
		{name: "two dashes and text end flags", args: words("-nb --foo u p")},
		{name: "a dash is an argument", args: words("-nb - p")},
		{name: "password of two dashes", args: words("-nb u --")},
		{name: "flags behind arguments", args: words("-n u -b p")},
		{name: "-n and -c", args: words("-nbc u p")},
		{name: "-n and -v", args: words("-nbv u p")},
		{name: "-n and -D", args: words("-nbD u p")},
		{name: "-c and -D", args: words("-cD f u")},
		{name: "-c and -v", args: words("-cv f u")},
		{name: "-b and -i", args: words("-nbi u"), stdin: "p\n"},
		{name: "-i and -b", args: words("-nib u p")},

		{name: "empty user", args: []string{"-nb", "", "p"}},
		{name: "empty password", args: []string{"-nb", "u", ""}},
		{name: "colon in user", args: words("-nb u:x p")},
		{name: "user too long", args: []string{"-nb", long, "p"}},
		{name: "user just too long", args: []string{"-nb", long[:256], "p"}},
		{name: "password too long", args: []string{"-nb", "u", long}},
		{name: "password just too long", args: []string{"-nb", "u", long[:256]}},
		{name: "password as long as may be", args: []string{"-nbs", "u", long[:255]}},
		{name: "file name too long", args: []string{"-b", strings.Repeat(long, 20), "u", "p"}},

		{name: "stdin", args: words("-ni u"), stdin: "p\n"},
		{name: "stdin, same hash", args: words("-nsi u"), stdin: "pass word\r\n"},
		{name: "stdin without newline", args: words("-nsi u"), stdin: "p"},
		{name: "stdin, two lines are one password", args: words("-nsi u"), stdin: "p\nq\n"},
		{name: "stdin empty", args: words("-nsi u")},
		{name: "stdin up to NUL", args: words("-nsi u"), stdin: "p\x00q\n"},
		{name: "stdin too long", args: words("-nsi u"), stdin: long},
		{name: "stdin just too long", args: words("-nsi u"), stdin: long[:256]},
		{name: "stdin as long as may be", args: words("-nsi u"), stdin: long[:255]},

		{name: "prompt", args: words("-ns u"), stdin: "p\np\n"},
		{name: "prompt, carriage return", args: words("-ns u"), stdin: "p\r\np\r\n"},
		{name: "prompt, different", args: words("-ns u"), stdin: "p\nq\n"},
		{name: "prompt, nothing", args: words("-ns u")},
		{name: "prompt, once only", args: words("-ns u"), stdin: "p\n"},
		{name: "prompt too long", args: words("-ns u"), stdin: long + "\n" + long + "\n"},
		{name: "prompt into a file", args: words("f u"), stdin: "p\np\n", file: twoUsers},
		{name: "prompt different, file stays", args: words("f u"), stdin: "p\nq\n", file: twoUsers},
		{name: "prompt to verify", args: words("-v f v"), stdin: "p\n", file: twoUsers},
		{name: "prompt to verify, wrong", args: words("-v f v"), stdin: "q\n", file: twoUsers},
		{name: "prompt to verify, too long", args: words("-v f v"), stdin: long + "\n", file: twoUsers},
		{name: "no prompt for unknown users", args: words("-v f x"), stdin: "q\n", file: twoUsers},

		{name: "create", args: words("-cb f u p")},
		{name: "create with bcrypt", args: words("-cbB f u p")},
		{name: "create over a file", args: words("-cb f w p"), file: twoUsers},
		{name: "create nowhere", args: words("-cb no/f u p")},
		{name: "create a directory", args: words("-cb . u p")},
		{name: "add", args: words("-b f w p"), file: twoUsers},
		{name: "add to an empty file", args: words("-b f w p"), file: "\n"},
		{name: "update", args: words("-b f u p"), file: twoUsers},
		{name: "update an indented line", args: words("-b f v p"), file: twoUsers},
		{name: "update each of several lines", args: words("-b f u p"), file: "u:x\nv:y\nu:z\n"},
		{name: "update among CRLF lines", args: words("-b f u p"), file: "u:x\r\nv:y\r\n"},
		{name: "no file", args: words("-b f u p")},
		{name: "no file to delete from", args: words("-D f u")},
		{name: "no file to verify", args: words("-vb f u p")},
		{name: "a directory", args: words("-b . u p")},
		{name: "a file named -", args: words("- u")},
		{name: "delete", args: words("-D f u"), file: twoUsers},
		{name: "delete each of several lines", args: words("-D f u"), file: "u:x\nv:y\nu:z\n"},
		{name: "delete the last", args: words("-D f u"), file: "u:x\n"},
		{name: "delete nobody", args: words("-D f x"), file: twoUsers},
		{name: "delete with a password", args: words("-Db f u p"), file: twoUsers},
		{name: "bad line before", args: words("-b f u p"), file: "bad\nu:x\n"},
		{name: "bad line behind", args: words("-b f u p"), file: "u:x\nbad\n"},
		{name: "bad line, delete", args: words("-D f u"), file: "u:x\nbad\n"},
		{name: "bad line, verify", args: words("-vb f v p"), file: twoUsers + "bad\n"},

		{name: "verify", args: words("-vb f v p"), file: twoUsers},
		{name: "verify wrong", args: words("-vb f v x"), file: twoUsers},
		{name: "verify nobody", args: words("-vb f x p"), file: twoUsers},
		{name: "verify stdin", args: words("-vi f v"), stdin: "p\n", file: twoUsers},
		{name: "verify an empty hash", args: words("-vb f u p"), file: "u:\n"},
		{name: "verify several lines", args: words("-vb f u p"), file: "u:{SHA}UWuXg/ylF+7L0dBk2i0WUxCxl1k=\nu:{SHA}xxxxg/ylF+7L0dBk2i0WUxCxl1k=\n"},
		{name: "verify CRLF", args: words("-vb f u p"), file: "u:{SHA}UWuXg/ylF+7L0dBk2i0WUxCxl1k=\r\n"},
	}
}

// TestApacheComparison runs Apache's htpasswd and ours side by side: output,
// exit code and files must be the same but for the salts.
func TestApacheComparison(t *testing.T) {
	theirs, ours := apacheProgram(t), ourProgram(t)
	for _, tt := range comparisons() {
		t.Run(tt.name, func(t *testing.T) {
			files := map[string]string{}
			if tt.file != "" {
				files["f"] = tt.file
			}
			want := runHtpasswd(t, theirs, files, tt.stdin, tt.args...).String()
			got := runHtpasswd(t, ours, files, tt.stdin, tt.args...).String()
			if got != want {
				t.Errorf("htpasswd %q\ngot:\n%s\nApache's:\n%s", tt.args, got, want)
			}
		})
	}
}

// TestApacheDifferences holds where ours is meant to differ, and that Apache's
// still does what ours avoids.
func TestApacheDifferences(t *testing.T) {
	theirs, ours := apacheProgram(t), ourProgram(t)
	tests := []struct {
		name, args, file, theirs, ours string // what the outcomes have in them
	}{
		{"no newline at the end", "-sb f u p", "a:x", "a:xu:{SHA}", "a:x\nu:{SHA}"},
		{"rounds that no crypt takes", "-nb5r 10 u p", "", "stdout:\nu:*0", "exit code 3"},
		{"more rounds than are accepted", "-nb5r 1000000000 u p", "", "stdout:\nu:*0", "exit code 3"},
		{"longer than bcrypt looks", "-nbB u " + strings.Repeat("a", 73), "", "u:$2y$", "longer than 72 bytes"},
		{"DES crypt", "-nbd u p", "", "exit code 0", "exit code 10"},
		{"plain text", "-nbp u p", "", "stdout:\nu:p", "exit code 10"},
		{"DES crypt to verify", "-vb f u p", "u:/odsO6SZd14sc\n", "verification failed", "DES crypt never matches"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			files := map[string]string{}
			if tt.file != "" {
				files["f"] = tt.file
			}
			if got := runHtpasswd(t, theirs, files, "", words(tt.args)...).String(); !strings.Contains(got, tt.theirs) {
				t.Errorf("Apache's has no %q:\n%s", tt.theirs, got)
			}
			if got := runHtpasswd(t, ours, files, "", words(tt.args)...).String(); !strings.Contains(got, tt.ours) {
				t.Errorf("ours has no %q:\n%s", tt.ours, got)
			}
		})
	}
}

// TestApacheVerifiesOurs makes hashes with each program and checks them with
// the other.
func TestApacheVerifiesOurs(t *testing.T) {
	theirs, ours := apacheProgram(t), ourProgram(t)
	passwords := []string{"p", "", "correct horse", "pässwörd", "0123456789abcdef", "0123456789abcdefg", strings.Repeat("x", 72)}
	for _, flags := range []string{"-bc", "-bcB", "-bcs", "-bc2", "-bc5", "-bc2r 1001", "-bc5r 4999", "-bcBC 4"} {
		for _, password := range passwords {
			make := append(words(flags), "f", "u", password)
			made := runHtpasswd(t, ours, nil, "", make...).files
			_, text, _ := strings.Cut(made, "--\n")
			if got := runHtpasswd(t, theirs, map[string]string{"f": text}, "", "-vb", "f", "u", password); got.code != 0 {
				t.Errorf("%s %q: Apache's does not verify ours:\n%s", flags, password, got)
			}
			made = runHtpasswd(t, theirs, nil, "", make...).files
			_, text, _ = strings.Cut(made, "--\n")
			h, err := htpasswd.ParseHash(strings.TrimPrefix(strings.TrimSpace(text), "u:"))
			if err != nil || !h.Matches(password) || h.Matches(password+"x") {
				t.Errorf("%s %q: ours does not verify Apache's (%v)", flags, password, err)
			}
		}
	}
}
