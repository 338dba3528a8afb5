package realtest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// A CLI runs one client program, with a home of its own so that neither log-ins
// nor caches leak from or into the machine. A command may take ten minutes.
type CLI struct {
	Home string // its home directory, which is also where it runs

	t    testing.TB
	name string
	path string
	args []string // before those of each call
	env  []string
	in   string
}

// NewCLI returns a CLI for a program that Tool finds; args come before the
// arguments of each call.
func NewCLI(t testing.TB, name string, args ...string) *CLI {
	t.Helper()
	c := &CLI{t: t, name: name, path: Tool(t, name), args: args, Home: t.TempDir()}
	for _, kv := range cleanEnv() {
		key, _, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(key, "DOCKER_") || strings.HasPrefix(key, "XDG_") || strings.HasPrefix(key, "HELM_") ||
			strings.HasSuffix(strings.ToLower(key), "_proxy") || key == "HOME" || key == "REGISTRY_AUTH_FILE" || key == "SSL_CERT_DIR" {
			continue
		}
		c.env = append(c.env, kv)
	}
	auth := filepath.Join(c.Home, "auth.json")
	if err := os.WriteFile(auth, []byte("{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.env = append(c.env,
		"HOME="+c.Home,
		"DOCKER_CONFIG="+filepath.Join(c.Home, ".docker"),
		"REGISTRY_AUTH_FILE="+auth, // podman, buildah, skopeo: it must exist
		"XDG_RUNTIME_DIR="+filepath.Join(c.Home, "run"),
		"TMPDIR="+mkdir(t, c.Home, "tmp"),
	)
	mkdir(t, c.Home, "run")
	return c
}

func mkdir(t testing.TB, elem ...string) string {
	t.Helper()
	dir := filepath.Join(elem...)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// With returns a copy of c with more environment, KEY=value. They share a home.
func (c *CLI) With(env ...string) *CLI {
	d := *c
	d.env = slices.Concat(c.env, env)
	return &d
}

// Input returns a copy of c whose next commands read s on standard input, for
// login --password-stdin.
func (c *CLI) Input(s string) *CLI {
	d := *c
	d.in = s
	return &d
}

// Command returns a command that has not been started.
func (c *CLI) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, c.path, slices.Concat(c.args, args)...)
	cmd.Env = c.env
	cmd.Dir = c.Home
	cmd.Stdin = strings.NewReader(c.in)
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// Try runs a command and returns what it printed, both streams together.
func (c *CLI) Try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	out, err := c.Command(ctx, args...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s %s: %w\n%s", c.name, strings.Join(args, " "), err, out)
	}
	return string(out), err
}

// Run runs a command that must succeed, and returns what it printed, both
// streams together.
func (c *CLI) Run(args ...string) string {
	c.t.Helper()
	out, err := c.Try(args...)
	if err != nil {
		c.t.Fatal(err)
	}
	return out
}

// Fails runs a command that must not succeed, and returns what it printed.
func (c *CLI) Fails(args ...string) string {
	c.t.Helper()
	out, err := c.Try(args...)
	if err == nil {
		c.t.Fatalf("%s %s succeeded, want a failure; it printed:\n%s", c.name, strings.Join(args, " "), out)
	}
	return out
}

// Out runs a command that must succeed, and returns its standard output alone,
// without the spaces around it.
func (c *CLI) Out(args ...string) string {
	c.t.Helper()
	var out bytes.Buffer
	c.Stream(&out, args...)
	return strings.TrimSpace(out.String())
}

// Stream runs a command that must succeed and whose standard output goes to w.
func (c *CLI) Stream(w io.Writer, args ...string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	cmd := c.Command(ctx, args...)
	var errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = w, &errs
	if err := cmd.Run(); err != nil {
		c.t.Fatalf("%s %s: %v\n%s", c.name, strings.Join(args, " "), err, errs.Bytes())
	}
}
