package oci

import "errors"

// A TagPattern stands for tags by their names: "*" stands for any characters,
// or none. The zero TagPattern matches nothing.
type TagPattern struct{ s string }

// ParseTagPattern checks s. Its errors are for the person who wrote the pattern.
func ParseTagPattern(s string) (TagPattern, error) {
	switch {
	case s == "":
		return TagPattern{}, errors.New("the pattern is empty: write * for every tag")
	case len(s) > MaxTag:
		return TagPattern{}, errors.New("the pattern is longer than any tag may be, 128 characters")
	}
	for i := range len(s) {
		if c := s[i]; c != '*' && !isTagByte(c) {
			return TagPattern{}, errors.New("the pattern " + quote(s) + " has a character that no tag has: write letters, digits, . _ - and * for any characters")
		}
	}
	if s[0] == '.' || s[0] == '-' {
		return TagPattern{}, errors.New("the pattern " + quote(s) + " can match no tag: a tag begins with a letter, a digit or an underscore")
	}
	return TagPattern{s}, nil
}

// Match reports whether p stands for tag.
func (p TagPattern) Match(tag Tag) bool {
	return p.s != "" && tag.s != "" && matchGlob(p.s, tag.s)
}

// String returns the pattern as it was written.
func (p TagPattern) String() string { return p.s }
