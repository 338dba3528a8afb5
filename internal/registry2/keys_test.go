package registry2

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"berth/config"
)

// TestTable holds that the table of keys can be read, and that what it says fits
// together: copied keys lead to keys that Berth has, and every word is there.
func TestTable(t *testing.T) {
	l, err := config.Load(config.Sources{File: os.DevNull})
	if err != nil {
		t.Fatal(err)
	}
	var own []string
	for _, s := range l.Settings() {
		own = append(own, s.Path)
	}
	n := 0
	keys().all(func(k *key) {
		n++
		switch k.form {
		case formSection, formMap, formList, formTexts, formText, formTime:
		default:
			t.Errorf("%s has the form %q", k.path, k.form)
		}
		switch k.fate {
		case fateNone, fateRead:
		case fateNote, fateStop:
			if k.words == "" {
				t.Errorf("%s has no words", k.path)
			}
		case fateCopy, fateTo:
			for _, to := range k.targets() {
				if !slices.Contains(own, to) && to != "nothing" {
					t.Errorf("%s leads to %q, which is no key of Berth", k.path, to)
				}
			}
		default:
			t.Errorf("%s has the fate %q", k.path, k.fate)
		}
		if k.fate == fateNone && k.plainOrList() {
			t.Errorf("%s has no fate", k.path)
		}
	})
	if n < 200 {
		t.Errorf("only %d keys", n)
	}
}

func (k *key) plainOrList() bool { return k.plain() || k.form == formTexts }

// targets returns Berth's keys that the key leads to.
func (k *key) targets() []string {
	words, _, _ := strings.Cut(k.words, ";")
	return strings.Split(words, ", ")
}

// TestNothingDropped holds that every key of registry:2 has an effect, a note or a
// refusal: it is set alone in a file, and what comes of the file must differ, and
// speak of the key or of what it is part of.
func TestNothingDropped(t *testing.T) {
	// What really needs no word: registry:2 does nothing for these either.
	silent := []string{"version", "middleware.storage[].disabled", "middleware.storage[].options", "middleware.storage[].options.baseurl",
		"middleware.registry[].disabled", "middleware.repository[].disabled",
		"notifications.endpoints[].disabled", "storage.filesystem"}
	base := saying("")
	for line := range strings.Lines(string(read(t, "testdata/all-keys.txt"))) {
		path := strings.TrimSpace(line)
		if strings.HasPrefix(path, "#") || slices.Contains(silent, path) {
			continue
		}
		k := lookUp(path)
		if k == nil {
			t.Errorf("%s: not in the table", path)
			continue
		}
		if k.form == formSection || k.form == formMap && k.fate != fateStop && path != "auth.none" || k.form == formList {
			continue // its keys follow
		}
		var about []string
		for _, said := range saying(sample(path, k)) {
			if !slices.Contains(base, said) {
				about = append(about, said)
			}
		}
		parts := strings.Split(strings.ReplaceAll(path, "[]", ""), ".")
		part := strings.Join(parts[:min(2, len(parts))], ".")
		if k.fate == fateNote { // of a whole section, perhaps
			part = parts[0]
		}
		if !slices.ContainsFunc(about, func(said string) bool { return strings.Contains(said, part) }) {
			t.Errorf("%s: nothing is said of\n%s\ngot %q", path, sample(path, k), saying(sample(path, k)))
		}
	}
}

// lookUp returns the key of a path, or nil.
func lookUp(path string) *key {
	k := keys()
	for name := range strings.SplitSeq(strings.ReplaceAll(path, "[]", ".[]"), ".") {
		if name == "[]" {
			k = k.item
			continue
		}
		if k = k.child(name); k == nil || k.form == formMap && k.fate == fateStop {
			return k // whatever stands below it
		}
	}
	return k
}

// sample returns a file that sets nothing but one key.
func sample(path string, k *key) string {
	value := map[form]string{formText: "true", formTime: "5m", formTexts: "[a]", formMap: "{a: b}"}[k.form]
	switch path {
	case "log.level", "loglevel":
		value = "debug"
	case "http.net":
		value = "udp"
	case "middleware.storage[].name":
		value = "cloudfront"
	}
	text := value
	names := strings.Split(strings.ReplaceAll(path, "[]", ".[]"), ".")
	for _, name := range slices.Backward(names) {
		if name == "[]" {
			text = "[" + text + "]"
		} else {
			text = "{" + name + ": " + text + "}"
		}
	}
	return text
}

// saying returns everything that comes of a file with one key.
func saying(text string) []string {
	file := "version: 0.1\n"
	if text != "" {
		file += strings.TrimSuffix(strings.TrimPrefix(text, "{"), "}") + "\n"
	}
	o := Reader(nil, Berth)("config.yml", []byte(file))
	var all []string
	for _, v := range o.Values {
		all = append(all, v.Origin+fmt.Sprint(v.Path, v.Items))
	}
	for _, p := range o.Problems {
		all = append(all, p.Error())
	}
	return append(all, o.Notes...)
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
