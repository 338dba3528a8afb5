package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v2"
)

// nodeKind says what a node of a YAML file is.
type nodeKind int

const (
	nullNode nodeKind = iota // no value at all, null or ~
	scalarNode
	listNode
	mapNode
)

// node is a value in a YAML file, with the line it stands on. Decoding into
// nodes, not into the struct, is what gives each message its line and its key.
type node struct {
	kind   nodeKind
	line   int // 0 for null, which the decoder passes over
	scalar string
	items  []node
	fields []nodeField // in the order of their lines
}

// nodeField is an entry of a mapping.
type nodeField struct {
	name  string
	line  int
	value node
}

// nodeKey is a key of a mapping. The pointer makes each key its own, so that
// one given twice is not lost but can be reported.
type nodeKey struct{ *keyPlace }

type keyPlace struct {
	name string
	line int
}

// UnmarshalYAML records the key's text and its line. A key that is a list or a
// mapping has no text.
func (k *nodeKey) UnmarshalYAML(unmarshal func(any) error) error {
	line, kind := probe(unmarshal)
	k.keyPlace = &keyPlace{line: line}
	if kind != scalarNode {
		return nil
	}
	return unmarshal(&k.name)
}

// UnmarshalYAML records the value whatever it is.
func (n *node) UnmarshalYAML(unmarshal func(any) error) error {
	n.line, n.kind = probe(unmarshal)
	switch n.kind {
	case listNode:
		return unmarshal(&n.items)
	case mapNode:
		entries := map[nodeKey]node{}
		if err := unmarshal(&entries); err != nil {
			return err
		}
		n.fields = sortFields(entries)
		return nil
	}
	return unmarshal(&n.scalar)
}

func sortFields(entries map[nodeKey]node) []nodeField {
	var all []nodeField
	for key, value := range entries {
		f := nodeField{line: value.line, value: value}
		if key.keyPlace != nil {
			f.name, f.line = key.name, key.line
		}
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b nodeField) int {
		return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.name, b.name), cmp.Compare(a.value.line, b.value.line))
	})
	return all
}

var complaint = regexp.MustCompile(`line (\d+): cannot unmarshal (\S+)`)

// probe returns the line and the kind of the value that unmarshal decodes. The
// YAML library tells them only in its complaints, so it is asked for a channel,
// which no value fits.
func probe(unmarshal func(any) error) (int, nodeKind) {
	var none chan struct{}
	err := unmarshal(&none)
	if err == nil {
		return 0, scalarNode
	}
	match := complaint.FindStringSubmatch(err.Error())
	if match == nil {
		return 0, scalarNode
	}
	line, _ := parseCount(match[1]) // it is all digits; an absurd count is line 0
	switch match[2] {
	case "!!map":
		return line, mapNode
	case "!!seq":
		return line, listNode
	}
	return line, scalarNode
}

// parseYAML reads the one document of a file. An empty file is a null node.
func parseYAML(data []byte) (node, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var root node
	if err := decoder.Decode(&root); err != nil && !errors.Is(err, io.EOF) {
		return node{}, err
	}
	var more any
	if err := decoder.Decode(&more); !errors.Is(err, io.EOF) {
		return node{}, errors.Join(errors.New("the file holds more than one document: remove the lines of --- and what follows"), err)
	}
	return root, nil
}

var syntaxError = regexp.MustCompile(`^yaml: (?:line (\d+): )?(?s:(.*))$`)

// yamlProblem puts an error of the YAML library into our words.
func yamlProblem(name string, err error) Problem {
	text, origin := err.Error(), name
	if match := syntaxError.FindStringSubmatch(text); match != nil {
		text = "not valid YAML: " + match[2]
		if match[1] != "" {
			origin = fmt.Sprintf("%s:%s", name, match[1])
		}
	}
	if strings.Contains(text, "cannot start any token") {
		text += " (YAML is indented with spaces, never with tabs; texts that begin with %, @ or ` need quotes)"
	}
	return Problem{Origin: origin, Text: strings.ReplaceAll(text, "\n", " ")}
}
