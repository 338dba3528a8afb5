package config

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v2"
)

// A Setting is one key with what it has come to be.
type Setting struct {
	Path     string // "http.listen"
	Value    string // in YAML, on one line
	Origin   string // see [Loaded.Origin]
	Default  string // the value that it has if nobody sets it, or words about it
	Variable string // the environment variable that sets it
}

// Settings returns every key in the order of the manual. Values may be secrets: see
// [Loaded.Conceal].
func (l *Loaded) Settings() []Setting {
	var all []Setting
	for _, f := range fields() {
		s := Setting{Path: f.path, Value: yamlValue(f, l.Config), Origin: l.Origin(f.path), Default: f.derived, Variable: f.variable()}
		if s.Default == "" {
			s.Default = yamlValue(f, Default())
		}
		all = append(all, s)
	}
	return all
}

// WriteYAML writes every key with its effective value and, as a comment, where
// that was set. What it writes is itself a configuration file with the same
// meaning. It may hold secrets: see [Loaded.Conceal].
func (l *Loaded) WriteYAML(w io.Writer) error {
	return l.write(w, func(field) bool { return true })
}

// WriteSet is like WriteYAML, but leaves out what nobody has set.
func (l *Loaded) WriteSet(w io.Writer) error {
	return l.write(w, func(f field) bool { return l.set(f.path) != "" })
}

func (l *Loaded) write(w io.Writer, wanted func(field) bool) error {
	var b strings.Builder
	var open []string
	for _, f := range fields() {
		if !wanted(f) {
			continue
		}
		names := strings.Split(f.path, ".")
		sections := names[:len(names)-1]
		for i, name := range sections {
			if i >= len(open) || open[i] != name {
				fmt.Fprintf(&b, "%s%s:\n", indent(i), name)
				open = sections[:i+1]
			}
		}
		open = sections
		fmt.Fprintf(&b, "%s%s: %s # %s\n", indent(len(sections)), names[len(names)-1], yamlValue(f, l.Config), l.Origin(f.path))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func indent(depth int) string { return strings.Repeat("  ", depth) }

// yamlValue writes a field's value in YAML, on one line.
func yamlValue(f field, c Config) string {
	texts := f.format(c)
	if f.structured() {
		return texts[0]
	}
	for i, text := range texts {
		texts[i] = yamlText(text)
	}
	if !f.list() {
		return texts[0]
	}
	return "[" + strings.Join(texts, ", ") + "]"
}

// yamlText writes a text plainly where YAML reads it back as it is, and in
// quotes otherwise.
func yamlText(text string) string {
	var back map[string][]string
	plain := text != "" && !strings.ContainsAny(text, ",[]{}\n\r") && !strings.HasPrefix(text, ":")
	if plain && yaml.Unmarshal([]byte("a: ["+text+"]"), &back) == nil && len(back["a"]) == 1 && back["a"][0] == text {
		return text
	}
	quoted, err := json.Marshal(text)
	if err != nil {
		return `""` // a string always has a JSON form
	}
	return string(quoted)
}
