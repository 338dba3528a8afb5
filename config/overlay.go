package config

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v2"
)

// Overlay is what one source says about the configuration: values for some of
// its keys, not yet parsed, and what was wrong or worth saying about the source
// itself.
type Overlay struct {
	Values   []Value
	Defaults []Value // what the source takes for granted: below the values of every source
	Problems []Problem
	Notes    []string // for the operator's eyes; they stop nothing
}

// Value is one setting that one source makes. A later source replaces it whole.
type Value struct {
	Path   string // "http.listen"
	Items  []Item // exactly one, unless List is set
	List   bool   // the source wrote a list
	Origin string // where it was set: berth.yml:7, BERTH_HTTP_LISTEN, flag --listen
}

// Item is one text of a Value. Its Origin may be more exact than the Value's.
type Item struct {
	Text   string // for an element of a list of sections, and for a map: YAML
	Origin string

	tree *tree // what a file says, with its lines; nil: read Text
}

// Scalar returns the Value of one text. For a key that takes a list, the text
// may hold several, separated by commas; for one that takes a map or a list of
// sections, it is YAML.
func Scalar(path, text, origin string) Value {
	return Value{Path: path, Items: []Item{{Text: text, Origin: origin}}, Origin: origin}
}

// List returns the Value of several texts.
func List(path string, texts []string, origin string) Value {
	v := Value{Path: path, List: true, Origin: origin}
	for _, text := range texts {
		v.Items = append(v.Items, Item{Text: text, Origin: origin})
	}
	return v
}

// split returns v as a list, if it is one text that stands for several: a YAML
// list in brackets, or texts with commas between them. An IPv6 address with its
// port, [::1]:5000, looks like the first and is not.
func (v Value) split() Value {
	if v.List {
		return v
	}
	text, origin := strings.TrimSpace(v.Items[0].Text), v.Items[0].Origin
	if strings.HasPrefix(text, "[") {
		var texts []string
		if yaml.Unmarshal([]byte(text), &texts) == nil {
			return List(v.Path, texts, origin)
		}
	}
	var texts []string
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			texts = append(texts, part)
		}
	}
	return List(v.Path, texts, origin)
}

// apply stores the values of o in c and remembers their origins. It returns
// every problem, those of the source first.
func (o Overlay) apply(c *Config, origins map[string]string) Problems {
	problems := Problems(slices.Clone(o.Problems))
	if len(o.Values) == 0 { // as of most sources
		return problems
	}
	known := fields()
	for _, v := range o.Values {
		i := slices.IndexFunc(known, func(f field) bool { return f.path == v.Path })
		if i < 0 {
			problems = append(problems, Problem{Path: v.Path, Origin: v.Origin, Text: "unknown key" + didYouMean(v.Path, keys())})
			continue
		}
		problems = append(problems, v.apply(known[i], c, origins)...)
	}
	return problems
}

func (v Value) apply(f field, c *Config, origins map[string]string) Problems {
	switch {
	case f.structured():
		return v.applyTree(f, c, origins)
	case f.list():
		v = v.split()
	case v.List:
		return Problems{{Path: v.Path, Origin: v.Origin, Text: "takes one value, not a list"}}
	}
	origins[v.Path] = v.Origin
	texts := make([]string, len(v.Items))
	for i, item := range v.Items {
		texts[i] = item.Text
		if f.list() {
			origins[element(v.Path, i)] = item.Origin
		}
	}
	problems := f.set(c, texts)
	for i, p := range problems {
		problems[i].Origin = origins[p.Path]
	}
	return problems
}
