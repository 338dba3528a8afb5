package registry2

import "fmt"

// uploads says how long an upload may rest. registry:2 purges by a section of
// which it wants all keys.
func (t *translation) uploads() {
	const path, expire = "storage.maintenance.uploadpurging", "uploads.expire"
	p := t.root.find(path)
	if p == nil {
		return
	}
	enabled, dryRun, age := p.field("enabled"), p.field("dryrun"), p.field("age")
	if enabled != nil && !enabled.on() {
		t.set(enabled, expire, "0")
		return
	}
	for _, name := range []string{"age", "interval", "dryrun"} {
		if p.field(name) == nil {
			t.noteAt(path, p.origin, "lacks "+name+", without which registry:2 would not start: Berth goes on with what it does by default")
		}
	}
	switch {
	case dryRun.on():
		t.set(dryRun, expire, "0")
		t.noteAt(path+".dryrun", dryRun.origin, "no upload is given up; Berth does not say which ones would be")
	case age != nil:
		t.set(age, expire, age.period())
	}
}

// lists says how long pages may be. What is not above 0 is registry:2's way to
// ask for the default.
func (t *translation) lists() {
	if n := t.root.find("catalog.maxentries"); n != nil {
		if n.isNumber() && n.number() <= 0 {
			t.noteAt("catalog.maxentries", n.origin, "is not above 0: Berth goes on with its default")
		} else {
			t.set(n, "lists.catalog_max", n.value())
		}
	}
	if n := t.root.find("tags.maxtags"); n != nil {
		t.set(n, "lists.tags_max", n.value())
	}
}

// middleware takes what stands in storage's list. What changes only where clients
// get content from is not needed, since they get it here.
func (t *translation) middleware() {
	list := t.root.find("middleware.storage")
	if list == nil {
		return
	}
	for i, m := range list.items {
		name := m.field("name")
		path := fmt.Sprintf("middleware.storage[%d]", i)
		switch {
		case m.field("disabled").on():
		case name.value() == "cloudfront", name.value() == "redirect", name.value() == "rewrite":
			t.noteAt(path, m.origin, "not needed: clients get the content from Berth itself and are never sent to "+name.value())
		default:
			t.refuse(path, m.origin, "changes how content is stored in a way that Berth doesn't know: remove it if you can do without")
		}
	}
}

// allDisabled reports whether every element of a list says that it is disabled.
func allDisabled(list *node) bool {
	for _, m := range list.items {
		if !m.field("disabled").on() {
			return false
		}
	}
	return true
}
