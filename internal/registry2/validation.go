package registry2

import (
	"slices"
	"strings"
)

// validation says which manifests are refused. registry:2 validates unless it is
// told not to, and then refuses every manifest with URLs of which it was told
// nothing. Berth follows where the section is there; without it, it accepts what
// the OCI specification allows.
func (t *translation) validation() {
	v := t.root.field("validation")
	if v == nil || len(v.fields) == 0 {
		return
	}
	if disabled := v.field("disabled"); disabled.on() && !v.field("enabled").on() {
		t.set(disabled, "manifests.urls.refuse", "false")
		if v.field("manifests") != nil {
			t.noteAt("validation.manifests", v.field("manifests").origin, "is off, since validation.disabled is true: ignored")
		}
		return
	}
	t.urls(v)
	t.platforms(v.find("manifests.indexes"))
}

func (t *translation) urls(v *node) {
	allow, deny := v.find("manifests.urls.allow"), v.find("manifests.urls.deny")
	if allow == nil && deny == nil {
		why := v
		if enabled := v.field("enabled"); enabled != nil {
			why = enabled
		} else if disabled := v.field("disabled"); disabled != nil {
			why = disabled
		}
		t.set(why, "manifests.urls.refuse", "true")
		return
	}
	for _, list := range []struct {
		n  *node
		to string
	}{{allow, "manifests.urls.allow"}, {deny, "manifests.urls.deny"}} {
		if list.n != nil {
			t.list(list.n, list.to, list.n.texts())
			t.set(list.n, "manifests.urls.refuse", "false")
		}
	}
}

func (t *translation) platforms(n *node) {
	const path, to = "validation.manifests.indexes.platforms", "manifests.platforms"
	which := n.field("platforms")
	switch strings.ToLower(which.value()) {
	case "":
		if list := n.field("platformlist"); list != nil {
			t.noteAt(list.path, list.origin, "counts only where "+path+" is list: ignored")
		}
	case "all":
		t.list(which, to, []string{"all"})
	case "none":
		t.list(which, to, []string{})
	case "list":
		list := n.field("platformlist")
		if list == nil {
			t.list(which, to, []string{})
			return
		}
		var names []string
		for _, p := range list.items {
			name := p.field("os").value() + "/" + p.field("architecture").value()
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
		t.list(list, to, names)
	default:
		t.refuse(path, which.origin, "is none of its values: write all, none or list")
	}
}
