package config

import (
	"strings"
	"testing"
	"time"
)

// TestParseRetention holds that rules can be tried which are not configured.
func TestParseRetention(t *testing.T) {
	const rules = "retention:\n  rules:\n  - {tags: [\"pr-*\"], keep_newest: 3, untagged_after: 7d}\n"
	for _, text := range []string{rules, "data: /srv\nnosuch: 1\nhttp: {listen: [x]}\n" + rules} {
		r, err := ParseRetention("rules.yml", []byte(text))
		if err != nil || len(r.Rules) != 1 || r.Rules[0].KeepNewest != 3 || r.Rules[0].UntaggedAfter != 7*24*time.Hour {
			t.Errorf("%q: got %+v, %v", text, r, err)
		}
	}
	for text, want := range map[string]string{
		"":                               "rules.yml",
		"data: /srv\n":                   "write the rules as in a configuration",
		"- keep_newest: 3\n":             "not a configuration",
		"retention:\n  rules:\n  - {}\n": "retention.rules[0] (rules.yml:3): keeps nothing",
		"retention:\n  ruls: []\n":       "retention.ruls",
		"version: 0.1\n":                 "rules.yml",
		"retention:\n  rules:\n  - {keep_newest: 1, tags: [\"a b\"]}": "rules.yml:3",
		"\tx": "rules.yml: not valid YAML",
	} {
		if _, err := ParseRetention("rules.yml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got error %v, want one with %q", text, err, want)
		}
	}
}

// FuzzParseRetention holds that no text makes it fail in another way.
func FuzzParseRetention(f *testing.F) {
	f.Add("retention:\n  rules:\n  - {tags: [\"pr-*\"], keep_newest: 3, untagged_after: 7d}\n")
	f.Add("retention: {rules: [{keep_pushed_within: 1h, repositories: [a/**]}], every: 1m}")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRetention("x", []byte(text))
		for _, rule := range r.Rules {
			if err == nil && !rule.KeepsTags() && rule.UntaggedAfter <= 0 {
				t.Errorf("a rule that keeps nothing: %+v", rule)
			}
		}
	})
}
