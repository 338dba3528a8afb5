package oci

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// topKeys and descriptorKeys are the keys that are read at each level. Other
// keys are left alone, unless they fold onto one of these: Go's and other JSON
// readers ignore case, so {"config":…, "CONFIG":…} would mean two things.
var (
	topKeys        = []string{"schemaVersion", "mediaType", "artifactType", "config", "layers", "blobs", "manifests", "subject", "annotations"}
	descriptorKeys = []string{"mediaType", "digest", "size", "urls", "annotations", "data", "artifactType", "platform"}
)

// A member is one of an object: its key, and its value as it stands.
type member struct {
	key   string
	value json.RawMessage
}

// An object is what parseObject found, in the order in which it stands.
type object []member

// get returns the value of a key, nil if there is none.
func (o object) get(key string) json.RawMessage {
	for i := range o {
		if o[i].key == key {
			return o[i].value
		}
	}
	return nil
}

// parseWhole reads what must be exactly one JSON object in valid UTF-8, and not
// nested too deep. What is in it can be taken apart without looking for errors.
func parseWhole(raw []byte, known []string) (object, error) {
	switch {
	case !utf8.Valid(raw):
		return nil, invalid("the manifest is not valid UTF-8")
	case depth(raw) > MaxDepth:
		return nil, invalid("the manifest is nested deeper than %d levels", MaxDepth)
	case !json.Valid(raw):
		return nil, explain(raw)
	}
	begin := skipSpace(raw, 0)
	return parseObject(nil, raw[begin:skipValue(raw, begin)], at("the manifest"), known)
}

// explain says why raw is not one JSON object.
func explain(raw []byte) error {
	if begin := skipSpace(raw, 0); begin == len(raw) || raw[begin] != '{' {
		return invalid("the manifest is not a JSON object")
	}
	var first json.RawMessage
	if json.NewDecoder(bytes.NewReader(raw)).Decode(&first) != nil {
		return invalid("the manifest is not valid JSON")
	}
	return invalid("something follows behind the manifest")
}

// parseObject takes an object apart, whose members it leaves untouched. raw is one
// value of valid JSON. It refuses duplicate keys and keys that fold onto a known
// one. at names the object in messages. The members are put into what room there
// is in o, which is used again.
func parseObject(o object, raw json.RawMessage, at place, known []string) (object, error) {
	if len(raw) == 0 || raw[0] != '{' {
		return nil, invalid("%s is not a JSON object", at)
	}
	o = slices.Grow(o[:0], 8)
	var seen map[string]bool // for many members
	for i := skipSpace(raw, 1); raw[i] != '}'; {
		end := skipValue(raw, i)
		key := parseKey(raw[i:end], known)
		twice := seen[key]
		if seen == nil {
			twice = slices.ContainsFunc(o, func(m member) bool { return m.key == key })
		}
		if twice {
			return nil, invalid("%s has the key %s twice", at, quote(key))
		}
		if k := foldsOnto(key, known); k != "" {
			return nil, invalid("%s has the key %s: write it as %q", at, quote(key), k)
		}
		i = skipSpace(raw, skipSpace(raw, end)+1) // behind the colon
		end = skipValue(raw, i)
		o = append(o, member{key, raw[i:end]})
		if len(o) == manyMembers {
			seen = make(map[string]bool)
			for _, m := range o {
				seen[m.key] = true
			}
		} else if seen != nil {
			seen[key] = true
		}
		if i = skipSpace(raw, end); raw[i] == ',' {
			i = skipSpace(raw, i+1)
		}
	}
	return o, nil
}

// manyMembers is how many members an object has before their keys are found by a
// map.
const manyMembers = 16

// parseKey returns a key. One that is known takes no memory.
func parseKey(raw json.RawMessage, known []string) string {
	for _, k := range known {
		if string(raw[1:len(raw)-1]) == k {
			return k
		}
	}
	key, _ := text(raw)
	return key
}

// foldsOnto returns the known key that another one differs from only in case.
func foldsOnto(key string, known []string) string {
	if slices.Contains(known, key) {
		return "" // no two of them fold onto each other
	}
	for _, k := range known {
		if strings.EqualFold(k, key) {
			return k
		}
	}
	return ""
}

// parseArray takes an array apart, and reports whether it is one. raw is one value
// of valid JSON.
func parseArray(raw json.RawMessage) ([]json.RawMessage, bool) {
	if len(raw) == 0 || raw[0] != '[' {
		return nil, false
	}
	var items []json.RawMessage
	for i := skipSpace(raw, 1); raw[i] != ']'; {
		end := skipValue(raw, i)
		items = append(items, raw[i:end])
		if i = skipSpace(raw, end); raw[i] == ',' {
			i = skipSpace(raw, i+1)
		}
	}
	return items, true
}

// text returns what a JSON text says, and reports whether raw is one. null counts
// as an empty one.
func text(raw json.RawMessage) (s string, ok bool) {
	if n := len(raw); n >= 2 && raw[0] == '"' && bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : n-1]), true
	}
	return textWithEscapes(raw)
}

func textWithEscapes(raw json.RawMessage) (s string, ok bool) {
	err := json.Unmarshal(raw, &s)
	return s, err == nil
}

// skipSpace returns where in valid JSON the white space ends that may begin at i.
func skipSpace(raw []byte, i int) int {
	for i < len(raw) && (raw[i] == ' ' || raw[i] == '\t' || raw[i] == '\n' || raw[i] == '\r') {
		i++
	}
	return i
}

// skipValue returns where in valid JSON the value ends that begins at i.
func skipValue(raw []byte, i int) int {
	switch raw[i] {
	case '"':
		return skipText(raw, i)
	case '{', '[':
		level := 0
		for {
			switch raw[i] {
			case '"':
				i = skipText(raw, i)
				continue
			case '{', '[':
				level++
			case '}', ']':
				level--
			}
			if i++; level == 0 {
				return i
			}
		}
	}
	for ; i < len(raw); i++ {
		switch raw[i] {
		case ',', ']', '}', ' ', '\t', '\n', '\r':
			return i
		}
	}
	return i
}

// skipText is skipValue for a text.
func skipText(raw []byte, i int) int {
	for i++; raw[i] != '"'; i++ {
		if raw[i] == '\\' {
			i++
		}
	}
	return i + 1
}

// A place says in messages where something stands: under a key, as which of a
// list, or -1.
type place struct {
	key   string
	index int
}

func at(key string) place { return place{key, -1} }

func (p place) String() string {
	if p.index < 0 {
		return p.key
	}
	return p.key + "[" + strconv.Itoa(p.index) + "]"
}

// depth returns how deep brackets nest in raw, outside of strings. On bytes
// that are not JSON it returns some number.
func depth(raw []byte) int {
	deepest, level, inString := 0, 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			level++
			deepest = max(deepest, level)
		case c == '}' || c == ']':
			level--
		}
	}
	return deepest
}

func invalid(format string, args ...any) *Error {
	return &Error{Code: ManifestInvalid, Message: fmt.Sprintf(format, args...)}
}
