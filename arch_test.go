package berth_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const modulePath = "berth"

// specialImports are the packages of the standard library that a package may
// only import if its row in the layer table says so, with everything below them.
func specialImports() []string {
	return []string{"net/http", "database/sql", "testing", "os/exec", "unsafe", "plugin", "log"}
}

// A sourceFile is one parsed Go file that is not a test.
type sourceFile struct {
	path string // from the root, with slashes
	dir  string // "." is the root package
	fset *token.FileSet
	ast  *ast.File
}

func (f sourceFile) at(pos token.Pos) string {
	p := f.fset.Position(pos)
	return f.path + ":" + strconv.Itoa(p.Line)
}

// generated reports whether a program wrote the file.
func (f sourceFile) generated() bool { return ast.IsGenerated(f.ast) }

// sources parses every Go file of the tree that is not a test, whatever system
// it is for.
func sources(t *testing.T) []sourceFile {
	t.Helper()
	var files []sourceFile
	for _, p := range treeFiles(t) {
		if !strings.HasSuffix(p, ".go") || strings.HasSuffix(p, "_test.go") || strings.Contains(p, "/testdata/") {
			continue
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, p, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, sourceFile{path: p, dir: path.Dir(p), fset: fset, ast: f})
	}
	if len(files) == 0 {
		t.Fatal("no Go files found")
	}
	return files
}

// treeFiles lists every file of the repository from its root, with slashes,
// leaving out what git and the Go command leave out.
func treeFiles(t *testing.T) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(".", func(p string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		p = filepath.ToSlash(p)
		if d.IsDir() {
			if p == ".git" || p == "bin" || p == "dist" || p == "berth-data" {
				return filepath.SkipDir
			}
			return nil
		}
		if p == ".git" { // of a work tree that is not the first one
			return nil
		}
		files = append(files, p)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// A layerRule is one row of the layer table.
type layerRule struct {
	layer   int
	allowed []string // import path prefixes
}

func (r layerRule) allows(imp string) bool {
	return slices.ContainsFunc(r.allowed, func(a string) bool { return within(imp, a) })
}

// within reports whether the import path imp is a or lies below it.
func within(imp, a string) bool { return imp == a || strings.HasPrefix(imp, a+"/") }

// parseLayers reads the table between the two marks of ARCHITECTURE.md. A row
// is | layer | package | what it is | imports, "none" if there are none |.
func parseLayers(text string) (map[string]layerRule, error) {
	_, text, _ = strings.Cut(text, "<!-- layers:begin -->")
	text, _, ok := strings.Cut(text, "<!-- layers:end -->")
	if !ok {
		return nil, errString("no table between layers:begin and layers:end")
	}
	rules := make(map[string]layerRule)
	for line := range strings.Lines(text) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 4 {
			if strings.TrimSpace(line) != "" {
				return nil, errString("not a row of four cells: " + line)
			}
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(strings.ReplaceAll(cells[i], "`", ""))
		}
		if cells[0] == "layer" || strings.Trim(cells[0], "-") == "" {
			continue
		}
		layer, err := strconv.Atoi(cells[0])
		if err != nil {
			return nil, errString("not a layer number: " + line)
		}
		if _, twice := rules[cells[1]]; twice {
			return nil, errString("package listed twice: " + cells[1])
		}
		rule := layerRule{layer: layer}
		if cells[3] != "none" {
			for a := range strings.SplitSeq(cells[3], ",") {
				rule.allowed = append(rule.allowed, strings.TrimSpace(a))
			}
		}
		rules[cells[1]] = rule
	}
	return rules, nil
}

type errString string

func (e errString) Error() string { return string(e) }

func readLayers(t *testing.T) map[string]layerRule {
	t.Helper()
	text, err := os.ReadFile("docs/ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := parseLayers(string(text))
	if err != nil {
		t.Fatalf("docs/ARCHITECTURE.md: %v", err)
	}
	return rules
}

// packageName is how the table calls the package in dir.
func packageName(dir string) string {
	if dir == "." {
		return modulePath
	}
	return dir
}

// checkImport says what is wrong with package pkg importing imp; empty means
// nothing is.
func checkImport(rules map[string]layerRule, pkg, imp string) string {
	rule := rules[pkg]
	if target, ours := strings.CutPrefix(imp, modulePath+"/"); ours || imp == modulePath {
		if imp == modulePath {
			target = modulePath
		}
		switch other, ok := rules[target]; {
		case !ok:
			return "which is not in the layer table"
		case path.Dir(pkg) == target: // a child may import its parent
		case other.layer >= rule.layer:
			return "but layer " + strconv.Itoa(rule.layer) + " may not import layer " + strconv.Itoa(other.layer)
		}
		return ""
	}
	first, _, _ := strings.Cut(imp, "/")
	special := slices.ContainsFunc(specialImports(), func(s string) bool { return within(imp, s) && imp != "log/slog" })
	if (strings.Contains(first, ".") || special || imp == "C") && !rule.allows(imp) {
		return "which its row in the layer table does not allow"
	}
	return ""
}

// TestLayers checks every import against the table in docs/ARCHITECTURE.md, and
// that the table lists the packages there are and the imports they need.
func TestLayers(t *testing.T) {
	rules := readLayers(t)
	used := make(map[string][]string) // package -> what it imports
	for _, f := range sources(t) {
		pkg := packageName(f.dir)
		if _, ok := rules[pkg]; !ok {
			if _, seen := used[pkg]; !seen {
				t.Errorf("%s: package is not in the layer table; add it with its reason to exist", pkg)
			}
			used[pkg] = nil
			continue
		}
		used[pkg] = append(used[pkg], "")
		for _, spec := range f.ast.Imports {
			imp, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			used[pkg] = append(used[pkg], imp)
			if wrong := checkImport(rules, pkg, imp); wrong != "" {
				t.Errorf("%s imports %s, %s", f.at(spec.Pos()), imp, wrong)
			}
		}
	}
	for pkg, rule := range rules {
		imports, ok := used[pkg]
		if !ok {
			t.Errorf("the layer table lists %s, which does not exist", pkg)
		}
		for _, a := range rule.allowed {
			if ok && !slices.ContainsFunc(imports, func(imp string) bool { return within(imp, a) }) {
				t.Errorf("the layer table allows %s to import %s, which it does not", pkg, a)
			}
		}
	}
}

// TestInnerLayers holds what makes the table worth having: the rules of a
// registry, layers 0 to 4, know neither HTTP nor SQL nor other people's code.
func TestInnerLayers(t *testing.T) {
	edges := []string{"config", "internal/yamltree", "internal/osfile"} // what people write, and what systems do
	for pkg, rule := range readLayers(t) {
		if rule.layer <= 4 && len(rule.allowed) > 0 && !slices.Contains(edges, pkg) {
			t.Errorf("%s is in layer %d and must not import %v", pkg, rule.layer, rule.allowed)
		}
		if rule.allows("testing") && !strings.HasSuffix(pkg, "test") {
			t.Errorf("%s is not a package of tests and must not import testing", pkg)
		}
	}
}

func TestParseLayers(t *testing.T) {
	const head = "<!-- layers:begin -->\n| layer | package | is | imports |\n|---|---|---|---|\n"
	rules, err := parseLayers(head + "| 0 | a | x | none |\n| 2 | b/c | y | `net/http`, example.org/d |\n<!-- layers:end -->")
	if err != nil {
		t.Fatal(err)
	}
	if got := rules["b/c"]; got.layer != 2 || !slices.Equal(got.allowed, []string{"net/http", "example.org/d"}) {
		t.Errorf("got %+v", got)
	}
	for _, bad := range []string{"", head, head + "| x | a | b | none |\n<!-- layers:end -->",
		head + "| 1 | a | b |\n<!-- layers:end -->", head + "| 1 | a | b | none |\n| 1 | a | b | none |\n<!-- layers:end -->"} {
		if _, err := parseLayers(bad); err == nil {
			t.Errorf("no error for %q", bad)
		}
	}
}

// TestCheckImport shows that the layer test can fail.
func TestCheckImport(t *testing.T) {
	rules := map[string]layerRule{
		"low": {layer: 0}, "mid": {layer: 2}, "mid2": {layer: 2}, "low/kid": {layer: 0},
		"top": {layer: 5, allowed: []string{"net/http", "example.org/lib"}},
	}
	tests := []struct {
		pkg, imp string
		ok       bool
	}{
		{"mid", "berth/low", true},
		{"low", "berth/mid", false},
		{"mid", "berth/mid2", false},
		{"low/kid", "berth/low", true},
		{"low", "berth/low/kid", false},
		{"mid", "berth/unlisted", false},
		{"mid", "berth", false},
		{"mid", "strings", true},
		{"mid", "log/slog", true},
		{"mid", "log", false},
		{"mid", "net/http", false},
		{"mid", "net/http/httptest", false},
		{"mid", "C", false},
		{"top", "net/http/httputil", true},
		{"top", "database/sql", false},
		{"top", "example.org/lib/sub", true},
		{"top", "example.org/library", false},
	}
	for _, tt := range tests {
		if wrong := checkImport(rules, tt.pkg, tt.imp); (wrong == "") != tt.ok {
			t.Errorf("%s imports %s: got %q, want allowed %v", tt.pkg, tt.imp, wrong, tt.ok)
		}
	}
}

// TestConfigReaders holds that a renamed setting concerns two packages only:
// everyone else takes small Options of its own.
func TestConfigReaders(t *testing.T) {
	readers := []string{modulePath, "internal/registry2", "cmd/berth"}
	for _, f := range sources(t) {
		for _, spec := range f.ast.Imports {
			if spec.Path.Value == `"`+modulePath+`/config"` && !slices.Contains(readers, packageName(f.dir)) {
				t.Errorf("%s imports config; only %v may", f.path, readers)
			}
		}
	}
}
