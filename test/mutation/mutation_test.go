// Package mutation_test takes safety steps out of the program, one at a time,
// and holds that some test notices: a test of safety that passes without the
// safety proves nothing, and a SIGKILL proves nothing about fsync.
//
// A mutation whose text is not found fails, so that the list follows the code.
package mutation_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"berth/test/realtest"
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
		m.isIn(t, m.text(t, filepath.Join("..", "..")))
	}
}

func run(t *testing.T, chosen func(mutation) bool) {
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	overlay, programs, others := prepare(t, root, chosen)
	for _, pkg := range slices.Sorted(maps.Keys(programs)) {
		list := programs[pkg]
		t.Run(strings.ReplaceAll(strings.TrimPrefix(pkg, "./"), "/", "_"), func(t *testing.T) {
			t.Parallel()
			p := build(t, root, overlay, pkg)
			p.checkAsItIs(t, list)
			for _, v := range list {
				t.Run(v.title(), func(t *testing.T) {
					t.Parallel()
					p.check(t, v)
				})
			}
		})
	}
	for _, v := range others {
		t.Run(v.title(), func(t *testing.T) {
			t.Parallel()
			v.check(t, root)
		})
	}
}

func (m mutation) title() string { return strings.ReplaceAll(m.name, " ", "_") }

// tests returns the package whose tests notice.
func (m mutation) tests() string {
	if m.pkg == "" {
		return "./" + m.file[:strings.LastIndex(m.file, "/")]
	}
	return m.pkg
}

// prepare makes an overlay in which all the chosen mutations can be switched on, and
// returns them by the package whose tests notice. The others are those that cannot be
// switched: what no function has, and what a program shows that is built by the test.
func prepare(t *testing.T, root string, chosen func(mutation) bool) (overlay string, programs map[string][]variant, others []variant) {
	byFile := make(map[string][]variant)
	for i, m := range mutations() {
		switch v := (variant{m, i}); {
		case !chosen(m):
		case strings.HasPrefix(m.tests(), "./test/") || m.tests() == "./cmd/berth":
			others = append(others, v)
		default:
			byFile[m.file] = append(byFile[m.file], v)
		}
	}
	dir := t.TempDir()
	replace, programs := make(map[string]string), make(map[string][]variant)
	put := func(file string, text []byte) {
		name := filepath.Join(dir, strings.ReplaceAll(file, "/", "_"))
		write(t, name, text)
		replace[filepath.Join(root, filepath.FromSlash(file))] = name
	}
	for file, list := range byFile {
		text, ok := list[0].text(t, root), true
		for _, v := range list {
			ok = v.isIn(t, text) && ok
		}
		if !ok {
			continue
		}
		out, pkg, has, err := switched(text, list)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range list {
			if !slices.ContainsFunc(has, func(h variant) bool { return h.number == v.number }) {
				others = append(others, v)
				continue
			}
			programs[v.tests()] = append(programs[v.tests()], v)
		}
		put(file, out)
		put(path.Dir(file)+"/berthmutant.go", fmt.Appendf(nil, switchFile, pkg))
	}
	return writeOverlay(t, dir, replace), programs, others
}

// isIn reports whether text has once what the mutation replaces.
func (m mutation) isIn(t *testing.T, text []byte) bool {
	t.Helper()
	n := bytes.Count(text, []byte(m.old))
	if n != 1 {
		t.Errorf("%s: %s has this text %d times, want once; let the mutation follow the code:\n%s", m.name, m.file, n, m.old)
	}
	return n == 1
}

// text returns the text of the mutation's file.
func (m mutation) text(t *testing.T, root string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(m.file)))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// A program is the tests of a package with switches.
type program struct {
	path string
	dir  string // where they run
}

func build(t *testing.T, root, overlay, pkg string) program {
	t.Helper()
	p := program{filepath.Join(t.TempDir(), "tests"), filepath.Join(root, filepath.FromSlash(pkg))}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-c", "-vet=off", "-ldflags=-s -w", "-overlay="+overlay, "-o", p.path, pkg)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go test -c %s, with mutations to be switched on: %v\n%s", pkg, err, out)
	}
	return p
}

func (p program) test(t *testing.T, run, mutant, timeout string) ([]byte, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), p.path, "-test.failfast", "-test.timeout="+timeout, "-test.run", run)
	cmd.Dir = p.dir
	cmd.Env = append(os.Environ(), switchVar+"="+mutant)
	return cmd.CombinedOutput()
}

// checkAsItIs holds that the tests pass without a mutation: else they show nothing.
func (p program) checkAsItIs(t *testing.T, list []variant) {
	t.Helper()
	var run []string
	for _, v := range list {
		if !slices.Contains(run, v.run) {
			run = append(run, v.run)
		}
	}
	out, err := p.test(t, strings.Join(run, "|"), "", "30m")
	if err != nil || bytes.Contains(out, []byte("no tests to run")) {
		t.Fatalf("without any mutation: %v\n%s", err, out)
	}
}

func (p program) check(t *testing.T, v variant) {
	t.Helper()
	out, err := p.test(t, v.run, strconv.Itoa(v.number), timeout())
	v.noticed(t, out, err)
}

// check compiles the mutation alone.
func (m mutation) check(t *testing.T, root string) {
	text := m.text(t, root)
	if !m.isIn(t, text) {
		return
	}
	dir := t.TempDir()
	changed := filepath.Join(dir, "changed.go")
	write(t, changed, bytes.Replace(text, []byte(m.old), []byte(m.new), 1))
	overlay := writeOverlay(t, dir, map[string]string{filepath.Join(root, filepath.FromSlash(m.file)): changed})
	cmd := exec.CommandContext(t.Context(), "go", "test", "-vet=off", "-count=1", "-failfast", "-timeout="+timeout(), "-run", m.run, m.tests())
	cmd.Dir = root
	// By the environment, so that a test which builds the program builds this one.
	cmd.Env = append(os.Environ(), "GOFLAGS="+os.Getenv("GOFLAGS")+" -overlay="+overlay, realtest.ProgramVar+"=")
	out, err := cmd.CombinedOutput()
	m.noticed(t, out, err)
}

// timeout is how long a test may take to notice: some are longer in make soak.
func timeout() string {
	if os.Getenv("BERTH_SOAK") != "" {
		return "20m"
	}
	return "2m"
}

func (m mutation) noticed(t *testing.T, out []byte, err error) {
	t.Helper()
	switch {
	case err == nil:
		t.Errorf("nobody noticed: go test -run '%s' %s passes all the same:\n%s", m.run, m.tests(), out)
	case !bytes.Contains(out, []byte("--- FAIL: ")) && !bytes.Contains(out, []byte("panic: ")):
		t.Errorf("it did not come to a test: %v\n%s", err, out)
	}
}

// writeOverlay says in a file which files are in the place of others.
func writeOverlay(t *testing.T, dir string, replace map[string]string) string {
	t.Helper()
	list, err := json.Marshal(map[string]map[string]string{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "overlay.json")
	write(t, name, list)
	return name
}

func write(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
