package doctor

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

func TestParseChallenge(t *testing.T) {
	tests := []struct {
		in     string
		scheme string
		params map[string]string
	}{
		{`Basic realm="Registry Realm"`, "basic", map[string]string{"realm": "Registry Realm"}},
		{`Bearer realm="https://a/token",service="b",scope="repository:c:pull,push"`, "bearer",
			map[string]string{"realm": "https://a/token", "service": "b", "scope": "repository:c:pull,push"}},
		{`Bearer realm=https://a/token, service=b`, "bearer", map[string]string{"realm": "https://a/token", "service": "b"}},
		{"Negotiate", "negotiate", map[string]string{}},
		{`Basic realm="unclosed`, "basic", map[string]string{"realm": "unclosed"}},
		{"", "", map[string]string{}},
	}
	for _, tt := range tests {
		if got := parseChallenge(tt.in); got.scheme != tt.scheme || !maps.Equal(got.params, tt.params) {
			t.Errorf("%s: got %+v", tt.in, got)
		}
	}
}

func FuzzParseChallenge(f *testing.F) {
	f.Add(`Bearer realm="https://a/token",service="b",scope="repository:c:pull,push"`)
	f.Add(`Basic realm="`)
	f.Add(`a b=,="",`)
	f.Fuzz(func(t *testing.T, s string) {
		c := parseChallenge(s)
		if c.scheme != strings.ToLower(c.scheme) || strings.Contains(c.scheme, " ") {
			t.Errorf("the scheme of %q is %q", s, c.scheme)
		}
	})
}

// FuzzAnswer holds that nothing of an answer gets to the terminal as more than
// text.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"errors":[{"code":"DENIED","message":"\u001b[31mno"}]}`))
	f.Add([]byte("<html><title>\x1b]0;x\x07</title>"))
	f.Add([]byte("\x9b31m"))
	f.Fuzz(func(t *testing.T, body []byte) {
		a := answer{status: 418, body: body}
		for _, r := range a.String() {
			if unicode.IsControl(r) {
				t.Errorf("%q is shown as %q", body, a.String())
			}
		}
	})
}

// TestEveryTrouble holds that there are words for every kind of trouble.
func TestEveryTrouble(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "mend.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	known, n := mends(), 0
	ast.Inspect(file, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		lit, ok := spec.Values[0].(*ast.BasicLit)
		if typ, isIdent := spec.Type.(*ast.Ident); !ok || !isIdent || typ.Name != "trouble" {
			return true
		}
		id, err := strconv.Unquote(lit.Value)
		if err != nil {
			t.Fatal(err)
		}
		n++
		m, ok := known[trouble(id)]
		if !ok || m.breaks == "" || len(m.where) == 0 {
			t.Errorf("there are no words for %s", id)
		}
		for _, kind := range []string{"", "nginx", "Apache", "Caddy", "Cloudflare", "other"} {
			if len(m.changes(kind)) == 0 {
				t.Errorf("%s: nothing to change with %q in front", id, kind)
			}
		}
		return true
	})
	if n != len(known) {
		t.Errorf("%d kinds of trouble, words for %d", n, len(known))
	}
}

func TestPrint(t *testing.T) {
	r := &Report{
		Address: "https://r.example", Proxy: "nginx", Registry: "Berth",
		Checks: []Check{{"certificate", OK, "TLS 1.3"}, {"size of bodies", Problem, "413"}, {"pull", NotTested, "nothing there"}},
		Findings: []Finding{{ID: "body-limit", Level: Problem, Saw: "a body is refused", Breaks: "Pushes fail.",
			Change: mends()[bodyLimit].changes("nginx")}},
	}
	var b strings.Builder
	if err := r.Print(&b); err != nil {
		t.Fatal(err)
	}
	const want = `https://r.example
answered by nginx
the registry is Berth

  ok          certificate: TLS 1.3
  PROBLEM     size of bodies: 413
  not tested  pull: nothing there

1. A body is refused (body-limit)
   Pushes fail.
   nginx       client_max_body_size 0; in the server or location of the registry

Problems: 1. Not tested: 1.
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}
