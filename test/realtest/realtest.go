// Package realtest is what tests with real programs are made with: the built
// berth, a docker engine of its own, the other clients, and images made on the
// spot.
//
// A test package that uses it says so once, so that everything that was started
// is stopped:
//
//	func TestMain(m *testing.M) { realtest.Main(m) }
//
// and is pleasant from then on:
//
//	reg := realtest.Start(t, realtest.Options{})
//	docker := realtest.Docker(t)
//	image := docker.Build(reg.Addr+"/app:v1", realtest.Image{})
//	docker.Run("push", image)
//	if !reg.Log.Has("PUT", "/v2/app/manifests/v1", 201) { … }
//
// What is missing on the machine skips the test, with words on how to get it;
// with CI=true it fails it. The package knows Berth from outside only: it
// imports nothing of it.
package realtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// process is what the tests of one process share: one build of berth, one
// docker engine, and the folder that both live in.
var process struct {
	sync.Mutex
	dir    string // empty outside of Main
	builds map[string]*build
	engine *engine
}

// Main runs the tests of a package and then stops and removes what they share.
// It does not return.
func Main(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	// Sockets live in it, and their paths must be short.
	dir, err := os.MkdirTemp(shortTemp(), "berth-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "realtest:", err)
		return 1
	}
	process.Lock()
	process.dir, process.builds = dir, make(map[string]*build)
	process.Unlock()
	defer func() {
		process.Lock()
		defer process.Unlock()
		if process.engine != nil {
			process.engine.stop()
		}
		if err := os.RemoveAll(dir); err != nil {
			fmt.Fprintln(os.Stderr, "realtest:", err)
		}
	}()
	return m.Run()
}

func shortTemp() string {
	if runtime.GOOS == "linux" {
		return "/tmp"
	}
	return os.TempDir()
}

// sharedDir returns the folder of what the tests of this process share.
func sharedDir(t testing.TB) string {
	t.Helper()
	if process.dir == "" {
		t.Fatal("realtest: the package needs: func TestMain(m *testing.M) { realtest.Main(m) }")
	}
	return process.dir
}

// A build is one variant of the berth binary.
type build struct {
	once sync.Once
	path string
	err  error
}

// ProgramVar names a berth binary that make test has built from these sources.
const ProgramVar = "BERTH_TEST_PROGRAM"

// Berth returns the path of the berth binary, built when first asked for if
// nobody has built it.
func Berth(t testing.TB) string {
	t.Helper()
	if path := os.Getenv(ProgramVar); path != "" {
		return path
	}
	return built(t, "berth", "./cmd/berth", []string{"CGO_ENABLED=0"})
}

func built(t testing.TB, name, pkg string, env []string) string {
	t.Helper()
	dir := sharedDir(t)
	process.Lock()
	b := process.builds[name]
	if b == nil {
		b = new(build)
		process.builds[name] = b
	}
	process.Unlock()
	b.once.Do(func() {
		b.path = filepath.Join(dir, name+exe())
		cmd := exec.Command("go", "build", "-trimpath", "-o", b.path, pkg)
		cmd.Dir, b.err = moduleRoot()
		cmd.Env = append(os.Environ(), env...)
		if b.err != nil {
			return
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			b.err = fmt.Errorf("go build %s: %w\n%s", pkg, err, out)
		}
	})
	if b.err != nil {
		t.Fatal(b.err)
	}
	return b.path
}

func exe() string {
	if runtime.GOOS == "windows" {
		return ".exe"
	}
	return ""
}

// moduleRoot finds the folder that go.mod is in.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", fmt.Errorf("no go.mod above the working directory")
		}
		dir = up
	}
}

// Tool returns the path of a program: one of those that test/tools/install.sh
// builds, or one of the machine's.
func Tool(t testing.TB, name string) string {
	t.Helper()
	if p := filepath.Join(ToolsDir(t), "bin", name+exe()); isFile(p) {
		return p
	}
	if p, err := exec.LookPath(name); err == nil {
		return p
	}
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if p := filepath.Join(dir, name); isFile(p) {
			return p
		}
	}
	skip(t, name+" (test/tools/install.sh, run as root on Debian, gets everything)")
	return ""
}

// ToolsDir returns the folder that test/tools/install.sh keeps things in. A test
// may keep there what is dear to make and does not change.
func ToolsDir(t testing.TB) string {
	t.Helper()
	if dir := os.Getenv("BERTH_TOOLS"); dir != "" {
		return dir
	}
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(home, ".cache", "berth", "tools")
}

func isFile(p string) bool {
	info, err := os.Stat(p)
	return err == nil && info.Mode().IsRegular()
}

// Root skips the test unless it runs as root on Linux.
func Root(t testing.TB) {
	t.Helper()
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		skip(t, "root, on Linux")
	}
}

// Soak skips the test unless make soak runs it.
func Soak(t testing.TB) {
	t.Helper()
	if os.Getenv("BERTH_SOAK") == "" {
		t.Skip("takes hours; make soak runs it")
	}
}

// skip ends the test because something is missing: loudly, or with CI=true as a
// failure. Package tests do not show their skips, so they are also written to
// the file that make test prints at its end.
func skip(t testing.TB, what string) {
	t.Helper()
	msg := t.Name() + " needs " + strings.TrimSpace(what)
	if os.Getenv("CI") == "true" {
		t.Fatal(msg)
	}
	if path := os.Getenv("BERTH_SKIPS"); path != "" {
		if f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err == nil {
			fmt.Fprintln(f, msg)
			f.Close()
		}
	}
	t.Skip(msg)
}
