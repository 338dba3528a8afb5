package berth_test

import (
	"go/ast"
	"go/token"
	"strings"
	"testing"
)

// The budgets of a file, a function and an interface.
const (
	maxFileLines     = 400
	maxFunctionLines = 60
	maxMethods       = 6
)

// overBudget lists what may exceed a budget, each with the reason. A name is a
// file, or a file with a function or interface behind a colon.
func overBudget() map[string]string {
	return map[string]string{
		"internal/meta/roles.go:Blobs": "one role; halves of it would always be asked for together",
	}
}

// TestBudgets keeps files, functions and interfaces small enough to be read at
// one sitting.
func TestBudgets(t *testing.T) {
	excused := overBudget()
	check := func(f sourceFile, name, at, unit string, got, most int) {
		if got <= most {
			return
		}
		key := f.path
		if name != "" {
			key += ":" + name
		}
		if excused[key] == "" {
			t.Errorf("%s %s: %d %s, at most %d", at, name, got, unit, most)
		}
		delete(excused, key)
	}
	for _, f := range sources(t) {
		if f.generated() {
			continue
		}
		check(f, "", f.path, "lines", f.fset.File(f.ast.Pos()).LineCount(), maxFileLines)
		for node := range ast.Preorder(f.ast) {
			switch n := node.(type) {
			case *ast.FuncDecl:
				lines := f.fset.Position(n.End()).Line - f.fset.Position(n.Pos()).Line + 1
				check(f, n.Name.Name, f.at(n.Pos()), "lines", lines, maxFunctionLines)
			case *ast.TypeSpec:
				if i, ok := n.Type.(*ast.InterfaceType); ok {
					check(f, n.Name.Name, f.at(n.Pos()), "methods", declaredMethods(i), maxMethods)
				}
			}
		}
	}
	for name := range excused {
		t.Errorf("%s is excused from a budget that it keeps: take the excuse away", name)
	}
}

// declaredMethods counts the methods that i names itself; embedded interfaces
// are how larger ones are made.
func declaredMethods(i *ast.InterfaceType) int {
	n := 0
	for _, m := range i.Methods.List {
		n += len(m.Names)
	}
	return n
}

// TestPackageComments wants every package to say what it is, once.
func TestPackageComments(t *testing.T) {
	comments := make(map[string]int)
	for _, f := range sources(t) {
		comments[f.dir] += 0
		if f.ast.Doc == nil {
			continue
		}
		comments[f.dir]++
		first, want := f.ast.Doc.Text(), "Package "+f.ast.Name.Name+" "
		if f.ast.Name.Name == "main" {
			want = "Command "
		}
		if !strings.HasPrefix(first, want) {
			t.Errorf("%s: the package comment must begin with %q", f.path, want)
		}
	}
	for dir, n := range comments {
		if n != 1 {
			t.Errorf("%s: %d package comments, want 1", dir, n)
		}
	}
}

// TestNoInit holds that nothing happens before main.
func TestNoInit(t *testing.T) {
	for _, f := range sources(t) {
		for _, decl := range f.ast.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s: no init functions", f.at(fn.Pos()))
			}
		}
		for _, imp := range f.ast.Imports {
			if imp.Name != nil && imp.Name.Name == "." {
				t.Errorf("%s: no dot imports", f.at(imp.Pos()))
			}
		}
	}
}

// TestNoStoredContexts holds that a context is passed on and not kept, unless
// the line says why.
func TestNoStoredContexts(t *testing.T) {
	for _, f := range sources(t) {
		for node := range ast.Preorder(f.ast) {
			s, ok := node.(*ast.StructType)
			if !ok {
				continue
			}
			for _, field := range s.Fields.List {
				if callee(field.Type) == "context.Context" && field.Comment == nil {
					t.Errorf("%s: a context does not belong in a struct; if it must be, say why behind it", f.at(field.Pos()))
				}
			}
		}
	}
}

// callee returns how x is written when it is a name or pkg.name, else "".
func callee(x ast.Expr) string {
	switch x := x.(type) {
	case *ast.Ident:
		return x.Name
	case *ast.SelectorExpr:
		if p, ok := x.X.(*ast.Ident); ok {
			return p.Name + "." + x.Sel.Name
		}
	}
	return ""
}

// immutable reports whether a package-level variable may be initialized with x:
// it never changes after, or a check of its own finds who changes it.
func immutable(x ast.Expr) bool {
	switch x := x.(type) {
	case *ast.CallExpr:
		switch callee(x.Fun) {
		case "errors.New", "fmt.Errorf", "regexp.MustCompile", "template.Must", "strings.NewReplacer", "netip.MustParsePrefix":
			return true
		}
		array, ok := x.Fun.(*ast.ArrayType) // []byte("…")
		return ok && array.Len == nil && len(x.Args) == 1
	case *ast.UnaryExpr: // &Error{…}
		lit, ok := x.X.(*ast.CompositeLit)
		return ok && x.Op == token.AND && immutable(lit)
	case *ast.CompositeLit:
		name := callee(x.Type)
		return !strings.HasPrefix(name, "sync.") && !strings.HasPrefix(name, "atomic.")
	}
	return false
}

// globals yields the package-level variables of f that are not assertions such
// as var _ I = T{} and not embedded files, with what they begin as.
func globals(f sourceFile) map[*ast.Ident]ast.Expr {
	found := make(map[*ast.Ident]ast.Expr)
	for _, decl := range f.ast.Decls {
		gen, ok := decl.(*ast.GenDecl)
		if !ok || gen.Tok != token.VAR {
			continue
		}
		for _, spec := range gen.Specs {
			v := spec.(*ast.ValueSpec)
			if embedded(gen.Doc) || embedded(v.Doc) {
				continue
			}
			for i, name := range v.Names {
				var value ast.Expr
				if i < len(v.Values) {
					value = v.Values[i]
				}
				if name.Name != "_" || value == nil {
					found[name] = value
				}
			}
		}
	}
	return found
}

func embedded(doc *ast.CommentGroup) bool {
	if doc == nil {
		return false
	}
	for _, c := range doc.List {
		if strings.HasPrefix(c.Text, "//go:embed ") {
			return true
		}
	}
	return false
}

// writesIn lists where f changes one of the variables names, or takes its
// address, which is as good as changing it.
func writesIn(f sourceFile, names map[string]bool) []string {
	var found []string
	note := func(x ast.Expr) {
		for {
			switch y := x.(type) {
			case *ast.IndexExpr:
				x = y.X
				continue
			case *ast.SelectorExpr:
				x = y.X
				continue
			case *ast.StarExpr:
				x = y.X
				continue
			case *ast.Ident:
				if names[y.Name] {
					found = append(found, f.at(y.Pos())+": "+y.Name)
				}
			}
			return
		}
	}
	for node := range ast.Preorder(f.ast) {
		switch n := node.(type) {
		case *ast.AssignStmt:
			for _, left := range n.Lhs {
				note(left)
			}
		case *ast.IncDecStmt:
			note(n.X)
		case *ast.UnaryExpr:
			if n.Op == token.AND {
				note(n.X)
			}
		case *ast.CallExpr:
			switch callee(n.Fun) {
			case "delete", "clear", "copy", "slices.Sort", "slices.SortFunc", "slices.Reverse", "sort.Strings":
				note(n.Args[0])
			}
		}
	}
	return found
}

// excusedGlobals lists package-level variables that do change, each with the
// reason.
func excusedGlobals() map[string]string {
	return map[string]string{
		"cmd/berth/main.go:version":         "the linker sets it",
		"test/realtest/realtest.go:process": "the tests of one process share one build and one docker engine, and tests have nothing else in common",
	}
}

// TestNoGlobals allows as package-level variables only what never changes:
// sentinel errors, compiled patterns, embedded files and tables that nothing in
// their package writes to. Tables must not be exported, so nobody else can.
func TestNoGlobals(t *testing.T) {
	excused := excusedGlobals()
	tables := make(map[string]map[string]bool) // dir -> names
	files := sources(t)
	for _, f := range files {
		for name, value := range globals(f) {
			if key := f.path + ":" + name.Name; excused[key] != "" {
				delete(excused, key)
				continue
			}
			if value == nil || !immutable(value) {
				t.Errorf("%s: package-level variable %s; pass it as an argument or keep it in a struct", f.at(name.Pos()), name)
				continue
			}
			_, call := value.(*ast.CallExpr)
			if name.IsExported() && !call && !strings.HasPrefix(name.Name, "Err") {
				t.Errorf("%s: exported table %s; others could change it, so return a copy from a function", f.at(name.Pos()), name)
			}
			if tables[f.dir] == nil {
				tables[f.dir] = make(map[string]bool)
			}
			tables[f.dir][name.Name] = true
		}
	}
	for _, f := range files {
		for _, w := range writesIn(f, tables[f.dir]) {
			t.Errorf("%s, a package-level variable, is written to (or a local one has its name)", w)
		}
	}
	for name := range excused {
		t.Errorf("%s is excused but does not exist", name)
	}
}
