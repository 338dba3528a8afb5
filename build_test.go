package berth_test

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// goTool runs the Go command with extra environment and returns what it prints.
func goTool(t *testing.T, env []string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Env = append(os.Environ(), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("%s go %s: %v\n%s%s", strings.Join(env, " "), strings.Join(args, " "), err, stderr.Bytes(), out)
	}
	return string(out)
}

// update makes golden files be written instead of compared.
var update = flag.Bool("update", false, "write golden files instead of comparing with them")

// TestDependencies compares the modules that end up in the program with
// docs/dependencies.txt, so that a new one is seen in review.
func TestDependencies(t *testing.T) {
	systems := make(map[string][]string) // "module version" -> systems
	for _, goos := range []string{"linux", "darwin", "windows"} {
		out := goTool(t, []string{"GOOS=" + goos, "GOARCH=amd64", "CGO_ENABLED=0"},
			"list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}{{end}}{{end}}", "./cmd/berth")
		for _, m := range slices.Compact(slices.Sorted(strings.Lines(out))) {
			if m = strings.TrimSpace(m); m != "" {
				systems[m] = append(systems[m], goos)
			}
		}
	}
	var got strings.Builder
	got.WriteString("# The modules in the berth binary, and on which systems if not on all.\n" +
		"# Written by: go test . -run TestDependencies -update\n")
	for _, m := range slices.Sorted(maps.Keys(systems)) {
		got.WriteString(m)
		if s := systems[m]; len(s) < 3 {
			got.WriteString(" (" + strings.Join(s, ", ") + ")")
		}
		got.WriteByte('\n')
	}
	const golden = "docs/dependencies.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want := string(readFile(t, golden)); got.String() != want {
		t.Errorf("the modules in the binary have changed; if that is right: go test . -run TestDependencies -update\ngot:\n%swant:\n%s", got.String(), want)
	}
}

// TestLibcMatchesSQLite holds what modernc.org/sqlite asks of those who use it:
// exactly the libc that its own go.mod names. Any other may corrupt memory.
func TestLibcMatchesSQLite(t *testing.T) {
	gomod := strings.TrimSpace(goTool(t, nil, "list", "-m", "-f", "{{.GoMod}}", "modernc.org/sqlite"))
	ours := strings.TrimSpace(goTool(t, nil, "list", "-m", "-f", "{{.Version}}", "modernc.org/libc"))
	b, err := os.ReadFile(gomod)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require ")); len(f) >= 2 && f[0] == "modernc.org/libc" {
			if f[1] != ours {
				t.Errorf("modernc.org/libc is %s, but modernc.org/sqlite was made with %s; update the two together", ours, f[1])
			}
			return
		}
	}
	t.Errorf("%s does not name modernc.org/libc", gomod)
}

// TestVet runs go vet over everything.
func TestVet(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a while; not with -short")
	}
	goTool(t, nil, "vet", "./...")
}

// TestStaticcheck runs staticcheck over everything.
func TestStaticcheck(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a while; not with -short")
	}
	tool := toolPath(t, "staticcheck")
	cmd := exec.CommandContext(t.Context(), tool, "./...")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("staticcheck: %v\n%s", err, out)
	}
}

// TestCompilesElsewhere builds the program for every system and processor that Berth
// is for, without cgo, and checks that every package and its tests compile on each
// system. make soak builds every package for every processor, too.
func TestCompilesElsewhere(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles everything seven times over; not with -short")
	}
	what := "./cmd/berth"
	if os.Getenv("BERTH_SOAK") != "" {
		what = "./..."
	}
	for _, goos := range []string{"linux", "darwin", "windows"} {
		for _, goarch := range []string{"amd64", "arm64"} {
			t.Run(goos+"/"+goarch, func(t *testing.T) {
				env := []string{"GOOS=" + goos, "GOARCH=" + goarch, "CGO_ENABLED=0"}
				goTool(t, env, "build", "-o", os.DevNull, what)
				if goarch == "amd64" && goos != "linux" { // as TestVet does for Linux
					goTool(t, env, "vet", "./...")
				}
			})
		}
	}
	t.Run("linux/arm", func(t *testing.T) { // where an int has 32 bits
		goTool(t, []string{"GOOS=linux", "GOARCH=arm", "GOARM=7", "CGO_ENABLED=0"}, "build", "-o", os.DevNull, "./cmd/berth")
	})
}

// toolPath finds a program among the tools that make test installs.
func toolPath(t *testing.T, name string) string {
	t.Helper()
	dir := os.Getenv("BERTH_TOOLS")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			t.Fatal(err)
		}
		dir = filepath.Join(home, ".cache", "berth", "tools")
	}
	p := filepath.Join(dir, "bin", name)
	if _, err := os.Stat(p); err != nil {
		msg := fmt.Sprintf("%s is not installed; test/tools/install.sh gets it", name)
		if os.Getenv("CI") == "true" {
			t.Fatal(msg)
		}
		t.Skip(msg)
	}
	return p
}
