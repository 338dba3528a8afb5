package mutation_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
	"testing"
)

// switchVar names the mutation that a program with switches has: its number in the
// list. Without it the program is as it is.
const switchVar = "BERTH_TEST_MUTANT"

// switchFile is what every package gets that has switches.
const switchFile = "package %s\n\nimport \"os\"\n\nvar berthMutant = os.Getenv(\"" + switchVar + "\")\n"

// A variant is a mutation with its number.
type variant struct {
	mutation
	number int
}

// switched returns a Go file in which each of the variants can be switched on, the
// name of its package, and the variants that it has: those inside a function. That
// function is there several times, as it is and with each variant, behind one that
// chooses. Compiling them all takes as long as compiling one.
func switched(text []byte, variants []variant) (out []byte, pkg string, has []variant, err error) {
	files := token.NewFileSet()
	tree, err := parser.ParseFile(files, "", text, 0)
	if err != nil {
		return nil, "", nil, err
	}
	at := func(p token.Pos) int { return files.Position(p).Offset }
	var more bytes.Buffer
	done := 0 // of text
	for _, d := range tree.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Body == nil || f.Type.TypeParams != nil {
			continue
		}
		in := slices.DeleteFunc(slices.Clone(variants), func(v variant) bool {
			from, to := v.span(text)
			return from < at(f.Body.Lbrace) || to > at(f.Body.End())
		})
		if len(in) == 0 {
			continue
		}
		s := source{text: text, at: at}
		name := at(f.Name.Pos())
		out = append(append(out, text[done:name]...), f.Name.Name+"AsItIs"...)
		done = at(f.Name.End())
		more.WriteString(s.choice(f, in))
		for _, v := range in {
			whole := slices.Concat(text[at(f.Pos()):name], []byte(v.function(f)), text[done:at(f.End())])
			// The text is there once: the function has all of it that differs.
			from, to := v.span(text)
			from, to = from-at(f.Pos())+len(v.function(f))-len(f.Name.Name), to-at(f.Pos())+len(v.function(f))-len(f.Name.Name)
			_, _, replacement := v.difference()
			more.WriteString("\n" + string(whole[:from]) + replacement + string(whole[to:]) + "\n")
		}
		has = append(has, in...)
	}
	return slices.Concat(out, text[done:], more.Bytes()), tree.Name.Name, has, nil
}

// difference returns how much of old is in new, too, at its begin and its end, and
// what new has between them.
func (m mutation) difference() (before, behind int, between string) {
	for before < min(len(m.old), len(m.new)) && m.old[before] == m.new[before] {
		before++
	}
	for behind < min(len(m.old), len(m.new))-before && m.old[len(m.old)-1-behind] == m.new[len(m.new)-1-behind] {
		behind++
	}
	return before, behind, m.new[before : len(m.new)-behind]
}

// span returns where in text what the mutation changes is.
func (m mutation) span(text []byte) (from, to int) {
	at := bytes.Index(text, []byte(m.old))
	before, behind, _ := m.difference()
	return at + before, at + len(m.old) - behind
}

func (v variant) function(f *ast.FuncDecl) string {
	return fmt.Sprintf("%sMutant%d", f.Name.Name, v.number)
}

// A source is the text of a file with what finds the place of a token in it.
type source struct {
	text []byte
	at   func(token.Pos) int
}

func (s source) of(n ast.Node) string { return string(s.text[s.at(n.Pos()):s.at(n.End())]) }

// choice returns the function that calls f as it is, or with a variant.
func (s source) choice(f *ast.FuncDecl, in []variant) string {
	var b strings.Builder
	b.WriteString("\nfunc ")
	receiver := ""
	if f.Recv != nil {
		fmt.Fprintf(&b, "(receiver %s) ", s.of(f.Recv.List[0].Type))
		receiver = "receiver."
	}
	var params, args []string
	for _, field := range f.Type.Params.List {
		for range max(1, len(field.Names)) {
			name := fmt.Sprintf("p%d", len(params))
			params = append(params, name+" "+s.of(field.Type))
			if _, ok := field.Type.(*ast.Ellipsis); ok {
				name += "..."
			}
			args = append(args, name)
		}
	}
	results, back := "", ""
	if f.Type.Results != nil {
		results, back = s.of(f.Type.Results), "return "
	}
	fmt.Fprintf(&b, "%s(%s) %s {\n\tswitch berthMutant {\n", f.Name.Name, strings.Join(params, ", "), results)
	call := func(name string) string { return back + receiver + name + "(" + strings.Join(args, ", ") + ")\n" }
	for _, v := range in {
		fmt.Fprintf(&b, "\tcase \"%d\":\n\t\t%s", v.number, call(v.function(f)))
	}
	fmt.Fprintf(&b, "\tdefault:\n\t\t%s\t}\n", call(f.Name.Name+"AsItIs"))
	b.WriteString("}\n")
	return b.String()
}

func TestSwitched(t *testing.T) {
	const text = `package p

const limit = 3

// Of is documented.
func (c *C[K]) Of(k K, _ int, more ...string) (n int, err error) {
	return len(more), nil
}

func f(int) {
	g()
	h()
}

func g() {}
`
	const want = `package p

const limit = 3

// Of is documented.
func (c *C[K]) OfAsItIs(k K, _ int, more ...string) (n int, err error) {
	return len(more), nil
}

func fAsItIs(int) {
	g()
	h()
}

func g() {}

func (receiver *C[K]) Of(p0 K, p1 int, p2 ...string) (n int, err error) {
	switch berthMutant {
	case "4":
		return receiver.OfMutant4(p0, p1, p2...)
	default:
		return receiver.OfAsItIs(p0, p1, p2...)
	}
}

func (c *C[K]) OfMutant4(k K, _ int, more ...string) (n int, err error) {
	return 0, nil
}

func f(p0 int)  {
	switch berthMutant {
	case "5":
		fMutant5(p0)
	case "7":
		fMutant7(p0)
	default:
		fAsItIs(p0)
	}
}

func fMutant5(int) {
	h()
}

func fMutant7(int) {
	g()
}
`
	variants := []variant{
		{mutation{old: "len(more)", new: "0"}, 4},
		{mutation{old: "	g()\n", new: ""}, 5},
		{mutation{old: "limit = 3", new: "limit = 4"}, 6}, // in no function
		{mutation{old: "	h()\n}\n\nfunc g", new: "}\n\nfunc g"}, 7},
	}
	got, pkg, has, err := switched([]byte(text), variants)
	if err != nil || pkg != "p" || len(has) != 3 {
		t.Errorf("got package %s, %d variants, %v, want p, 3, none", pkg, len(has), err)
	}
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
