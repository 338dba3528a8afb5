package config

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"berth/internal/oci"
)

// access checks the rules, each by itself, and that there is some way to become
// whom they are for.
func (k *checker) access(c Config) {
	for i, r := range c.Access {
		path := element("access", i)
		switch {
		case len(r.Users) == 0 && len(r.Groups) == 0 && !r.Anonymous:
			k.add(path, `is for nobody: write users: ["*"] for everybody who is logged in, names, groups, or anonymous: true`)
		case !r.Anonymous && !c.Auth.LogIn():
			k.cross(path, []string{"auth.htpasswd.path", "auth.proxy_header", "auth.token.realm"},
				"is for people who are logged in, and there is no log-in: set auth.htpasswd.path, auth.token or auth.proxy_header, or write anonymous: true with addresses")
		}
		k.users(path+".users", r.Users)
		k.rule(path, r, c.Auth.Groups)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Auth.Groups)) {
		path := "auth.groups." + name
		k.users(path, c.Auth.Groups[name])
		if slices.Contains(c.Auth.Groups[name], "*") {
			k.add(path, `holds "*": write users: ["*"] in a rule for everybody who is logged in`)
		}
	}
}

// rule checks all of a rule but its users.
func (k *checker) rule(path string, r Rule, groups map[string][]string) {
	for i, g := range r.Groups {
		if _, known := groups[g]; !known {
			k.add(element(path+".groups", i), "%q is no group: define it under auth.groups", g)
		}
	}
	for i, a := range r.Addresses {
		if !a.IsValid() {
			k.add(element(path+".addresses", i), "is no network: write one such as 10.0.0.0/8")
		}
	}
	k.patterns(path+".repositories", r.Repositories)
	if len(r.Allow) == 0 {
		k.add(path, "allows nothing: write allow: [pull], [pull, push], …")
	}
	if slices.Contains(r.Allow, AllowAdmin) && len(r.Repositories) > 0 {
		k.add(path, "allows admin, which is about the registry as a whole: leave repositories out, or put admin into a rule of its own")
	}
	for i, a := range r.Allow {
		oneOf(k, element(path+".allow", i), a, AllowPull, AllowPush, AllowCreate, AllowDelete, AllowAdmin)
	}
}

// users checks names. They are compared as they are: no star in one stands for
// anything, and nobody has a name that begins or ends with a space.
func (k *checker) users(path string, names []string) {
	for i, name := range names {
		switch {
		case name == "":
			k.add(element(path, i), "is empty: write the name of a user, or remove it")
		case name != strings.TrimSpace(name):
			k.add(element(path, i), "%q has a space around it: remove it", name)
		case name != "*" && strings.Contains(name, "*"):
			k.add(element(path, i), `%q has a star, which is no pattern here: write "*" alone for everybody who is logged in, or make a group in auth.groups`, name)
		}
	}
}

// proxyLogIn checks log-in by a proxy. Without a proxy that is trusted, as those
// on a socket are, nobody could use it, and whoever wrote it would think that it
// is in force.
func (k *checker) proxyLogIn(c Config) {
	const header = "auth.proxy_header"
	socket := slices.ContainsFunc(c.HTTP.Listen, func(a string) bool { _, ok := socketPath(a); return ok })
	switch name := c.Auth.ProxyHeader; {
	case name == "":
	case !isToken(name):
		k.add(header, "%q is no name of a header: write one such as X-Forwarded-User", name)
	case strings.EqualFold(name, "Authorization") && c.Auth.Htpasswd.Path != "":
		// One that only passes on what clients sent would open the registry.
		k.cross(header, []string{"auth.htpasswd.path"}, "is Authorization, whose passwords the proxy checks, and there is auth.htpasswd.path to check them here: remove the one that does not, or have the proxy name its users in a header of its own")
	case len(c.HTTP.TrustedProxies) == 0 && !socket:
		k.cross(header, []string{"http.trusted_proxies", "http.listen"}, "is believed from trusted proxies only, and there are none: name the addresses of yours in http.trusted_proxies")
	}
}

// patterns checks patterns of repositories.
func (k *checker) patterns(path string, list []string) {
	for i, p := range list {
		if _, err := oci.ParsePattern(p); err != nil {
			text := err.Error()
			if e, ok := errors.AsType[*oci.Error](err); ok {
				text = e.Message
			}
			k.add(element(path, i), "%s", text)
		}
	}
}
