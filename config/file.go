package config

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"berth/internal/yamltree"
)

// DefaultFile is read if no file is named and it exists.
const DefaultFile = "/etc/berth/berth.yml"

// maxFile bounds the size of a configuration file, far above any real one.
const maxFile = 1 << 20

// ErrRegistry2 is the error of a file that is a registry:2 config.yml (it says
// "version: 0.1") where Berth's own form is wanted. It is told apart so that
// such a file can be translated, see [Sources.Registry2].
var ErrRegistry2 = errors.New("this is a configuration of registry:2 (version: 0.1), not of Berth")

// readFile returns the content of the file called name. If name is empty it
// reads DefaultFile, and returns an empty name if there is none.
func readFile(name string) (string, []byte, error) {
	optional := name == ""
	if optional {
		name = DefaultFile
	}
	data, err := readAtMost(name)
	switch {
	case optional && errors.Is(err, fs.ErrNotExist):
		return "", nil, nil
	case errors.Is(err, fs.ErrNotExist):
		return name, nil, fmt.Errorf("there is no file %s: check the name given with --config or %s", name, FileVariable)
	}
	return name, data, err
}

func readAtMost(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return nil, fmt.Errorf("%s is a directory: name the file in it (docker makes a directory where the source of a -v mount did not exist)", name)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s is larger than 1 MiB: this is no configuration", name)
	}
	return data, nil
}

// ParseFile reads Berth's own YAML. Unknown keys, keys given twice and keys
// without a value are problems of the overlay, with their lines; name is what
// the file is called in them. The error is [ErrRegistry2] or nil.
func ParseFile(name string, data []byte) (Overlay, error) {
	root, err := yamltree.Parse(data)
	for _, f := range root.Fields {
		if f.Name == "version" {
			return Overlay{}, foreign(f)
		}
	}
	if err != nil {
		return Overlay{Problems: Problems{yamlProblem(name, err)}}, nil
	}
	if root.Kind == yamltree.Scalar || root.Kind == yamltree.List {
		return Overlay{Problems: Problems{{Origin: name, Text: `not a configuration: it should hold lines such as "data: /srv/berth"`}}}, nil
	}
	r := reader{name: name, known: fields()}
	r.section("", root)
	return r.Overlay, nil
}

// foreign returns the error for a file with a version, which Berth's own never
// has.
func foreign(f yamltree.Field) error {
	return fmt.Errorf("line %d: %w", f.Line, ErrRegistry2)
}

// reader turns a tree of nodes into an Overlay.
type reader struct {
	Overlay

	name  string
	known []field
}

func (r *reader) problem(path string, line int, format string, args ...any) {
	r.Problems = append(r.Problems, Problem{Path: path, Origin: r.at(line), Text: fmt.Sprintf(format, args...)})
}

// at returns the origin of what stands on a line.
func (r *reader) at(line int) string { return fmt.Sprintf("%s:%d", r.name, line) }

// section reads the keys of a mapping; prefix is empty or ends with a dot.
func (r *reader) section(prefix string, n yamltree.Node) {
	first := map[string]int{}
	for _, f := range n.Fields {
		if f.Name == "" {
			r.problem(strings.TrimSuffix(prefix, "."), f.Line, "holds a key that is no word: write lines such as %q", r.firstKey(prefix))
			continue
		}
		path := prefix + f.Name
		if line, twice := first[f.Name]; twice {
			r.problem(path, f.Line, "given twice, first on line %d: remove one", line)
			continue
		}
		first[f.Name] = f.Line
		r.key(path, f)
	}
}

func (r *reader) key(path string, f yamltree.Field) {
	switch {
	case slices.ContainsFunc(r.known, func(k field) bool { return k.path == path }):
		r.leaf(path, f)
	case slices.ContainsFunc(r.known, func(k field) bool { return strings.HasPrefix(k.path, path+".") }):
		r.subsection(path, f)
	default:
		r.problem(path, f.Line, "unknown key%s", cmp.Or(didYouMean(path, near(path)), r.siblings(path), didYouMean(path, keysAndSections())))
	}
}

// near returns the keys that somebody who wrote path may have meant: those of the
// same section, and those with the same last word anywhere.
func near(path string) []string {
	i := strings.LastIndex(path, ".")
	if i < 0 {
		return keysAndSections()
	}
	return slices.DeleteFunc(keysAndSections(), func(k string) bool {
		return !strings.HasPrefix(k, path[:i+1]) && lastWord(k) != path[i+1:]
	})
}

// siblings returns the end of a message about an unknown key in a section: the
// keys that the section has.
func (r *reader) siblings(path string) string {
	i := strings.LastIndex(path, ".")
	if i < 0 {
		return ""
	}
	var names []string
	for _, k := range keysAndSections() {
		if rest, inside := strings.CutPrefix(k, path[:i+1]); inside && !strings.Contains(rest, ".") {
			names = append(names, rest)
		}
	}
	return ": the keys of " + path[:i] + " are " + strings.Join(names, ", ")
}

// subsection reads a section. One without any key, all of them commented out
// perhaps, says nothing.
func (r *reader) subsection(path string, f yamltree.Field) {
	switch f.Value.Kind {
	case yamltree.Map:
		r.section(path+".", f.Value)
	case yamltree.Scalar, yamltree.List:
		r.problem(path, f.Line, "is a section: write its keys below it, indented, such as %q", r.firstKey(path+"."))
	}
}

// firstKey returns the first key below a prefix, as it is written there.
func (r *reader) firstKey(prefix string) string {
	for _, k := range r.known {
		if rest, inside := strings.CutPrefix(k.path, prefix); inside {
			name, _, _ := strings.Cut(rest, ".")
			return name + ": …"
		}
	}
	return ""
}

func (r *reader) leaf(path string, f yamltree.Field) {
	i := slices.IndexFunc(r.known, func(k field) bool { return k.path == path })
	switch {
	case f.Value.Kind == yamltree.Null:
		r.problem(path, f.Line, "has no value: write one, or remove the line")
		return
	case r.known[i].structured():
		f.Value.Line = max(f.Value.Line, f.Line)
		t := tree{f.Value, r.at}
		r.Values = append(r.Values, Value{Path: path, Items: []Item{{Origin: r.at(f.Line), tree: &t}}, Origin: r.at(f.Line)})
		return
	}
	switch f.Value.Kind {
	case yamltree.Map:
		r.problem(path, f.Line, "takes a value, and has no keys below it")
	case yamltree.Scalar:
		r.Values = append(r.Values, Scalar(path, f.Value.Text, r.at(f.Line)))
	case yamltree.List:
		r.list(path, f)
	}
}

func (r *reader) list(path string, f yamltree.Field) {
	v := Value{Path: path, List: true, Origin: r.at(f.Line)}
	for i, item := range f.Value.Items {
		if item.Kind != yamltree.Scalar {
			r.problem(element(path, i), max(item.Line, f.Line), "is no text: write one, or remove it")
			continue
		}
		v.Items = append(v.Items, Item{Text: item.Text, Origin: r.at(item.Line)})
	}
	r.Values = append(r.Values, v)
}
