// Package mutation_test takes safety steps out of the program, one at a time,
// and holds that some test notices: a test of safety that passes without the
// safety proves nothing, and a SIGKILL proves nothing about fsync.
//
// A mutation whose text is not found fails, so that the list follows the code.
package mutation_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A mutation is one exact change of a file, and the tests that must notice it.
type mutation struct {
	name string
	file string // from the root of the module, with slashes
	old  string // must be there once
	new  string
	pkg  string // whose tests notice; empty: the file's own
	run  string // which of them, as go test -run has it
	soak bool   // only with BERTH_SOAK=1: a sibling of it is checked each time
}

// TestMutations needs no copy of the module: the Go command puts the changed
// file in place of the original one (go help build, -overlay).
func TestMutations(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the program many times")
	}
	run(t, func(m mutation) bool { return !m.soak })
}

// TestSoakMutations checks those that TestMutations leaves out.
func TestSoakMutations(t *testing.T) {
	if os.Getenv("BERTH_SOAK") == "" {
		t.Skip("set BERTH_SOAK=1 to run it")
	}
	run(t, func(m mutation) bool { return m.soak })
}

// TestMutationTexts holds that every mutation is about text that is there, also
// those that are rarely tried.
func TestMutationTexts(t *testing.T) {
	for _, m := range mutations() {
		text, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(m.file)))
		if n := bytes.Count(text, []byte(m.old)); err != nil || n != 1 {
			t.Errorf("%s: %s has its text %d times, want once (%v)", m.name, m.file, n, err)
		}
	}
}

func run(t *testing.T, chosen func(mutation) bool) {
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mutations() {
		if !chosen(m) {
			continue
		}
		t.Run(strings.ReplaceAll(m.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			m.check(t, root)
		})
	}
}

func (m mutation) check(t *testing.T, root string) {
	original := filepath.Join(root, filepath.FromSlash(m.file))
	text, err := os.ReadFile(original)
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(text, []byte(m.old)); n != 1 {
		t.Fatalf("%s has this text %d times, want once; let the mutation follow the code:\n%s", m.file, n, m.old)
	}
	dir := t.TempDir()
	changed, overlay := filepath.Join(dir, "changed.go"), filepath.Join(dir, "overlay.json")
	write(t, changed, bytes.Replace(text, []byte(m.old), []byte(m.new), 1))
	list, err := json.Marshal(map[string]map[string]string{"Replace": {original: changed}})
	if err != nil {
		t.Fatal(err)
	}
	write(t, overlay, list)
	pkg := m.pkg
	if pkg == "" {
		pkg = "./" + m.file[:strings.LastIndex(m.file, "/")]
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-vet=off", "-count=1", "-failfast", "-timeout=1m", "-run", m.run, pkg)
	cmd.Dir = root
	// By the environment, so that a test which builds the program builds this one.
	cmd.Env = append(os.Environ(), "GOFLAGS="+os.Getenv("GOFLAGS")+" -overlay="+overlay)
	out, err := cmd.CombinedOutput()
	switch {
	case err == nil:
		t.Errorf("nobody noticed: go test -run '%s' %s passes all the same:\n%s", m.run, pkg, out)
	case !bytes.Contains(out, []byte("--- FAIL: ")) && !bytes.Contains(out, []byte("panic: ")):
		t.Errorf("it did not come to a test: %v\n%s", err, out)
	}
}

func write(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
