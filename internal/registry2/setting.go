package registry2

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v2"
)

// setting is one leaf of registry:2's configuration, given by a variable.
type setting struct {
	variable string // REGISTRY_HTTP_ADDR, or REGISTRY_HTTP if that held a subtree
	path     string // "http.addr", in lower case
	value    string // the text of the leaf; empty for null and for empty sections
}

// flatten returns the leaves of a variable's value, which is YAML: one for a
// plain value, and one for each leaf of a subtree, in the order of their paths.
// What is no YAML is one plain value.
func flatten(variable, path, value string) []setting {
	if isText(path) {
		return []setting{{variable, path, text(value)}}
	}
	var tree any
	if yaml.Unmarshal([]byte(value), &tree) != nil {
		return []setting{{variable, path, strings.TrimSpace(value)}}
	}
	all := leaves(variable, path, tree)
	slices.SortStableFunc(all, func(a, b setting) int { return strings.Compare(a.path, b.path) })
	return all
}

func leaves(variable, path string, tree any) []setting {
	switch v := tree.(type) {
	case nil:
		return []setting{{variable, path, ""}}
	case map[any]any:
		if len(v) == 0 {
			return []setting{{variable, path, ""}}
		}
		var all []setting
		for key, below := range v {
			all = append(all, leaves(variable, path+"."+strings.ToLower(fmt.Sprint(key)), below)...)
		}
		return all
	}
	return []setting{{variable, path, fmt.Sprint(tree)}}
}

// isText reports whether the value of a path is one text or boolean, so that a
// value which looks like a YAML list or mapping, such as [::1]:5000, is none.
func isText(path string) bool {
	switch path {
	case "http.addr", "http.tls.certificate", "http.tls.key",
		"storage.filesystem.rootdirectory", "storage.delete.enabled",
		"auth.htpasswd.path", "auth.htpasswd.realm":
		return true
	}
	return false
}

// isSection reports whether a path is that of a section with keys which Berth
// knows, so that a plain value in its place is a mistake. The sections auth and
// storage are none: they have a short form.
func isSection(path string) bool {
	switch path {
	case "http", "http.tls", "storage.filesystem", "storage.delete", "auth.htpasswd":
		return true
	}
	return false
}

// text returns the text that registry:2 reads from a value: that of the YAML
// scalar, without quotes and comments. What is no scalar is taken as it stands.
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
