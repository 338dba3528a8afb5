package berth_test

import (
	"bytes"
	"go/format"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestFormatted holds that every Go file is as gofmt writes it.
func TestFormatted(t *testing.T) {
	for _, p := range treeFiles(t) {
		if !strings.HasSuffix(p, ".go") || strings.Contains(p, "/testdata/") {
			continue
		}
		src := readFile(t, p)
		if got, err := format.Source(src); err != nil {
			t.Errorf("%s: %v", p, err)
		} else if !bytes.Equal(got, src) {
			t.Errorf("%s is not formatted; run make fmt", p)
		}
	}
}

func readFile(t *testing.T, p string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.FromSlash(p))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestStandsAlone holds that nothing in the repository points to a place that
// only some machine has: whoever clones it finds everything it speaks of. The
// words are put together here so that this file does not hold them.
func TestStandsAlone(t *testing.T) {
	words := []string{
		"/wo" + "rk/", "shared/" + "design", "/tmp/" + "brief", "brief" + ".md", "issue2" + ".md",
		"decisions" + ".md", "style" + ".md", "testing" + ".md",
		"dependencies" + ".md", "/root/" + ".cache",
	}
	for _, p := range treeFiles(t) {
		text := bytes.ToLower(readFile(t, p))
		if bytes.IndexByte(text, 0) >= 0 {
			continue // not text
		}
		for _, w := range words {
			if i := bytes.Index(text, []byte(w)); i >= 0 {
				t.Errorf("%s:%d mentions %q, which readers do not have", p, 1+bytes.Count(text[:i], []byte("\n")), w)
			}
		}
	}
}

// TestLinks follows every relative link of every page.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for _, p := range treeFiles(t) {
		if !strings.HasSuffix(p, ".md") {
			continue
		}
		for _, m := range link.FindAllStringSubmatch(string(readFile(t, p)), -1) {
			target, _, _ := strings.Cut(m[1], "#")
			if target == "" || strings.Contains(target, ":") {
				continue // within the page, or elsewhere
			}
			target = path.Join(path.Dir(p), target)
			if _, err := os.Stat(filepath.FromSlash(target)); err != nil {
				t.Errorf("%s links to %s, which does not exist", p, m[1])
			}
		}
	}
}

// TestDecisions holds that every ADR is numbered and has its four parts, within
// about a page.
func TestDecisions(t *testing.T) {
	files, err := filepath.Glob("docs/adr/*.md")
	if err != nil || len(files) == 0 {
		t.Fatalf("no decisions found: %v", err)
	}
	index := string(readFile(t, "docs/adr/README.md"))
	name := regexp.MustCompile(`^(\d{4})-[a-z0-9-]+\.md$`)
	numbers := make(map[string]string)
	for _, p := range files {
		base := filepath.Base(p)
		if base == "README.md" {
			continue
		}
		m := name.FindStringSubmatch(base)
		if m == nil {
			t.Errorf("%s: name it NNNN-title.md", p)
			continue
		}
		if other := numbers[m[1]]; other != "" {
			t.Errorf("%s has the number of %s", p, other)
		}
		numbers[m[1]] = p
		text := string(readFile(t, filepath.ToSlash(p)))
		for _, part := range []string{"## Context", "## Decision", "## Consequences", "## Rejected"} {
			if !strings.Contains(text, "\n"+part+"\n") {
				t.Errorf("%s: no %q", p, part)
			}
		}
		if n := strings.Count(text, "\n"); n > 80 {
			t.Errorf("%s: %d lines, at most 80", p, n)
		}
		if !strings.Contains(index, "("+base+")") {
			t.Errorf("%s is not listed in docs/adr/README.md", p)
		}
	}
}

// TestNamedTestsExist holds that a test which a page names as its proof exists.
func TestNamedTestsExist(t *testing.T) {
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark|Example)\w+)\(`)
	exists := make(map[string]bool)
	for _, p := range treeFiles(t) {
		if strings.HasSuffix(p, ".go") {
			for _, m := range declared.FindAllSubmatch(readFile(t, p), -1) {
				exists[string(m[1])] = true
			}
		}
	}
	named := regexp.MustCompile("`((?:Test|Fuzz|Benchmark|Example)[A-Z]\\w*)")
	for _, p := range treeFiles(t) {
		if !strings.HasSuffix(p, ".md") {
			continue
		}
		for _, m := range named.FindAllSubmatch(readFile(t, p), -1) {
			if !exists[string(m[1])] {
				t.Errorf("%s names %s, which does not exist", p, m[1])
			}
		}
	}
}

// TestChangelog holds the form of the changelog fragments.
func TestChangelog(t *testing.T) {
	name := regexp.MustCompile(`^[a-z0-9-]+\.(added|changed|fixed|removed|security)\.md$`)
	files, err := filepath.Glob("changelog.d/*")
	if err != nil || len(files) == 0 {
		t.Fatalf("no changelog.d: %v", err)
	}
	for _, p := range files {
		if filepath.Base(p) == "README.md" {
			continue
		}
		if !name.MatchString(filepath.Base(p)) {
			t.Errorf("%s: call it <what>.<kind>.md, see changelog.d/README.md", p)
		}
		if n := len(bytes.TrimSpace(readFile(t, filepath.ToSlash(p)))); n == 0 || n > 600 {
			t.Errorf("%s: %d bytes, want one to three sentences", p, n)
		}
	}
}
