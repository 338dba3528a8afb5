package registry2

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"berth/config"
	"berth/internal/yamltree"
)

// log says what is logged and how.
func (t *translation) log() {
	l := t.root.field("log")
	level := l.field("level")
	if level == nil {
		level = t.root.field("loglevel")
	} else if old := t.root.field("loglevel"); old != nil {
		t.noteAt("loglevel", old.origin, "log.level counts: ignored")
	}
	if level != nil {
		t.set(level, "log.level", strings.ToLower(level.value()))
	}
	if n := l.find("accesslog.disabled"); n != nil {
		t.set(n, "log.access", not(n))
	}
	if n := l.field("formatter"); n != nil {
		format := n.value()
		if format == "logstash" {
			t.noteAt("log.formatter", n.origin, "Berth has no logstash format: json, which it reads too")
			format = "json"
		}
		t.set(n, "log.format", format)
	}
	if n := l.field("fields"); n != nil && len(n.fields) > 0 {
		t.set(n, "log.fields", flowTexts(n))
	}
}

// notifications takes the endpoints that are not disabled. Berth wants each to
// have a name of its own, so those without one get one.
func (t *translation) notifications() {
	list := t.root.find("notifications.endpoints")
	if list == nil {
		return
	}
	var elements []element
	var names []string
	for i, n := range list.items {
		if n.field("disabled").on() {
			continue
		}
		path := fmt.Sprintf("notifications.endpoints[%d]", i)
		name := n.field("name").value()
		if name == "" || slices.Contains(names, name) {
			name = unused(names, i)
			t.noteAt(path, n.origin, "has no name of its own: Berth calls it "+name)
		}
		names = append(names, name)
		e := element{n: n}
		e.text("name", name)
		e.copy("url", n.field("url"))
		e.headers(n)
		e.period("timeout", n.field("timeout"))
		e.number("threshold", n.field("threshold"))
		e.period("backoff", n.field("backoff"))
		ignore := n.field("ignore")
		e.texts("ignore_media_types", append(n.field("ignoredmediatypes").texts(), ignore.field("mediatypes").texts()...))
		e.texts("ignore_actions", ignore.field("actions").texts())
		elements = append(elements, e)
	}
	t.elements(list, "notifications.endpoints", elements)
}

// unused returns a name that is not among names.
func unused(names []string, i int) string {
	for n := i + 1; ; n++ {
		if name := fmt.Sprintf("endpoint-%d", n); !slices.Contains(names, name) {
			return name
		}
	}
}

// health takes the checks. Where registry:2 has no bound, and where its bound is
// 0, Berth's defaults hold.
func (t *translation) health() {
	h := t.root.field("health")
	if s := h.field("storagedriver"); s != nil {
		t.storageCheck(s)
	}
	if list := h.field("file"); list != nil {
		var elements []element
		for _, n := range list.items {
			e := element{n: n}
			e.copy("file", n.field("file"))
			e.period("interval", n.field("interval"))
			elements = append(elements, e)
		}
		t.elements(list, "health.files", elements)
	}
	if list := h.field("http"); list != nil {
		var elements []element
		for _, n := range list.items {
			e := element{n: n}
			e.copy("url", n.field("uri"))
			e.headers(n)
			e.number("status", n.field("statuscode"))
			e.often(n)
			elements = append(elements, e)
		}
		t.elements(list, "health.http", elements)
	}
	if list := h.field("tcp"); list != nil {
		var elements []element
		for _, n := range list.items {
			e := element{n: n}
			e.copy("address", n.field("addr"))
			e.often(n)
			elements = append(elements, e)
		}
		t.elements(list, "health.tcp", elements)
	}
}

// storageCheck takes the check of the storage driver, which is off in registry:2
// where the section does not turn it on.
func (t *translation) storageCheck(s *node) {
	enabled := s.field("enabled")
	if enabled == nil {
		t.set(s, "health.storage.enabled", "false")
		return
	}
	t.set(enabled, "health.storage.enabled", enabled.value())
	if n := s.field("interval"); n != nil && n.period() != "0s" {
		t.set(n, "health.storage.interval", n.period())
	}
	if n := s.field("threshold"); n != nil && !(n.isNumber() && n.number() == 0) {
		t.set(n, "health.storage.threshold", n.value())
	}
}

// isNumber reports whether n is a whole number.
func (n *node) isNumber() bool {
	return n != nil && (n.value() == "0" || n.number() != 0)
}

// An element is a section of one of Berth's lists, as it is being written.
type element struct {
	n     *node
	parts []string // name: value
}

func (e *element) raw(name, value string) {
	if value != "" {
		e.parts = append(e.parts, name+": "+value)
	}
}

func (e *element) text(name, value string) { e.raw(name, quote(value)) }

func (e *element) copy(name string, n *node) {
	if n != nil {
		e.text(name, n.value())
	}
}

// period writes a time that is not 0.
func (e *element) period(name string, n *node) {
	if n != nil && n.period() != "0s" {
		e.text(name, n.period())
	}
}

// number writes a number that is not 0.
func (e *element) number(name string, n *node) {
	if n != nil && n.value() != "0" {
		e.text(name, n.value())
	}
}

func (e *element) texts(name string, list []string) {
	if len(list) > 0 {
		e.raw(name, quoteAll(list))
	}
}

// headers writes those of n, if there are any.
func (e *element) headers(n *node) {
	if h := n.field("headers"); h != nil && len(h.fields) > 0 {
		e.raw("headers", flowLists(h))
	}
}

// often writes what checks have in common.
func (e *element) often(n *node) {
	e.period("timeout", n.field("timeout"))
	e.period("interval", n.field("interval"))
	e.number("threshold", n.field("threshold"))
}

// elements sets one of Berth's lists of sections.
func (t *translation) elements(list *node, to string, elements []element) {
	t.understood = true
	v := config.Value{Path: to, List: true, Origin: list.from()}
	for _, e := range elements {
		v.Items = append(v.Items, config.Item{Text: "{" + strings.Join(e.parts, ", ") + "}", Origin: e.n.origin})
	}
	t.out.Values = append(t.out.Values, v)
}

// quote writes a text in YAML, of which JSON is a part.
func quote(text string) string {
	b, err := json.Marshal(text)
	if err != nil {
		return `""` // a string always has a JSON form
	}
	return string(b)
}

func quoteAll(list []string) string {
	quoted := make([]string, len(list))
	for i, text := range list {
		quoted[i] = quote(text)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// flowLists writes a map of lists of texts in YAML.
func flowLists(n *node) string {
	var parts []string
	for _, f := range n.fields {
		if list := f.value.texts(); list != nil {
			parts = append(parts, quote(f.name)+": "+quoteAll(list))
		}
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// flowTexts writes a map of texts in YAML.
func flowTexts(n *node) string {
	var parts []string
	for _, f := range n.fields {
		if f.value.kind == yamltree.Scalar {
			parts = append(parts, quote(f.name)+": "+quote(f.value.value()))
		}
	}
	return "{" + strings.Join(parts, ", ") + "}"
}
