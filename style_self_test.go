package berth_test

import (
	"go/parser"
	"go/token"
	"testing"
)

// TestGlobalsRule shows that the rule against globals can fail.
func TestGlobalsRule(t *testing.T) {
	tests := []struct {
		src  string
		want int // variables refused, and writes found
	}{
		{`var ErrX = errors.New("x")`, 0},
		{`var _ I = (*T)(nil)`, 0},
		{`var re = regexp.MustCompile("x")`, 0},
		{`var m = map[string]int{"a": 1}; func f() int { return m["a"] }`, 0},
		{"//go:embed x\nvar page string", 0},
		{`var p = template.Must(template.New("").Parse(page))`, 0},
		{`var n int`, 1},
		{`var n = 3`, 1},
		{`var mu sync.Mutex`, 1},
		{`var pool = sync.Pool{New: f}`, 1},
		{`var c = &sync.Map{}`, 1},
		{`var client = newClient()`, 1},
		{`var now = time.Now`, 1},
		{`var m = map[string]int{}; func f() { m["a"] = 1 }`, 1},
		{`var m = []int{1}; func f() { m = append(m, 2) }`, 1},
		{`var m = []T{{}}; func f() { m[0].n++ }`, 1},
		{`var m = T{}; func f() { g(&m) }`, 1},
		{`var m = map[string]int{}; func f() { delete(m, "a") }`, 1},
	}
	for _, tt := range tests {
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, "x.go", "package x\n"+tt.src, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		f := sourceFile{path: "x.go", fset: fset, ast: file}
		got, names := 0, make(map[string]bool)
		for name, value := range globals(f) {
			names[name.Name] = true
			if value == nil || !immutable(value) {
				got++
			}
		}
		if got == 0 {
			got = len(writesIn(f, names))
		}
		if got != tt.want {
			t.Errorf("%s: got %d complaints, want %d", tt.src, got, tt.want)
		}
	}
}
