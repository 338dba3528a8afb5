package config

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// TestManual holds that docs/config.md says what the struct's comments say, and
// with -update writes it.
func TestManual(t *testing.T) {
	m := manual{t: t, types: parseTypes(t)}
	m.preface()
	m.section(reflect.TypeFor[Config](), "")
	m.wholeFile()
	golden(t, "../docs/config.md", m.String())
}

// manual is the page while it is written.
type manual struct {
	strings.Builder

	t     *testing.T
	types map[string]*ast.TypeSpec
}

// parseTypes returns the types that hold keys, with their comments.
func parseTypes(t *testing.T) map[string]*ast.TypeSpec {
	types := map[string]*ast.TypeSpec{}
	for _, name := range []string{"config.go", "http.go", "care.go", "auth.go", "operate.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			if group, ok := decl.(*ast.GenDecl); ok && group.Tok == token.TYPE {
				spec := group.Specs[0].(*ast.TypeSpec)
				spec.Doc = group.Doc
				types[spec.Name.Name] = spec
			}
		}
	}
	return types
}

func (m *manual) printf(format string, args ...any) { fmt.Fprintf(m, format, args...) }

func (m *manual) preface() {
	m.printf(`# Configuration

<!-- Written by "go generate ./config" from the comments in config/*.go: change them, not this page. -->

Berth runs without any configuration. What is set is taken from these places; the later wins:

1. the defaults below,
2. the file: the one named with %[1]s--config%[1]s or %[1]s%[2]s%[1]s, otherwise %[1]s%[3]s%[1]s if it exists,
3. %[1]sREGISTRY_*%[1]s variables, as registry:2 knows them,
4. %[1]sBERTH_*%[1]s variables,
5. flags of %[1]sberth serve%[1]s.

The file is YAML and read strictly: unknown keys, keys given twice and keys without a value are errors, and so
are unknown %[1]sBERTH_*%[1]s variables. All mistakes are reported at once, each with the place where it was made.
%[1]sberth config check FILE%[1]s looks for them without starting anything; %[1]sberth config show%[1]s prints what is in force
and where each value was set.

- **Sizes** are bytes, or whole numbers with a unit: %[1]s64MiB%[1]s (1024s), %[1]s20GB%[1]s (1000s).
- **Durations** are numbers with units: %[1]s90s%[1]s, %[1]s15m%[1]s, %[1]s24h%[1]s, %[1]s7d%[1]s, %[1]s1h30m%[1]s.
- **Lists** in variables are separated by commas. Maps and lists of sections are YAML there, on one line:
  %[1]sBERTH_ACCESS='[{users: ["*"], allow: [pull, push]}]'%[1]s.
- Relative paths count from the working directory.

| key | default | variable | flag |
|---|---|---|---|
`, "`", FileVariable, DefaultFile)
	for _, f := range fields() {
		flag := ""
		if name := flagOf(f); name != "" {
			flag = "`" + name + "`"
		}
		m.printf("| [`%s`](#%s) | %s | `%s` | %s |\n", f.path, anchor(f.path), defaultText(f), f.variable(), flag)
	}
}

// anchor returns the name that a heading of the form `a.b_c` gets as a target.
func anchor(path string) string { return strings.ReplaceAll(path, ".", "") }

func flagOf(f field) string {
	for _, flag := range Flags() {
		if flag.Path == f.path {
			return "--" + flag.Name
		}
	}
	return ""
}

// defaultText returns the default of a field for people.
func defaultText(f field) string {
	if f.derived != "" {
		return codeWords(f.derived)
	}
	text := strings.Join(f.format(Default()), ", ")
	if text == "" || f.structured() {
		return "none"
	}
	return "`" + text + "`"
}

// codeWords puts the words of a text that are values, not prose, into quotes.
func codeWords(text string) string {
	words := strings.Split(text, " ")
	for i, w := range words {
		if bare := strings.TrimRight(w, ","); strings.ContainsAny(bare, ":/") {
			words[i] = "`" + bare + "`" + w[len(bare):]
		}
	}
	return strings.Join(words, " ")
}

// section writes the keys of a struct, and below them its sections.
func (m *manual) section(t reflect.Type, prefix string) {
	spec := m.types[t.Name()]
	if path := strings.TrimSuffix(prefix, "."); path == "" {
		m.printf("\n## The keys\n")
	} else {
		m.printf("\n### %s\n\n%s", path, m.comment(spec.Doc, t.Name(), "`"+path+"`"))
	}
	fieldsOf := spec.Type.(*ast.StructType).Fields.List
	for i := range t.NumField() {
		sf := t.Field(i)
		if sf.Type.Kind() != reflect.Struct {
			m.key(prefix+sf.Tag.Get("yaml"), sf.Name, fieldsOf[i].Doc)
		}
	}
	for i := range t.NumField() {
		if sf := t.Field(i); sf.Type.Kind() == reflect.Struct {
			m.section(sf.Type, prefix+sf.Tag.Get("yaml")+".")
		}
	}
}

func (m *manual) key(path, name string, doc *ast.CommentGroup) {
	for _, f := range fields() {
		if f.path != path {
			continue
		}
		key := path[strings.LastIndex(path, ".")+1:]
		m.printf("\n#### `%s`\n\n%s\n", path, m.comment(doc, name, "`"+key+"`"))
		m.printf("- Type: %s\n- Default: %s\n- Variable: `%s`\n", m.typeName(f.typ), defaultText(f), f.variable())
		if flag := flagOf(f); flag != "" {
			m.printf("- Flag: `%s`\n", flag)
		}
		if f.structured() && f.typ.Kind() == reflect.Slice {
			m.element(f.typ.Elem())
		}
	}
}

// element describes the sections of a list.
func (m *manual) element(t reflect.Type) {
	spec := m.types[t.Name()]
	m.printf("\n%s\n", m.comment(spec.Doc, t.Name(), "Each of its elements"))
	m.printf("| key | type | default | |\n|---|---|---|---|\n")
	fieldsOf := spec.Type.(*ast.StructType).Fields.List
	for i := range t.NumField() {
		sf := t.Field(i)
		text := m.comment(fieldsOf[i].Doc, sf.Name, "`"+sf.Tag.Get("yaml")+"`")
		fallback := "none"
		if d := sf.Tag.Get("default"); d != "" {
			fallback = "`" + d + "`"
		}
		m.printf("| `%s` | %s | %s | %s |\n", sf.Tag.Get("yaml"), m.typeName(sf.Type), fallback, strings.ReplaceAll(strings.TrimSpace(text), "\n", " "))
	}
}

func (m *manual) typeName(t reflect.Type) string {
	if t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct && isStructured(t) {
		return "list of sections"
	}
	switch t.String() {
	case "map[string]string":
		return "names with texts"
	case "map[string][]string":
		return "names with lists of texts"
	case "[]config.Allowed":
		return "list of words"
	case "time.Duration":
		return "duration"
	case "config.Window":
		return "time of the day, or empty"
	case "config.Size":
		return "size"
	case "[]netip.Prefix":
		return "list of addresses and networks"
	case "[]string":
		return "list of texts"
	case "bool":
		return "`true` or `false`"
	case "int":
		return "number"
	}
	if t.Kind() != reflect.String {
		m.t.Fatalf("a field has the type %s: give it a name for the manual", t)
	}
	if t.PkgPath() != "" {
		return "one of the words above"
	}
	return "text"
}

// comment returns a doc comment as Markdown. Its first word, the name of what
// it describes in Go, becomes the name that people write.
func (m *manual) comment(doc *ast.CommentGroup, name, written string) string {
	text := doc.Text()
	if !strings.HasPrefix(text, name+" ") {
		m.t.Errorf("the comment of %s does not begin with its name: %q", name, text)
	}
	if quoted := regexp.MustCompile("`[^`]*`"); strings.Contains(quoted.ReplaceAllString(text, ""), "[") {
		m.t.Errorf("the comment of %s holds a Go link, which the manual cannot show: %q", name, text)
	}
	return written + strings.TrimPrefix(text, name)
}

// wholeFile writes a file with every default.
func (m *manual) wholeFile() {
	l := &Loaded{Config: Default(), origins: map[string]string{}}
	var b strings.Builder
	if err := l.WriteYAML(&b); err != nil {
		m.t.Fatal(err)
	}
	text := strings.ReplaceAll(b.String(), " # default\n", "\n")
	for _, f := range fields() {
		if f.derived == "" {
			continue
		}
		key := f.path[strings.LastIndex(f.path, ".")+1:]
		empty := `""`
		if f.list() {
			empty = "[]"
		}
		text = strings.Replace(text, "  "+key+": "+empty+"\n", "  # "+key+": "+f.derived+"\n", 1)
	}
	m.printf("\n## A file with every default\n\n```yaml\n%s```\n", text)
}
