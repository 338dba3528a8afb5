package yamltree_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"berth/internal/yamltree"
)

// write writes a tree on one line: texts in quotes, each value behind its line.
func write(n yamltree.Node) string {
	var parts []string
	switch n.Kind {
	case yamltree.Scalar:
		return fmt.Sprintf("%d%q", n.Line, n.Text)
	case yamltree.List:
		for _, item := range n.Items {
			parts = append(parts, write(item))
		}
		return fmt.Sprintf("%d[%s]", n.Line, strings.Join(parts, " "))
	case yamltree.Map:
		for _, f := range n.Fields {
			parts = append(parts, fmt.Sprintf("%d%s=%s", f.Line, f.Name, write(f.Value)))
		}
		return fmt.Sprintf("%d{%s}", n.Line, strings.Join(parts, " "))
	}
	return "null"
}

func TestParse(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"empty", "", "null"},
		{"a text", "a", `1"a"`},
		{"lines", "a: b\nc:\n  d: [1, true]\n", `1{1a=1"b" 2c=3{3d=3[3"1" 3"true"]}}`},
		{"a key given twice", "a: 1\na: 2\n", `1{1a=1"1" 2a=2"2"}`},
		{"no value", "a:\nb: ~\n", "1{1a=null 2b=null}"},
		{"texts stay as they were written", "a: 007\nb: 0.1\nc: \"x\"\nd: 2026-01-01\n", `1{1a=1"007" 2b=2"0.1" 3c=3"x" 4d=4"2026-01-01"}`},
		{"an anchor", "a: &x {b: 1}\nc: *x\n", `1{1a=1{1b=1"1"} 2c=1{1b=1"1"}}`},
		{"what is merged stands first", "a: &x {b: 1}\nc:\n  <<: *x\n  b: 2\n", `1{1a=1{1b=1"1"} 2c=3{1b=1"1" 4b=4"2"}}`},
		{"a key that is no word", "? [a]\n: b\n", `1{1=2"b"}`},
	}
	for _, tt := range tests {
		n, err := yamltree.Parse([]byte(tt.text))
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if got := write(n); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestFaults(t *testing.T) {
	tests := []struct {
		name, text string
		line       int
		want       string
	}{
		{"no YAML", "a: b\n c: d\n", 2, "not valid YAML: mapping values are not allowed"},
		{"a tab", "a:\n\tb: c\n", 2, "spaces, never with tabs"},
		{"an unknown anchor", "a: *b\n", 0, "not valid YAML: unknown anchor referenced"},
	}
	for _, tt := range tests {
		_, err := yamltree.Parse([]byte(tt.text))
		if err == nil {
			t.Errorf("%s: no error", tt.name)
			continue
		}
		line, text := yamltree.Explain(err)
		if line != tt.line || !strings.Contains(text, tt.want) || strings.Contains(text, "\n") {
			t.Errorf("%s: got line %d, %q, want %d, %q", tt.name, line, text, tt.line, tt.want)
		}
	}
	n, err := yamltree.Parse([]byte("a: b\n---\nc: d\n"))
	if !errors.Is(err, yamltree.ErrMore) || write(n) != `1{1a=1"b"}` {
		t.Errorf("two documents: got %s, %v", write(n), err)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"a: b", "- a\n- {b: c}", "a: &a [*a]", "? {a: b}\n: c", "a: |\n  b\n", "<<: {a: b}", "\xff", "!!binary x", "---\n---"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := yamltree.Parse([]byte(text))
		if err != nil && !errors.Is(err, yamltree.ErrMore) {
			if _, words := yamltree.Explain(err); words == "" {
				t.Errorf("the error %v has no words", err)
			}
			return
		}
		again, _ := yamltree.Parse([]byte(text))
		if write(n) != write(again) {
			t.Errorf("the same text twice gives two trees: %s, %s", write(n), write(again))
		}
	})
}
