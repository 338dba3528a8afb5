package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"berth/internal/yamltree"
)

// structured reports whether the field holds a map or a list of sections, so
// that its values have a form of their own in YAML.
func (f field) structured() bool { return isStructured(f.typ) }

func isStructured(t reflect.Type) bool {
	return t.Kind() == reflect.Map || t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct && !isText(t.Elem())
}

// isText reports whether values of a type are written as one text, though they
// are structs in Go.
func isText(t reflect.Type) bool { return t.String() == "netip.Prefix" }

// A tree is a structured value, or an element of one, as a source wrote it.
type tree struct {
	node yamltree.Node
	at   func(line int) string // the origin of a line
}

// parseTree reads the YAML that an environment variable, a flag or a
// translation gives for a structured value.
func parseTree(text, origin string) (tree, error) {
	n, err := yamltree.Parse([]byte(text))
	return tree{n, func(int) string { return origin }}, err
}

// trees returns what v holds, one tree for each element of a list, and one in
// all for a map.
func (v Value) trees(f field) ([]tree, Problems) {
	var all []tree
	for _, item := range v.Items {
		t := tree{}
		if item.tree != nil {
			t = *item.tree
		} else {
			var err error
			if t, err = parseTree(item.Text, item.Origin); err != nil {
				p := yamlProblem(item.Origin, err)
				return nil, Problems{{Path: v.Path, Origin: item.Origin, Text: p.Text}}
			}
		}
		if f.typ.Kind() == reflect.Slice && t.node.Kind == yamltree.List {
			for _, n := range t.node.Items {
				all = append(all, tree{n, t.at})
			}
			continue
		}
		all = append(all, t)
	}
	return all, nil
}

// applyTree stores a structured value in c and remembers its origins.
func (v Value) applyTree(f field, c *Config, origins map[string]string) Problems {
	all, problems := v.trees(f)
	origins[v.Path] = v.Origin
	target := reflect.ValueOf(c).Elem().FieldByIndex(f.index)
	if f.typ.Kind() == reflect.Map {
		fresh := reflect.New(f.typ).Elem()
		for _, t := range all {
			problems = append(problems, t.into(fresh, v.Path)...)
		}
		target.Set(fresh)
		return problems
	}
	list := reflect.MakeSlice(f.typ, len(all), len(all))
	for i, t := range all {
		path := element(v.Path, i)
		origins[path] = t.at(t.node.Line)
		setDefaults(list.Index(i))
		problems = append(problems, t.into(list.Index(i), path)...)
	}
	target.Set(list)
	return problems
}

// setDefaults sets the fields of an element that have a default.
func setDefaults(v reflect.Value) {
	for i := range v.NumField() {
		if text, ok := v.Type().Field(i).Tag.Lookup("default"); ok {
			if err := parseInto(v.Field(i), text); err != nil {
				panic(fmt.Sprintf("the default of %s: %v", v.Type().Field(i).Name, err))
			}
		}
	}
}

// into stores the tree in target, which is called path in problems.
func (t tree) into(target reflect.Value, path string) Problems {
	switch kind := target.Kind(); {
	case t.node.Kind == yamltree.Null:
		return t.problem(path, "has no value: write one, or remove the line")
	case kind == reflect.Struct && !isText(target.Type()):
		return t.intoStruct(target, path)
	case kind == reflect.Map:
		return t.intoMap(target, path)
	case kind == reflect.Slice:
		return t.intoList(target, path)
	case t.node.Kind != yamltree.Scalar:
		return t.problem(path, "takes one value")
	}
	if err := parseInto(target, t.node.Text); err != nil {
		return t.problem(path, "%v", err)
	}
	return nil
}

func (t tree) problem(path, format string, args ...any) Problems {
	return Problems{{Path: path, Origin: t.at(t.node.Line), Text: fmt.Sprintf(format, args...)}}
}

// below returns the tree of an entry. An empty value has no line of its own.
func (t tree) below(f yamltree.Field) tree {
	f.Value.Line = max(f.Value.Line, f.Line)
	return tree{f.Value, t.at}
}

func (t tree) intoStruct(target reflect.Value, path string) Problems {
	if t.node.Kind != yamltree.Map {
		return t.problem(path, "is no section: write its keys, such as {%s: …}", strings.Join(yamlNames(target.Type()), ": …, "))
	}
	var problems Problems
	seen := map[string]bool{}
	for _, f := range t.node.Fields {
		below, at := t.below(f), path+"."+f.Name
		i := slices.Index(yamlNames(target.Type()), f.Name)
		switch {
		case i < 0:
			problems = append(problems, below.problem(at, "unknown key: the keys of %s are %s", path, strings.Join(yamlNames(target.Type()), ", "))...)
		case seen[f.Name]:
			problems = append(problems, below.problem(at, "given twice: remove one")...)
		default:
			problems = append(problems, below.into(target.Field(i), at)...)
		}
		seen[f.Name] = true
	}
	return problems
}

func (t tree) intoMap(target reflect.Value, path string) Problems {
	if t.node.Kind != yamltree.Map {
		return t.problem(path, "takes names and values: write them as {name: value}")
	}
	fresh := reflect.MakeMap(target.Type())
	var problems Problems
	for _, f := range t.node.Fields {
		below, at := t.below(f), path+"."+f.Name
		if f.Name == "" {
			problems = append(problems, below.problem(path, "holds a key that is no word: write lines such as name: value")...)
			continue
		}
		if fresh.MapIndex(reflect.ValueOf(f.Name)).IsValid() {
			problems = append(problems, below.problem(at, "given twice: remove one")...)
			continue
		}
		value := reflect.New(target.Type().Elem()).Elem()
		problems = append(problems, below.into(value, at)...)
		fresh.SetMapIndex(reflect.ValueOf(f.Name), value)
	}
	target.Set(fresh)
	return problems
}

// intoList reads a list; one text in its place is a list of one.
func (t tree) intoList(target reflect.Value, path string) Problems {
	items := t.node.Items
	switch t.node.Kind {
	case yamltree.Scalar:
		items = []yamltree.Node{t.node}
	case yamltree.Map:
		return t.problem(path, "takes a list: write it in brackets")
	}
	list := reflect.MakeSlice(target.Type(), len(items), len(items))
	var problems Problems
	for i, n := range items {
		n.Line = max(n.Line, t.node.Line)
		problems = append(problems, tree{n, t.at}.into(list.Index(i), element(path, i))...)
	}
	target.Set(list)
	return problems
}

func yamlNames(t reflect.Type) []string {
	names := make([]string, t.NumField())
	for i := range names {
		names[i] = t.Field(i).Tag.Get("yaml")
	}
	return names
}

// flow writes a value of a structured field in YAML on one line, so that into
// reads it back. What an element leaves at its default is left out.
func flow(v reflect.Value) string {
	switch kind := v.Kind(); {
	case kind == reflect.Struct && !isText(v.Type()):
		fresh := reflect.New(v.Type()).Elem()
		setDefaults(fresh)
		var parts []string
		for i, name := range yamlNames(v.Type()) {
			if !reflect.DeepEqual(v.Field(i).Interface(), fresh.Field(i).Interface()) {
				parts = append(parts, name+": "+flow(v.Field(i)))
			}
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case kind == reflect.Map:
		m := v.Interface()
		var parts []string
		switch m := m.(type) {
		case map[string]string:
			for _, k := range slices.Sorted(maps.Keys(m)) {
				parts = append(parts, yamlText(k)+": "+yamlText(m[k]))
			}
		case map[string][]string:
			for _, k := range slices.Sorted(maps.Keys(m)) {
				parts = append(parts, yamlText(k)+": "+flow(reflect.ValueOf(m[k])))
			}
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case kind == reflect.Slice:
		parts := make([]string, v.Len())
		for i := range parts {
			parts[i] = flow(v.Index(i))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	switch v.Interface().(type) {
	case time.Duration, Size, bool, int:
		return formatValue(v.Interface())
	}
	return yamlText(formatValue(v.Interface()))
}
