package api

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

//go:generate go test -run TestDocs -update .

const docsFile = "../../docs/http-api.md"

var update = flag.Bool("update", false, "write docs/http-api.md")

// TestDocs keeps docs/http-api.md what the table of operations says.
func TestDocs(t *testing.T) {
	want := docs()
	if *update {
		if err := os.WriteFile(docsFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(docsFile)
	if err != nil {
		t.Fatal(err)
	}
	if strings.ReplaceAll(string(got), "\r\n", "\n") != want {
		t.Errorf("docs/http-api.md is not what the code says: run go generate ./internal/api")
	}
}

func docs() string {
	var b strings.Builder
	b.WriteString(docsHead)
	b.WriteString("\n| request | needs | what |\n|---|---|---|\n")
	for _, op := range operations() {
		fmt.Fprintf(&b, "| `%s %s` | %s | [%s](#%s) |\n", op.method, op.address(), op.needsWord(), op.summary, strings.ToLower(op.id))
	}
	types := map[string]reflect.Type{}
	for _, op := range operations() {
		op.document(&b, types)
	}
	b.WriteString("\n## What the answers hold\n")
	for _, name := range slices.Sorted(maps.Keys(types)) {
		fmt.Fprintf(&b, "\n#### %s\n\n", name)
		writeFields(&b, types[name])
	}
	return b.String()
}

func (op *operation) address() string {
	if op.path == "" {
		return Prefix + "/"
	}
	return Prefix + op.path
}

func (op *operation) needsWord() string {
	switch {
	case op.open:
		return "–"
	case len(op.needs) == 0:
		return "log-in"
	case op.needs[0].Whole():
		return "admin"
	}
	return joinActions(op.needs, ", ")
}

func (op *operation) document(b *strings.Builder, types map[string]reflect.Type) {
	fmt.Fprintf(b, "\n### %s\n\n`%s %s`\n\n%s %s\n", op.id, op.method, op.address(), op.does, op.needsText())
	if len(op.query) > 0 {
		b.WriteString("\n| in the query | |\n|---|---|\n")
		for _, p := range op.query {
			does := p.does
			if p.most > 0 {
				does += fmt.Sprintf(" 1 to %d, else %d.", p.most, min(p.most, 100))
			}
			fmt.Fprintf(b, "| `%s` | %s |\n", p.name, does)
		}
	}
	if op.body != nil {
		fmt.Fprintf(b, "\nIts body is %s, in JSON.\n", documented(reflect.TypeOf(op.body), types))
	}
	fmt.Fprintf(b, "\n```console\n$ %s\n```\n", op.curl())
	switch {
	case op.answer == nil:
		fmt.Fprintf(b, "\nThe answer is %d, without a body.\n", op.status)
	case reflect.TypeOf(op.answer).Kind() == reflect.Struct:
		fmt.Fprintf(b, "\nThe answer is %d with %s.\n", op.status, documented(reflect.TypeOf(op.answer), types))
	}
}

// curl is how the operation is asked for on a command line.
func (op *operation) curl() string {
	command := "curl"
	if !op.open {
		command += " -u alice:secret"
	}
	if op.method != "GET" {
		command += " -X " + op.method
	}
	if op.example != "" {
		command += " -H 'Content-Type: application/json' -d '" + op.example + "'"
	}
	return command + " https://registry.example.com" + strings.NewReplacer("{name}", "team/app", "{id}", "17").Replace(op.address())
}

// documented names a type, and sees to it that its fields are listed.
func documented(t reflect.Type, types map[string]reflect.Type) string {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t == reflect.TypeFor[time.Time]() {
		return ""
	}
	if types[t.Name()] == nil {
		types[t.Name()] = t
		eachField(t, func(f reflect.StructField) { documented(f.Type, types) })
	}
	return fmt.Sprintf("[%s](#%s)", t.Name(), strings.ToLower(t.Name()))
}

func eachField(t reflect.Type, do func(reflect.StructField)) {
	for f := range t.Fields() {
		if f.Anonymous {
			eachField(f.Type, do)
			continue
		}
		do(f)
	}
}

func writeFields(b *strings.Builder, t reflect.Type) {
	b.WriteString("| field | type | |\n|---|---|---|\n")
	eachField(t, func(f reflect.StructField) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		doc := f.Tag.Get("doc")
		if enum := f.Tag.Get("enum"); enum != "" {
			doc = strings.TrimPrefix(doc+": `"+strings.ReplaceAll(enum, ",", "`, `")+"`", ": ")
		}
		if options != "" && !strings.Contains(doc, "missing") {
			doc = strings.TrimPrefix(doc+"; may be missing", "; ")
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", name, typeName(f.Type), doc)
	})
}

func typeName(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return "time"
	case t.Kind() == reflect.Pointer:
		return typeName(t.Elem())
	case t.Kind() == reflect.Slice:
		return "list of " + typeName(t.Elem())
	case t.Kind() == reflect.Struct:
		return "[" + t.Name() + "](#" + strings.ToLower(t.Name()) + ")"
	case t.Kind() == reflect.String:
		return "text"
	case t.Kind() == reflect.Bool:
		return "true or false"
	}
	return "number"
}

// TestTypesHaveOneName holds that the description mixes up no two types.
func TestTypesHaveOneName(t *testing.T) {
	seen := map[string]reflect.Type{}
	var walk func(reflect.Type)
	walk = func(x reflect.Type) {
		for x.Kind() == reflect.Pointer || x.Kind() == reflect.Slice {
			x = x.Elem()
		}
		if x.Kind() != reflect.Struct || seen[x.Name()] == x {
			return
		}
		if seen[x.Name()] != nil {
			t.Errorf("%v and %v have the same name", x, seen[x.Name()])
		}
		seen[x.Name()] = x
		eachField(x, func(f reflect.StructField) { walk(f.Type) })
	}
	for _, op := range operations() {
		for _, v := range []any{op.body, op.answer} {
			if v != nil {
				walk(reflect.TypeOf(v))
			}
		}
	}
}

// FuzzMatch holds that no path is found in two patterns at the same time with the
// same method, and that finding one never fails in any other way.
func FuzzMatch(f *testing.F) {
	for _, s := range []string{"", "/", "/repositories", "/repositories/a/b", "/usage/repositories", "/retention/a/b", "/tags/a%2Fb", "/trash/1/restore", "/trash/1/", "//"} {
		f.Add(s)
	}
	table := operations()
	f.Fuzz(func(t *testing.T, path string) {
		found := map[string]string{}
		for _, op := range table {
			if _, ok := match(op.path, path); ok {
				if found[op.method] != "" {
					t.Errorf("%q is %s and %s", path, found[op.method], op.id)
				}
				found[op.method] = op.id
			}
		}
	})
}

const docsHead = `<!-- Generated by go generate ./internal/api. Do not edit. -->

# The API besides pushing and pulling

Under ` + "`/api/v1/`" + ` a registry answers in JSON what there is besides [pushing and pulling](api.md): what takes the space, what was
deleted and can come back, what its background work does. ` + "`/api/v1/openapi.json`" + ` describes it in OpenAPI 3.1, for programs that
make clients. What is here stays as it is; more fields and more addresses may come.

- **Log-in** is as for pushing and pulling: user and password in every request, a token, or a proxy that logs in. What is about a
  repository takes the rights of [access rules](access.md) on it; what is about the registry as a whole takes ` + "`admin`" + `, which only a
  rule with ` + "`allow: [admin]`" + ` gives. The operator's own socket, ` + "`berth/admin.sock`" + ` in the data directory, has it all without log-in.
- **Names** of repositories stand in an address as they are, with their slashes. Escaped slashes (` + "`team%2Fapp`" + `) mean the same.
- **Lists** come in pages. ` + "`next`" + ` of one page is ` + "`after`" + ` of the next one; without it there are no more.
- **Errors** have the form of the [distribution API](api.md#errors), and say what to do. 401 has a challenge, 403 means that another
  user might, 405 that the address has other methods or that the registry is read-only. What is not understood, in a query or
  in a body, is refused with 400.
- **Browsers**: pages of other sites are refused, and there is no CORS.
`
