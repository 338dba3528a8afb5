package oci

import (
	"regexp"
	"strings"
	"testing"
)

func TestPatternMatch(t *testing.T) {
	tests := []struct {
		pattern string
		match   string // separated by spaces
		not     string
	}{
		{"**", "a a/b a/b/c", ""},
		{"*", "a team-evil", "a/b a/b/c"},
		{"team", "team", "team/app team-evil tea xteam"},
		{"team/*", "team/app team/a.b", "team team/app/x team-evil/x x/team/app"},
		{"team/**", "team/app team/web/app", "team team-evil/x team-evil team_x/y x/team/app"},
		{"team-*/app", "team-a/app team-b/app", "team/app team-a/app/x team-a/apps"},
		{"**/app", "x/app x/y/app app/app", "app x/apps x/app/y"},
		{"a/**/z", "a/b/z a/b/c/z a/z/z", "a/z a/b b/a/z/y"},
		{"**/a/**", "x/a/y x/a/a/y x/y/a/z a/a/a", "a/y x/a a"},
		{"**/**", "a/b a/b/c", "a"},
		{"a*b*c", "abc axbyc abcbc", "ab acb abcd"},
		{"*-ci", "x-ci", "ci xci x-cid"},
	}
	for _, tt := range tests {
		p, err := ParsePattern(tt.pattern)
		if err != nil {
			t.Errorf("%s: %v", tt.pattern, err)
			continue
		}
		for want, names := range map[bool]string{true: tt.match, false: tt.not} {
			for name := range strings.FieldsSeq(names) {
				repo, err := ParseRepo(name)
				if err != nil {
					t.Fatal(err)
				}
				if got := p.Match(repo); got != want {
					t.Errorf("%s matches %s: %v, want %v", tt.pattern, name, got, want)
				}
			}
		}
	}
	if repo, _ := ParseRepo("a"); (Pattern{}).Match(repo) {
		t.Error("the zero Pattern matches")
	}
	if p, _ := ParsePattern("**"); p.Match(Repo{}) {
		t.Error("the zero Repo is matched")
	}
}

func TestParsePatternRefuses(t *testing.T) {
	tests := []struct{ pattern, says string }{
		{"", "write **"},
		{"/team", "slash"}, {"team/", "slash"}, {"team//app", "slash"},
		{"Team/app", "no repository"}, {"team/a b", "no repository"}, {"team/[ab]", "no repository"}, {"team/a?", "no repository"},
		{"^team$", "no repository"}, {"team.*x/.", "no repository"}, {"-team", "no repository"}, {"..", "no repository"}, {"ä", "no repository"},
		{"team**", "component of its own"}, {"team/**app", "component of its own"}, {"***", "component of its own"},
		{"reg.example.com:5000/team", "colon"}, {"team/app:v1", "colon"}, {"https://reg/team", "colon"},
		{strings.Repeat("a", 256), "255"},
	}
	for _, tt := range tests {
		if _, err := ParsePattern(tt.pattern); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%q: got %v, want an error that says %q", tt.pattern, err, tt.says)
		}
	}
}

// FuzzPattern compares the matcher with a regular expression that is made of
// the pattern.
func FuzzPattern(f *testing.F) {
	for _, s := range [][2]string{{"team/**", "team/a"}, {"**/a/**", "x/a/a/y"}, {"a*b*c", "abcbc"}, {"**", "a"}, {"*/**/*", "a/b/c/d"}, {"a.*", "a.b"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, pattern, name string) {
		p, err := ParsePattern(pattern)
		if err != nil {
			if CodeOf(err) != NameInvalid {
				t.Errorf("ParsePattern(%q): %v", pattern, err)
			}
			return
		}
		repo, err := ParseRepo(name)
		if err != nil {
			return
		}
		var parts []string
		for c := range strings.SplitSeq(pattern, "/") {
			if c == "**" {
				parts = append(parts, `[^/]+(/[^/]+)*`)
				continue
			}
			parts = append(parts, strings.ReplaceAll(regexp.QuoteMeta(c), `\*`, `[^/]*`))
		}
		want := regexp.MustCompile(`^` + strings.Join(parts, "/") + `$`).MatchString(name)
		if got := p.Match(repo); got != want {
			t.Errorf("%q matches %q: %v, want %v", pattern, name, got, want)
		}
	})
}
