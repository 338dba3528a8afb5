package oci

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
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

// parseObject reads exactly one JSON object and returns its members untouched.
// It refuses duplicate keys and keys that fold onto a known one. at names the
// object in messages; empty means the whole manifest.
func parseObject(raw []byte, at string, known []string) (map[string]json.RawMessage, error) {
	if at == "" {
		at = "the manifest"
		if !utf8.Valid(raw) {
			return nil, invalid("the manifest is not valid UTF-8")
		}
		if depth(raw) > MaxDepth {
			return nil, invalid("the manifest is nested deeper than %d levels", MaxDepth)
		}
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
		return nil, invalid("%s is not a JSON object", at)
	}
	fields := make(map[string]json.RawMessage)
	for dec.More() {
		tok, err := dec.Token()
		key, ok := tok.(string)
		if err != nil || !ok {
			return nil, invalid("%s is not valid JSON", at)
		}
		if _, twice := fields[key]; twice {
			return nil, invalid("%s has the key %s twice", at, quote(key))
		}
		for _, k := range known {
			if k != key && strings.EqualFold(k, key) {
				return nil, invalid("%s has the key %s: write it as %q", at, quote(key), k)
			}
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, invalid("%s is not valid JSON", at)
		}
		fields[key] = value
	}
	if _, err := dec.Token(); err != nil { // the closing brace
		return nil, invalid("%s is not valid JSON", at)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, invalid("something follows behind %s", at)
	}
	return fields, nil
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
