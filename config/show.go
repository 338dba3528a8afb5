package config

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v2"
)

// WriteYAML writes every key with its effective value and, as a comment, where
// that was set. What it writes is itself a configuration file with the same
// meaning. No value of the configuration is a secret: those are in files.
func (l *Loaded) WriteYAML(w io.Writer) error {
	var b strings.Builder
	var open []string
	for _, f := range fields() {
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
