package registry2

import (
	_ "embed" // for the table
	"fmt"
	"strings"
)

//go:embed keys.txt
var keyTable string

// A form is how the value of a key is written.
type form string

// The forms; keys.txt says what they are.
const (
	formSection form = "section"
	formMap     form = "map"
	formList    form = "list"
	formTexts   form = "texts"
	formText    form = "text"
	formTime    form = "time"
)

// A fate is what becomes of a key.
type fate string

// The fates; keys.txt says what they are.
const (
	fateCopy fate = "copy"
	fateTo   fate = "to"
	fateRead fate = "read"
	fateNote fate = "note"
	fateStop fate = "stop"
	fateNone fate = ""
)

// A key is one of registry:2's keys, with those below it.
type key struct {
	path     string // "http.tls.key", or "health.http[].uri"
	form     form
	variable string // the last part of its variable, in upper case
	version  string // "2" or "3" if only that one knows it
	fate     fate
	words    string

	below map[string]*key // sections and maps; "*" is any name
	item  *key            // of a list: its elements
	order []string        // the names of below, as in the table
}

// keys returns the whole configuration of registry:2, as one section.
func keys() *key {
	root := &key{form: formSection}
	for line := range strings.Lines(keyTable) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		column := strings.SplitN(line, "|", 5)
		for i := range column {
			column[i] = strings.TrimSpace(column[i])
		}
		column = append(column, "", "", "", "")
		k := &key{path: column[0], version: column[2], fate: fate(column[3]), words: column[4]}
		kind, variable, _ := strings.Cut(column[1], ":")
		k.form, k.variable = form(kind), variable
		root.add(k)
	}
	return root
}

// add puts k where its path says. What it is part of stands before it in the
// table, or the table is wrong.
func (k *key) add(added *key) {
	at := k
	names := strings.Split(strings.ReplaceAll(added.path, "[]", ".[]"), ".")
	for _, name := range names[:len(names)-1] {
		next := at.below[name]
		if name == "[]" {
			next = at.item
		}
		if next == nil {
			panic(fmt.Sprintf("keys.txt: %s stands before what it is part of", added.path))
		}
		at = next
	}
	name := names[len(names)-1]
	if added.form == formList || added.form == formTexts {
		added.item = &key{path: added.path + "[]", form: formSection}
		if added.form == formTexts {
			added.item.form = formText
		}
	}
	if added.variable == "" {
		added.variable = strings.ToUpper(name)
	}
	if added.fate == fateNone {
		added.fate, added.words = at.fate, at.words
	}
	if at.below == nil {
		at.below = map[string]*key{}
	}
	at.below[name] = added
	at.order = append(at.order, name)
	if added.item != nil && added.fate != fateCopy { // a list of texts is copied as a whole
		added.item.fate, added.item.words = added.fate, added.words
	}
}

// child returns the key called name below k, or nil.
func (k *key) child(name string) *key {
	if k == nil {
		return nil
	}
	if c := k.below[name]; c != nil {
		return c
	}
	return k.below["*"]
}

// all calls visit for k's keys at any depth, in the order of the table.
func (k *key) all(visit func(*key)) {
	for _, name := range k.order {
		c := k.below[name]
		visit(c)
		c.all(visit)
		if c.item != nil {
			c.item.all(visit)
		}
	}
}
