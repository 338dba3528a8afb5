package image

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"berth/test/realtest"
)

// A command is a line that a README tells people to type, with what it then
// shows: parts of what is printed, separated by … there.
type command struct {
	line  string
	shows []string
}

// commands returns those of the blocks of one language, in order.
func commands(text, language string) []command {
	var list []command
	inside := false
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case line == "```"+language:
			inside = true
		case line == "```":
			inside = false
		case !inside:
		case language == "powershell":
			list = append(list, command{line: line})
		case strings.HasPrefix(line, "$ "):
			line, _, _ = strings.Cut(line[2:], "   # ")
			list = append(list, command{line: strings.TrimRight(line, " ")})
		default:
			last := &list[len(list)-1]
			last.shows = append(last.shows, line)
		}
	}
	return list
}

func readme(t *testing.T, name string) string {
	t.Helper()
	return readFile(t, filepath.Join(realtest.Sources(t), name))
}

// TestReadmesAgree holds that both languages tell the same commands, and that
// those for PowerShell are those for a shell.
func TestReadmesAgree(t *testing.T) {
	english, chinese := readme(t, "README.md"), readme(t, "README.zh.md")
	shell := commands(english, "console")
	if len(shell) < 20 {
		t.Errorf("the README has %d commands only", len(shell))
	}
	for _, language := range []string{"console", "powershell"} {
		a, b := commands(english, language), commands(chinese, language)
		if !slices.EqualFunc(a, b, func(x, y command) bool { return x.line == y.line && slices.Equal(x.shows, y.shows) }) {
			t.Errorf("%s: README.md and README.zh.md tell different commands:\n%q\n%q", language, a, b)
		}
	}
	unix := strings.NewReplacer(`C:\registry`, "/srv/registry", `${PWD}\auth`, "$PWD/auth", `auth\htpasswd`, "auth/htpasswd", "mkdir auth", "mkdir -p auth")
	for _, c := range commands(english, "powershell") {
		line := unix.Replace(c.line)
		if !slices.ContainsFunc(shell, func(s command) bool { return s.line == line }) {
			t.Errorf("PowerShell's %q is not among the commands for a shell", c.line)
		}
	}
}

// TestReadme types the commands of the README, one after the other, and compares
// what they show. What differs is what the tests' engine cannot do: containers
// are in the host's network, on a free port.
func TestReadme(t *testing.T) {
	r := newReader(t)
	for _, c := range commands(readme(t, "README.md"), "console") {
		r.follow(t, c)
	}
}

// A reader follows the README.
type reader struct {
	docker *realtest.DockerCLI
	bare   *realtest.CLI // a shell
	shell  *realtest.CLI // the same, with variables that name the container's registry
	addr   string        // of the container
	data   string
	swap   *strings.Replacer
}

func newReader(t *testing.T) *reader {
	t.Helper()
	docker := realtest.Docker(t)
	r := &reader{docker: docker, addr: freeAddr(t), data: folder(t, 0o755)}
	docker.Run("tag", docker.Build("berth-readme:latest", realtest.Image{Layers: []int64{70_000}, Seed: 21}), "alpine")
	docker.Run("rmi", "berth-readme:latest")
	t.Cleanup(func() { docker.Try("rm", "-f", "registry") })

	bin := t.TempDir()
	if err := os.Symlink(realtest.Berth(t), filepath.Join(bin, "berth")); err != nil {
		t.Fatal(err)
	}
	r.bare = realtest.NewCLI(t, "bash", "-c").With("DOCKER_HOST="+docker.Host, "DOCKER_CLI_HINTS=false", "PATH="+bin+":"+os.Getenv("PATH"))
	r.shell = r.bare.With("BERTH_DATA="+r.data, "BERTH_HTTP_LISTEN="+r.addr)
	home := r.shell.Home
	for _, name := range []string{imageFile(), programFolder() + ".tar.gz"} {
		if err := os.Symlink(filepath.Join(realtest.Dist(t), name), filepath.Join(home, name)); err != nil {
			t.Fatal(err)
		}
	}
	writeFile(t, home, "berth.yml", recipe(t, "systemd/berth.yml"))
	realtest.NewCLI(t, realtest.Berth(t)).Run("tls", "self-signed", "--dir", filepath.Join(home, "made"), "127.0.0.1")
	if err := os.Mkdir(filepath.Join(home, "certs"), 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(home, "certs"), "domain.crt", readFile(t, filepath.Join(home, "made", "cert.pem")))
	writeFile(t, filepath.Join(home, "certs"), "domain.key", readFile(t, filepath.Join(home, "made", "key.pem")))
	r.swap = strings.NewReplacer("amd64", runtime.GOARCH, "/srv/registry", r.data, "localhost:5000", r.addr,
		"docker run -d", "docker run -d --health-interval 500ms", "-p 5000:5000", "--network host -e REGISTRY_HTTP_ADDR="+r.addr, "-p 443:443", "--network host", "0.0.0.0:443", r.addr)
	return r
}

// follow types one command.
func (r *reader) follow(t *testing.T, c command) {
	t.Helper()
	if strings.Contains(c.line, " serve ") {
		r.serve(t, c)
		return
	}
	said, err := r.shell.Try(r.swap.Replace(c.line))
	refused := slices.Contains(c.shows, "no basic auth credentials")
	if (err != nil) != refused {
		t.Fatalf("%s: %v\n%s", c.line, err, said)
	}
	shows(t, c, said)
	if strings.HasPrefix(c.line, "docker run -d") {
		r.docker.Container("registry").AwaitHealthy()
	}
}

// serve starts the command of which the README shows the first line, sees that
// it does what it shows, and stops it. It has a folder of its own.
func (r *reader) serve(t *testing.T, c command) {
	t.Helper()
	addr, data := freeAddr(t), folder(t, 0o755)
	line := strings.NewReplacer("amd64", runtime.GOARCH, "/srv/registry", data).Replace(c.line)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	cmd := r.bare.With("BERTH_HTTP_LISTEN="+addr).Command(ctx, "exec "+line)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	awaitListening(t, addr)
	stop()
	if err := cmd.Wait(); err != nil && !isCanceled(ctx, err) {
		t.Errorf("%s: %v\n%s", c.line, err, said.String())
	}
	c.shows = []string{strings.NewReplacer("127.0.0.1:5000", addr, "/srv/registry", data).Replace(strings.Join(c.shows, "\n"))}
	shows(t, c, said.String())
}

// isCanceled reports whether a program ended well after it was told to end.
func isCanceled(ctx context.Context, err error) bool {
	_, failed := err.(*exec.ExitError)
	return ctx.Err() != nil && !failed
}

// shows holds that the parts of what a README shows are printed, in order.
func shows(t *testing.T, c command, said string) {
	t.Helper()
	rest := said
	for _, line := range c.shows {
		for part := range strings.SplitSeq(line, "…") {
			_, after, ok := strings.Cut(rest, strings.TrimSpace(part))
			if !ok {
				t.Errorf("%s: printed %q, want %q", c.line, said, line)
				return
			}
			rest = after
		}
	}
}
