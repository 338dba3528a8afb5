// Package yamltree reads YAML into a tree that knows the line of every value.
//
// Nothing is lost and nothing is decided: keys that are given twice are both
// there, and what a value means is for the caller to say.
package yamltree

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v2"
)

// A Kind says what a Node is.
type Kind int

// The kinds.
const (
	Null Kind = iota // no value at all, null or ~
	Scalar
	List
	Map
)

// A Node is a value in a YAML file, with the line it stands on. Decoding into
// nodes, not into the struct, is what gives each message its line and its key.
type Node struct {
	Kind   Kind
	Line   int    // 0 for null, which the decoder passes over
	Text   string // of a scalar
	Items  []Node
	Fields []Field // in the order of their lines
}

// A Field is an entry of a mapping.
type Field struct {
	Name  string // empty if the key is no word
	Line  int
	Value Node
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
	if kind != Scalar {
		return nil
	}
	return unmarshal(&k.name)
}

// UnmarshalYAML records the value whatever it is.
func (n *Node) UnmarshalYAML(unmarshal func(any) error) error {
	n.Line, n.Kind = probe(unmarshal)
	switch n.Kind {
	case List:
		return unmarshal(&n.Items)
	case Map:
		entries := map[nodeKey]Node{}
		if err := unmarshal(&entries); err != nil {
			return err
		}
		n.Fields = sortFields(entries)
		return nil
	}
	return unmarshal(&n.Text)
}

func sortFields(entries map[nodeKey]Node) []Field {
	var all []Field
	for key, value := range entries {
		f := Field{Line: value.Line, Value: value}
		if key.keyPlace != nil {
			f.Name, f.Line = key.name, key.line
		}
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b Field) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Value.Line, b.Value.Line))
	})
	return all
}

var complaint = regexp.MustCompile(`line (\d+): cannot unmarshal (\S+)`)

// probe returns the line and the kind of the value that unmarshal decodes. The
// YAML library tells them only in its complaints, so it is asked for a channel,
// which no value fits.
func probe(unmarshal func(any) error) (int, Kind) {
	var none chan struct{}
	err := unmarshal(&none)
	if err == nil {
		return 0, Scalar
	}
	match := complaint.FindStringSubmatch(err.Error())
	if match == nil {
		return 0, Scalar
	}
	line, _ := strconv.Atoi(match[1]) // it is all digits; an absurd count is line 0
	switch match[2] {
	case "!!map":
		return line, Map
	case "!!seq":
		return line, List
	}
	return line, Scalar
}

// ErrMore says that a second document follows the one that was read.
var ErrMore = errors.New("the file holds more than one document: remove the lines of --- and what follows")

// Parse reads a document. An empty one is a null node. If others follow, the
// error is [ErrMore], and the node is good.
func Parse(data []byte) (Node, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var root Node
	if err := decoder.Decode(&root); err != nil && !errors.Is(err, io.EOF) {
		return Node{}, err
	}
	var more any
	if err := decoder.Decode(&more); !errors.Is(err, io.EOF) {
		return root, ErrMore
	}
	return root, nil
}

var syntaxError = regexp.MustCompile(`^yaml: (?:line (\d+): )?(?s:(.*))$`)

// anchor is the name of one in an error. It may be a password that begins with a
// star.
var anchor = regexp.MustCompile(`anchor '[^']*'`)

// Explain puts an error of Parse into words for whoever wrote the file, and
// returns the line that it is about, 0 if that is not known.
func Explain(err error) (line int, text string) {
	text = anchor.ReplaceAllString(err.Error(), "anchor")
	if match := syntaxError.FindStringSubmatch(text); match != nil {
		text = "not valid YAML: " + match[2]
		line, _ = strconv.Atoi(match[1]) // empty is line 0
	}
	if strings.Contains(text, "cannot start any token") {
		text += " (YAML is indented with spaces, never with tabs; texts that begin with %, @ or ` need quotes)"
	}
	return line, strings.ReplaceAll(text, "\n", " ")
}
