package oci

import (
	"strings"
)

// A Pattern stands for repositories by their names, component by component: "*"
// within a component stands for any characters of that component, and a
// component "**" for one or more whole components. "team/*" matches "team/app",
// "team/**" matches "team/app" and "team/web/app", and neither matches "team"
// or "team-evil/app". The zero Pattern matches nothing.
type Pattern struct{ s string }

// ParsePattern checks s. Its errors are for the person who wrote the pattern.
func ParsePattern(s string) (Pattern, error) {
	bad := func(why string) (Pattern, error) {
		return Pattern{}, &Error{Code: NameInvalid, Message: "the pattern " + quote(s) + " " + why}
	}
	switch {
	case s == "":
		return bad("is empty: write ** for every repository")
	case len(s) > MaxRepo:
		return bad("is longer than 255 bytes, and so than any repository name")
	case strings.Contains(s, "://") || strings.Contains(s, ":"):
		return bad("has a colon: write the repository alone, without host, port and tag")
	case strings.HasPrefix(s, "/") || strings.HasSuffix(s, "/") || strings.Contains(s, "//"):
		return bad("has a slash with nothing before or behind it: write it as team/app, or team/** for everything below team")
	}
	for component := range strings.SplitSeq(s, "/") {
		if component == "**" {
			continue
		}
		if strings.Contains(component, "**") {
			return bad("has ** beside other characters: ** is a component of its own, as in team/**, and * stands for characters within one")
		}
		if !possible(component) {
			return bad("can match no repository: write lower-case letters, digits, . _ - between them, * for any characters of one component, ** for components")
		}
	}
	return Pattern{s}, nil
}

// possible reports whether a component of a name can match glob: whether it is
// one when each star is some run of letters or nothing.
func possible(glob string) bool {
	parts := strings.Split(glob, "*")
	for i, part := range parts {
		if part == "" {
			continue
		}
		// A separator at either end needs a letter that only a star can give.
		if i > 0 {
			part = "a" + part
		}
		if i < len(parts)-1 {
			part += "a"
		}
		if end, ok := scanComponent(part, 0); !ok || end != len(part) {
			return false
		}
	}
	return true
}

// Match reports whether p stands for repo.
func (p Pattern) Match(repo Repo) bool {
	return p.s != "" && repo.s != "" && matchComponents(p.s, repo.s)
}

// Prefix returns what every name begins with that p stands for.
func (p Pattern) Prefix() string {
	prefix, _, _ := strings.Cut(p.s, "*")
	return prefix
}

// String returns the pattern as it was written.
func (p Pattern) String() string { return p.s }

// matchComponents matches whole components from the left. It goes back to the
// last "**" and lets it take one more, which is enough: what an earlier one
// takes could be taken by the last one as well.
func matchComponents(pattern, name string) bool {
	var retryPattern, retryName string // behind the last **, and what it has not taken yet
	retry := false
	for {
		switch {
		case pattern == "" && name == "":
			return true
		case pattern != "" && name != "":
			p, restP, _ := strings.Cut(pattern, "/")
			n, restN, _ := strings.Cut(name, "/")
			if p == "**" {
				retry, retryPattern, retryName = true, restP, restN
				pattern, name = restP, restN
				continue
			}
			if matchGlob(p, n) {
				pattern, name = restP, restN
				continue
			}
		}
		if !retry || retryName == "" {
			return false
		}
		_, retryName, _ = strings.Cut(retryName, "/")
		pattern, name = retryPattern, retryName
	}
}

// matchGlob matches one component, in which "*" stands for any characters.
func matchGlob(glob, s string) bool {
	first, rest, star := strings.Cut(glob, "*")
	if !star {
		return glob == s
	}
	if !strings.HasPrefix(s, first) {
		return false
	}
	s = s[len(first):]
	for {
		part, more, star := strings.Cut(rest, "*")
		if !star {
			return strings.HasSuffix(s, part)
		}
		at := strings.Index(s, part)
		if at < 0 {
			return false
		}
		s, rest = s[at+len(part):], more
	}
}
