package oci

import (
	"regexp"
	"strings"
	"testing"
)

func TestTagPattern(t *testing.T) {
	for _, c := range []struct {
		pattern, tag string
		want         bool
	}{
		{"*", "latest", true},
		{"v*", "v1.2.3", true},
		{"v*", "V1", false},
		{"v*", "xv1", false},
		{"v*.0", "v1.0", true},
		{"v*.0", "v1.0.1", false},
		{"pr-*-*", "pr-1-", true},
		{"latest", "latest", true},
		{"latest", "latest2", false},
	} {
		p, err := ParseTagPattern(c.pattern)
		if err != nil {
			t.Fatal(err)
		}
		tag, err := ParseTag(c.tag)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Match(tag); got != c.want {
			t.Errorf("%q matches %q: %v, want %v", c.pattern, c.tag, got, c.want)
		}
	}
	for _, bad := range []string{"", "a:b", "team/*", "v[0-9]", ".x", "-x", strings.Repeat("a", MaxTag+1)} {
		if p, err := ParseTagPattern(bad); err == nil {
			t.Errorf("ParseTagPattern(%q) is %q", bad, p)
		}
	}
	if (TagPattern{}).Match(Tag{"a"}) {
		t.Error("no pattern matches a tag")
	}
}

func FuzzTagPattern(f *testing.F) {
	for _, s := range [][2]string{{"v*", "v1"}, {"*a*b*", "ab"}, {"a*a", "a"}, {"", ""}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, pattern, name string) {
		p, err := ParseTagPattern(pattern)
		if err != nil {
			return
		}
		tag, err := ParseTag(name)
		if err != nil {
			return
		}
		want := regexp.MustCompile(`^` + strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, `.*`) + `$`).MatchString(name)
		if got := p.Match(tag); got != want {
			t.Errorf("%q matches %q: %v, want %v", pattern, name, got, want)
		}
	})
}
