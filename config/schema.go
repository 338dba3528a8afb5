package config

import (
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// field is one key of the configuration, found by walking the struct.
type field struct {
	path    string // "http.tls.key"
	index   []int  // of the struct field, for reflect's FieldByIndex
	typ     reflect.Type
	derived string // what its default depends on, in words; empty for most
}

// variable returns the name of the environment variable that sets the field.
func (f field) variable() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(f.path, ".", "_"))
}

// list reports whether the field holds several values.
func (f field) list() bool { return f.typ.Kind() == reflect.Slice && !f.structured() }

// fields returns all keys in the order of the struct.
func fields() []field {
	var all []field
	walk(reflect.TypeFor[Config](), "", nil, func(f field) { all = append(all, f) })
	return all
}

func walk(t reflect.Type, prefix string, index []int, visit func(field)) {
	for i := range t.NumField() {
		sf := t.Field(i)
		at := append(index[:len(index):len(index)], i)
		path := prefix + sf.Tag.Get("yaml")
		if sf.Type.Kind() == reflect.Struct && !isText(sf.Type) {
			walk(sf.Type, path+".", at, visit)
			continue
		}
		visit(field{path: path, index: at, typ: sf.Type, derived: sf.Tag.Get("derived")})
	}
}

// set parses the texts and stores the result in c. The problems it returns have
// their path, but no origin.
func (f field) set(c *Config, texts []string) Problems {
	target := reflect.ValueOf(c).Elem().FieldByIndex(f.index)
	if !f.list() {
		if err := parseInto(target, texts[0]); err != nil {
			return Problems{{Path: f.path, Text: err.Error()}}
		}
		return nil
	}
	var problems Problems
	list := reflect.MakeSlice(f.typ, len(texts), len(texts))
	for i, text := range texts {
		if err := parseInto(list.Index(i), text); err != nil {
			problems = append(problems, Problem{Path: element(f.path, i), Text: err.Error()})
		}
	}
	target.Set(list)
	return problems
}

// element returns the path of an element of a list.
func element(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

// listOf returns the path of the list that path is an element of, or path.
func listOf(path string) string {
	list, _, _ := strings.Cut(path, "[")
	return list
}

// parseInto stores the value of one text in target.
func parseInto(target reflect.Value, text string) error {
	value, err := parse(target.Type(), text)
	if err != nil {
		return err
	}
	target.Set(reflect.ValueOf(value).Convert(target.Type()))
	return nil
}

// parse reads text as a value of a type that fields have.
func parse(t reflect.Type, text string) (any, error) {
	switch t {
	case reflect.TypeFor[Size]():
		return ParseSize(text)
	case reflect.TypeFor[time.Duration]():
		return ParseDuration(text)
	case reflect.TypeFor[netip.Prefix]():
		return parseNetwork(text)
	}
	switch t.Kind() {
	case reflect.String:
		return text, nil
	case reflect.Bool:
		return parseBool(text)
	case reflect.Int:
		return parseCount(text)
	}
	return nil, fmt.Errorf("a field of type %s cannot be read from text", t)
}

// parseBool reads the words that YAML has for true and false.
func parseBool(text string) (bool, error) {
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "true", "yes", "on", "y":
		return true, nil
	case "false", "no", "off", "n":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither: write true or false", text)
}

func parseCount(text string) (int, error) {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%q is no whole number", text)
	}
	return int(n), nil
}

// parseNetwork reads a network, or one address as the network of it alone.
func parseNetwork(text string) (netip.Prefix, error) {
	text = strings.TrimSpace(text)
	if p, err := netip.ParsePrefix(text); err == nil {
		return p.Masked(), nil
	}
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, fmt.Errorf("%q is neither an address nor a network: write one such as 10.0.0.7 or 10.0.0.0/8", text)
	}
	a = a.Unmap()
	return netip.PrefixFrom(a, a.BitLen()), nil
}

// format writes a field's value as texts that set reads back, and one that is
// structured as one text.
func (f field) format(c Config) []string {
	value := reflect.ValueOf(c).FieldByIndex(f.index)
	if f.structured() {
		return []string{flow(value)}
	}
	if !f.list() {
		return []string{formatValue(value.Interface())}
	}
	texts := make([]string, value.Len())
	for i := range texts {
		texts[i] = formatValue(value.Index(i).Interface())
	}
	return texts
}

func formatValue(value any) string {
	switch v := value.(type) {
	case time.Duration:
		return formatDuration(v)
	case netip.Prefix:
		if v.IsSingleIP() {
			return v.Addr().String()
		}
	}
	return fmt.Sprint(value)
}
