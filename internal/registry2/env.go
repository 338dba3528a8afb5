package registry2

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v2"

	"berth/config"
	"berth/internal/yamltree"
)

const (
	prefix = "REGISTRY_"

	// configurationPath names registry:2's own file; it is no setting.
	configurationPath = prefix + "CONFIGURATION_PATH"

	// clientLogins is a variable of podman, skopeo and buildah: where clients
	// keep their log-ins. registry:2 has no auth type "file" that it could mean.
	clientLogins = prefix + "AUTH_FILE"
)

// A variable is a setting of the environment.
type variable struct {
	name  string
	value string
	parts []string // of the name, behind the prefix
}

// variables returns the REGISTRY_* variables of an environment in the form of
// os.Environ, in the order in which registry:2 applies them: that of their
// names, so that what holds a whole section comes before its keys. Those that
// Kubernetes injects for a Service named registry are passed over, and those
// that belong to others.
func variables(environ []string) []variable {
	var all []variable
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		switch {
		case !strings.HasPrefix(name, prefix), name == configurationPath, name == clientLogins:
		case config.Injected(strings.ToUpper(name), value):
		default:
			all = append(all, variable{name, value, strings.Split(strings.TrimPrefix(name, prefix), "_")})
		}
	}
	slices.SortStableFunc(all, func(a, b variable) int { return cmp.Compare(a.name, b.name) })
	return all
}

// apply changes the tree as a variable says.
func (t *translation) apply(v variable) {
	s := setter{translation: t, v: v}
	s.into(t.root, t.keys, "", v.parts)
}

// A setter applies one variable.
type setter struct {
	*translation
	v variable
}

// into sets what rest names below the node n, which stands for the key k and is
// called path.
func (s setter) into(n *node, k *key, path string, rest []string) {
	switch {
	case k == nil || k.form == formMap:
		s.intoMap(n, k, path, rest)
	case k.form == formSection:
		s.intoSection(n, k, path, rest)
	case k.form == formList || k.form == formTexts:
		s.intoList(n, k, path, rest)
	default: // a key below a plain value
		s.unknown()
	}
}

func (s setter) unknown() {
	s.note("%s: registry:2 has no such variable: ignored", s.v.name)
}

// intoSection sets a key of a section. Its variables count in upper case only.
func (s setter) intoSection(n *node, k *key, path string, rest []string) {
	i := slices.IndexFunc(k.order, func(name string) bool { return k.below[name].variable == rest[0] })
	if i < 0 {
		if rest[0] != strings.ToUpper(rest[0]) {
			s.note("%s is ignored: registry:2 knows its variables in upper case only", s.v.name)
			return
		}
		s.unknown()
		return
	}
	name := k.order[i]
	if path == "" && name == "version" {
		s.note("%s is ignored: the version is that of the file", s.v.name)
		return
	}
	s.below(n, k.below[name], name, join(path, name), rest)
}

// intoMap sets a key of a map. An existing one is found in any case, a new one
// is in lower case.
func (s setter) intoMap(n *node, k *key, path string, rest []string) {
	name := strings.ToLower(rest[0])
	if i := slices.IndexFunc(n.fields, func(f field) bool { return strings.EqualFold(f.name, name) }); i >= 0 {
		name = n.fields[i].name
	}
	s.below(n, k.child(name), name, join(path, name), rest)
}

// below sets the key name of n, or what rest[1:] names below it.
func (s setter) below(n *node, k *key, name, path string, rest []string) {
	if len(rest) == 1 {
		s.empties(n.field(name), path)
		if value := s.parse(k, path); value != nil {
			n.become(yamltree.Map)
			n.put(name, value)
		}
		return
	}
	kind := yamltree.Map
	if k != nil && (k.form == formList || k.form == formTexts) {
		kind = yamltree.List
	}
	if k.plain() {
		s.unknown()
		return
	}
	n.become(yamltree.Map)
	value := n.field(name)
	if value == nil {
		value = &node{path: path, origin: s.v.name}
		n.put(name, value)
	}
	value.become(kind)
	s.into(value, k, path, rest[1:])
}

// become makes n hold keys, or elements, if it holds something else.
func (n *node) become(kind yamltree.Kind) {
	if n.kind != kind {
		n.kind, n.text, n.items, n.fields = kind, "", nil, nil
	}
}

// empties refuses a variable that would silently take away the log-in.
func (s setter) empties(old *node, path string) {
	if path == "auth" && old != nil && strings.TrimSpace(s.v.value) == "" {
		s.refuse(path, s.v.name, "is empty, which would take away the log-in of "+old.origin+": remove the variable, or set it to none if nobody shall have to log in")
	}
}

// intoList sets an element, or what rest[1:] names below it. The element behind
// the last one is new.
func (s setter) intoList(n *node, k *key, path string, rest []string) {
	i, err := strconv.ParseUint(rest[0], 10, 16)
	switch {
	case err != nil:
		s.refuse(path, s.v.name, "needs the number of an element, as in "+s.example(k)+"_0")
		return
	case int(i) > len(n.items):
		s.refuse(path, s.v.name, fmt.Sprintf("is about element %d, but there are only %d before it: number them from 0 without a gap", i, len(n.items)))
		return
	case int(i) == len(n.items):
		n.items = append(n.items, &node{path: fmt.Sprintf("%s[%d]", path, i), origin: s.v.name})
	}
	at := fmt.Sprintf("%s[%d]", path, i)
	if len(rest) == 1 {
		if value := s.parse(k.item, at); value != nil {
			n.items[i] = value
		}
		return
	}
	if k.form == formTexts {
		s.unknown()
		return
	}
	n.items[i].become(yamltree.Map)
	s.into(n.items[i], k.item, at, rest[1:])
}

// example returns the part of the variable's name that names the list k.
func (s setter) example(k *key) string {
	at := slices.Index(s.v.parts, k.variable)
	return prefix + strings.Join(s.v.parts[:at+1], "_")
}

// parse reads the variable's value, which is YAML, as one for the key k. It
// returns nil if that cannot be done, and has said so.
func (s setter) parse(k *key, path string) *node {
	if k.plain() {
		n := &node{kind: yamltree.Scalar, text: text(s.v.value), path: path, origin: s.v.name, exact: true}
		if n.text == "" {
			n.kind = yamltree.Null
		}
		return n
	}
	y, err := yamltree.Parse([]byte(s.v.value))
	if err != nil {
		s.refuse(path, s.v.name, "is not valid YAML: write it as in {key: value} or [a, b]") // err may tell the value
		return nil
	}
	b := builder{
		at:   func(int) string { return s.v.name },
		note: s.noteAt,
	}
	n := b.build(y, k, path, 0)
	n.exact = true
	if y.Kind == yamltree.Scalar { // the short form has become a map of one
		for _, f := range n.fields {
			f.value.exact = true
		}
	}
	return n
}

// text returns the text that registry:2 reads from a value: that of the YAML
// scalar, without quotes and comments. What is no scalar, such as [::1]:5000, is
// taken as it stands.
func text(value string) string {
	var kind any
	if yaml.Unmarshal([]byte(value), &kind) != nil {
		return strings.TrimSpace(value)
	}
	switch kind.(type) {
	case nil:
		return ""
	case map[any]any, []any:
		return strings.TrimSpace(value)
	}
	var scalar string
	if yaml.Unmarshal([]byte(value), &scalar) != nil {
		return strings.TrimSpace(value)
	}
	return scalar
}
