package registry2

import (
	"fmt"
	"slices"
	"strings"

	"berth/internal/yamltree"
)

// A node is a value of registry:2's configuration, and where it was set. It is
// built from the file, and changed by the variables.
type node struct {
	kind   yamltree.Kind
	text   string
	path   string // of its key: http.addr
	origin string // config.yml:7, or REGISTRY_HTTP_ADDR
	exact  bool   // the origin is a variable that is this very key's
	items  []*node
	fields []field // each name once
}

// A field is an entry of a node.
type field struct {
	name  string
	value *node
}

// field returns the value of a key; nil if it is not there or has no value.
func (n *node) field(name string) *node {
	if value := n.entry(name); value != nil && value.kind != yamltree.Null {
		return value
	}
	return nil
}

// entry returns the value of a key, even an empty one; nil if it is not there.
func (n *node) entry(name string) *node {
	if n == nil {
		return nil
	}
	i := slices.IndexFunc(n.fields, func(f field) bool { return f.name == name })
	if i < 0 {
		return nil
	}
	return n.fields[i].value
}

// find returns the value under a path such as http.tls.key, nil if there is none.
func (n *node) find(path string) *node {
	for name := range strings.SplitSeq(path, ".") {
		n = n.field(name)
	}
	return n
}

// put sets the value of a key.
func (n *node) put(name string, value *node) {
	i := slices.IndexFunc(n.fields, func(f field) bool { return f.name == name })
	if i < 0 {
		n.fields = append(n.fields, field{name, value})
		return
	}
	n.fields[i].value = value
}

// leaves calls visit for every value below n that is neither empty nor a
// section, a map or a list.
func (n *node) leaves(visit func(*node)) {
	if n == nil {
		return
	}
	if n.kind == yamltree.Scalar {
		visit(n)
	}
	for _, item := range n.items {
		item.leaves(visit)
	}
	for _, f := range n.fields {
		f.value.leaves(visit)
	}
}

// A builder makes nodes of YAML.
type builder struct {
	at   func(line int) string // the origin of a line
	note func(path, origin, text string)
}

// build makes a node of YAML that stands for the key k, which is nil if
// registry:2 knows no such key. line is where its own key stands.
//
// A section that is given twice is both: so does the YAML library that registry:2
// uses fill its structs. Of everything else given twice the later counts.
func (b builder) build(y yamltree.Node, k *key, path string, line int) *node {
	n := &node{kind: y.Kind, text: y.Text, path: path, origin: b.at(max(y.Line, line))}
	if line > 0 {
		n.origin = b.at(line) // where its key stands
	}
	if k.plain() && strings.TrimSpace(n.text) == "" && n.kind == yamltree.Scalar {
		n.kind = yamltree.Null // so it is for registry:2
	}
	for i, item := range y.Items {
		n.items = append(n.items, b.build(item, k.element(), fmt.Sprintf("%s[%d]", path, i), item.Line))
	}
	for _, f := range y.Fields {
		if f.Name == "" {
			b.note(path, b.at(f.Line), "holds a key that is no word: ignored")
			continue
		}
		below := join(path, f.Name)
		value := b.build(f.Value, k.child(f.Name), below, f.Line)
		if earlier := n.entry(f.Name); earlier != nil {
			rule := "the later counts"
			if k := k.child(f.Name); k != nil && k.form == formSection && value.kind == yamltree.Map {
				value.merge(earlier)
				rule = "both count, and the later where they disagree"
			}
			b.note(below, b.at(f.Line), "is given twice, first at "+earlier.origin+": "+rule)
		}
		n.put(f.Name, value)
	}
	return n.short(k, path)
}

// merge adds the keys of earlier that n lacks.
func (n *node) merge(earlier *node) {
	for _, f := range earlier.fields {
		switch mine := n.field(f.name); {
		case mine == nil:
			n.put(f.name, f.value)
		case mine.kind == yamltree.Map && f.value.kind == yamltree.Map:
			mine.merge(f.value)
		}
	}
}

// short writes out the short form of storage and auth: one word in the place of
// a section of that name. A word that is no name may be a mistake, and secret.
func (n *node) short(k *key, path string) *node {
	if path != "storage" && path != "auth" || n.kind != yamltree.Scalar {
		return n
	}
	if n.text == "" {
		return &node{kind: yamltree.Null, path: path, origin: n.origin, exact: n.exact}
	}
	name := strings.ToLower(n.text)
	full := &node{kind: yamltree.Map, path: path, origin: n.origin, exact: n.exact}
	below := join(path, name)
	if k.below[name] == nil {
		below = path
	}
	full.put(name, &node{kind: yamltree.Map, path: below, origin: n.origin, exact: n.exact})
	return full
}

// from says where n was set, for a person: which line or variable and, where that
// does not tell, which key.
func (n *node) from() string {
	if n.exact {
		return n.origin
	}
	return n.origin + ", " + n.path
}

// plain reports whether the value of k is one text.
func (k *key) plain() bool { return k != nil && (k.form == formText || k.form == formTime) }

// element returns the key of a list's elements.
func (k *key) element() *key {
	if k == nil {
		return nil
	}
	return k.item
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
