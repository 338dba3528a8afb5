package registry2

import (
	"fmt"
	"strings"

	"berth/internal/yamltree"
)

// auth draws the conclusions about log-in. In doubt the server does not start,
// rather than start open.
func (t *translation) auth() {
	auth := t.root.field("auth")
	none, htpasswd, token := auth.entry("none"), auth.entry("htpasswd"), auth.entry("token")
	for _, other := range []*node{htpasswd, token} {
		if none != nil && other != nil {
			t.refuse(none.path, none.origin, "says that there is no log-in, and "+place(other.path, other.origin)+" that there is: remove one of them")
			return
		}
	}
	if none != nil {
		t.set(none, "auth.htpasswd.path", "")
	}
	if htpasswd != nil && token != nil {
		t.note("%s and %s: registry:2 takes one of them, Berth accepts both", place(htpasswd.path, htpasswd.origin), place(token.path, token.origin))
	}
	t.htpasswd(htpasswd)
	t.token(token)
}

func (t *translation) htpasswd(n *node) {
	switch {
	case n == nil, n.kind == yamltree.Scalar, n.kind == yamltree.List: // which look has refused
	case n.field("path") == nil:
		t.refuse("auth.htpasswd", n.origin, "asks for log-in with a password file, but none is named: set auth.htpasswd.path ("+prefix+"AUTH_HTPASSWD_PATH), such as /auth/htpasswd")
	case n.field("realm") == nil:
		t.noteAt("auth.htpasswd", n.origin, "has no realm, without which registry:2 would not start: Berth goes on with its own")
	}
}

func (t *translation) token(n *node) {
	if n == nil || n.kind == yamltree.Scalar || n.kind == yamltree.List {
		return
	}
	for _, name := range []string{"realm", "issuer", "service"} {
		if n.field(name) == nil {
			t.refuse("auth.token", n.origin, fmt.Sprintf("has no %s: set auth.token.%s (%sAUTH_TOKEN_%s)", name, name, prefix, strings.ToUpper(name)))
		}
	}
	if n.field("rootcertbundle") == nil && n.field("jwks") == nil {
		t.refuse("auth.token", n.origin, "names no keys to verify tokens with: set auth.token.rootcertbundle or auth.token.jwks")
	}
}

// defaults says which defaults hold where that may surprise. A server that is
// configured by registry:2's means listens where registry:2 would; one that has
// its file has all of its defaults.
func (t *translation) defaults() {
	understood := t.file != "" || t.understood
	switch {
	case t.file != "":
		t.out.Defaults = fileDefaults()
	case understood:
		t.out.Defaults = append(t.out.Defaults, listenDefault())
	}
	const lets = prefix + "STORAGE_DELETE_ENABLED"
	switch deletion := t.root.find("storage.delete.enabled"); {
	case deletion != nil:
	case t.as == Registry || t.file != "":
		t.note("clients may not delete by default, as with registry:2: %s=true lets them", lets)
	case understood:
		t.note("clients may delete by default, unlike with registry:2: %s=false forbids it", lets)
	}
	if t.as == Berth && t.file == "" && understood && t.root.find("http.addr") == nil {
		t.note("since %s* variables are set, the address to listen on is :5000 by default, as with registry:2", prefix)
	}
}
