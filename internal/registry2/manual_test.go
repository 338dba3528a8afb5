package registry2

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestManual holds that the table in docs/registry2.md is that of keys.txt.
func TestManual(t *testing.T) {
	const name, begin, end = "../../docs/registry2.md", "<!-- keys:begin -->\n", "<!-- keys:end -->\n"
	text := string(read(t, name))
	before, rest, ok := strings.Cut(text, begin)
	_, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no place for the table", name)
	}
	got := before + begin + manual() + end + after
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got != text {
		t.Errorf("%s is not what keys.txt says: go test ./internal/registry2 -run TestManual -update", name)
	}
}

// manual writes the table. Keys that share the fate of what they are part of have
// no row of their own.
func manual() string {
	var b strings.Builder
	b.WriteString("\n| key | | what becomes of it |\n|---|---|---|\n")
	var whole []string // sections that have one fate
	keys().all(func(k *key) {
		if k.fate == fateNone || slices.ContainsFunc(whole, func(p string) bool {
			return strings.HasPrefix(k.path, p+".") || strings.HasPrefix(k.path, p+"[]")
		}) && inherits(k) {
			return
		}
		if k.form != formText && k.form != formTime && k.form != formTexts {
			whole = append(whole, k.path)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", k.path, k.version, becomes(k))
	})
	b.WriteString("\n")
	return b.String()
}

// inherits reports whether the key has the fate of the one that it is part of.
func inherits(k *key) bool {
	at := keys()
	names := strings.Split(strings.ReplaceAll(k.path, "[]", ".[]"), ".")
	for _, name := range names[:len(names)-1] {
		if name == "[]" {
			at = at.item
		} else {
			at = at.below[name]
		}
	}
	return at.fate == k.fate && at.words == k.words
}

func becomes(k *key) string {
	words := strings.ReplaceAll(k.words, "|", "\\|")
	switch k.fate {
	case fateCopy:
		return "`" + words + "`"
	case fateTo:
		_, remark, _ := strings.Cut(words, "; ")
		targets := "`" + strings.Join(k.targets(), "`, `") + "`"
		if targets == "`nothing`" {
			return remark
		}
		if remark != "" {
			return targets + ": " + remark
		}
		return targets
	case fateNote:
		return "**note**: " + words
	case fateStop:
		return "**stops**: " + words
	}
	return words
}
