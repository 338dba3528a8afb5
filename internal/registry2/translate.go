package registry2

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/config"
	"berth/internal/yamltree"
)

// A translation is the state of one reading.
type translation struct {
	as   Mode
	file string // empty if there is none
	keys *key
	root *node

	out        config.Overlay
	ignored    []ignored
	understood bool // something went into the result
}

// ignored is what a note is to be written about: all settings of one key that
// share a fate.
type ignored struct {
	path    string
	words   string
	origins []string
}

// translate says the tree in Berth's words: first what can be said of each key by
// itself, then, section by section, what needs several.
func (t *translation) translate() {
	t.look(t.root, t.keys)
	t.log()
	t.uploads()
	t.auth()
	t.middleware()
	t.http()
	t.tls()
	t.debug()
	t.notifications()
	t.health()
	t.validation()
	t.lists()
	t.defaults()
	for _, i := range t.ignored {
		t.noteAt(i.path, i.where(), i.words)
	}
}

// look checks the form of everything below n, and does what the table says of
// each key: copies it, stops the start, or makes a note.
func (t *translation) look(n *node, k *key) {
	if k == nil {
		t.noteAt(n.path, n.origin, "registry:2 has no such key: ignored")
		return
	}
	if k.fate == fateStop && (n.kind != yamltree.Null || k.form == formMap) {
		if n.kind != yamltree.List || !allDisabled(n) {
			t.refuse(n.path, n.origin, k.words) // the value is never told
		}
		return
	}
	if n.kind == yamltree.Null {
		if n.exact {
			t.noteAt(n.path, n.origin, "is empty: as if it were not set")
		}
		return
	}
	if !t.fits(n, k) {
		return
	}
	switch k.fate {
	case fateNote:
		t.ignore(n, k)
	case fateCopy:
		t.copy(n, k)
	}
	for _, f := range n.fields {
		t.look(f.value, k.child(f.name))
	}
	for _, item := range n.items {
		t.look(item, k.item)
	}
}

// fits reports whether n has the form of k. If not, it has said so.
func (t *translation) fits(n *node, k *key) bool {
	want := map[form]yamltree.Kind{formText: yamltree.Scalar, formTime: yamltree.Scalar, formSection: yamltree.Map,
		formMap: yamltree.Map, formList: yamltree.List, formTexts: yamltree.List}[k.form]
	switch {
	case n.kind == want:
		return true
	case n.kind == yamltree.Scalar && k.form == formTexts: // one in the place of a list of one
		text := n.text
		n.become(yamltree.List)
		n.items = []*node{{kind: yamltree.Scalar, text: text, path: n.path + "[0]", origin: n.origin}}
		return true
	case k.fate == fateNote:
		return true
	case want == yamltree.Scalar:
		t.refuse(n.path, n.origin, "holds keys or a list where one value belongs")
	case want == yamltree.List:
		t.refuse(n.path, n.origin, "is no list: write one, as in [a, b]")
	default:
		t.refuse(n.path, n.origin, "holds a text where keys belong: write them as in {key: value}")
	}
	return false
}

// ignore remembers to write a note of n. What lies below a section that is ignored
// as a whole is part of its note.
func (t *translation) ignore(n *node, k *key) {
	if last := len(t.ignored) - 1; last >= 0 && t.ignored[last].holds(n.path) {
		return
	}
	i := ignored{path: n.path, words: k.words}
	n.leaves(func(n *node) { i.add(n.origin) })
	if len(i.origins) > 0 {
		t.ignored = append(t.ignored, i)
	}
}

// holds reports whether path is that of i, or below it.
func (i *ignored) holds(path string) bool {
	rest, inside := strings.CutPrefix(path, i.path)
	return inside && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

func (i *ignored) add(origin string) {
	if !slices.Contains(i.origins, origin) {
		i.origins = append(i.origins, origin)
	}
}

// where names all variables, and the first line of the file.
func (i *ignored) where() string {
	var all []string
	for _, o := range i.origins {
		if strings.HasPrefix(o, prefix) || len(all) == 0 || strings.HasPrefix(all[0], prefix) {
			all = append(all, o)
		}
	}
	return strings.Join(all, ", ")
}

// copy hands a value on under Berth's path.
func (t *translation) copy(n *node, k *key) {
	switch k.form {
	case formTexts:
		t.list(n, k.words, n.texts())
	case formTime:
		t.set(n, k.words, n.period())
	default:
		t.set(n, k.words, n.value())
	}
}

// set sets one of Berth's keys because of n.
func (t *translation) set(n *node, to, value string) {
	t.understood = true
	t.out.Values = append(t.out.Values, config.Scalar(to, value, n.from()))
}

// list sets one of Berth's keys to a list because of n.
func (t *translation) list(n *node, to string, values []string) {
	t.understood = true
	t.out.Values = append(t.out.Values, config.List(to, values, n.from()))
}

// value returns the text of n. It is trimmed, since YAML keeps the line break at
// the end of a block.
func (n *node) value() string {
	if n == nil {
		return ""
	}
	return strings.TrimSpace(n.text)
}

// on reports whether n is true, as YAML understands it.
func (n *node) on() bool {
	switch strings.ToLower(n.value()) {
	case "true", "yes", "on", "y":
		return true
	}
	return false
}

// texts returns the texts of a list.
func (n *node) texts() []string {
	if n == nil {
		return nil
	}
	var all []string
	for _, item := range n.items {
		all = append(all, item.value())
	}
	return all
}

// period returns a time as Berth writes it. registry:2 reads a bare number as
// nanoseconds.
func (n *node) period() string {
	if count, err := strconv.ParseInt(n.value(), 10, 64); err == nil {
		return time.Duration(count).String()
	}
	return n.value()
}

// number returns a whole number; 0 if n is none or not there.
func (n *node) number() int {
	count, err := strconv.Atoi(n.value())
	if err != nil {
		return 0
	}
	return count
}

func (t *translation) note(format string, args ...any) {
	note := fmt.Sprintf(format, args...)
	if !slices.Contains(t.out.Notes, note) {
		t.out.Notes = append(t.out.Notes, note)
	}
}

// noteAt makes a note about the key of path, which was set at origin.
func (t *translation) noteAt(path, origin, text string) {
	t.note("%s: %s", place(path, origin), text)
}

// place names a key and where it was set.
func place(path, origin string) string {
	switch {
	case origin == "":
		return path
	case path == "":
		return origin
	}
	return path + " (" + origin + ")"
}

func (t *translation) refuse(path, origin, text string) {
	p := config.Problem{Path: path, Origin: origin, Text: text}
	same := func(q config.Problem) bool { return p.Path == q.Path && p.Origin == q.Origin && p.Text == q.Text }
	if !slices.ContainsFunc(t.out.Problems, same) {
		t.out.Problems = append(t.out.Problems, p)
	}
}
