package oci

import "strconv"

// MaxRepo is the longest repository name in bytes that is accepted. Clients
// count the host into the same 255, so a longer one could not be pulled anyway.
const MaxRepo = 255

// MaxTag is the longest tag in bytes (distribution spec, "Pulling manifests").
const MaxTag = 128

// A Repo is a valid repository name such as "library/alpine". The zero Repo is
// not valid; obtain one from ParseRepo. Repos are comparable.
type Repo struct{ s string }

// ParseRepo checks s against the grammar of <name> in the distribution spec.
// The error is an *Error with code NameInvalid.
func ParseRepo(s string) (Repo, error) {
	if s == "" {
		return Repo{}, &Error{Code: NameInvalid, Message: "the repository name is empty"}
	}
	if len(s) > MaxRepo {
		return Repo{}, &Error{Code: NameInvalid, Message: "the repository name is longer than 255 bytes"}
	}
	for i := 0; ; {
		end, ok := scanComponent(s, i)
		if !ok {
			return Repo{}, &Error{Code: NameInvalid, Message: "repository name " + quote(s) +
				" is not valid: use lower-case letters, digits and single . _ - between them, parts separated by /"}
		}
		if end == len(s) {
			return Repo{s}, nil
		}
		i = end + 1 // past the slash
	}
}

// scanComponent reads one path component of a name from s[i:] and returns where
// it ends: at a slash or at the end of s. A component is runs of [a-z0-9] with
// one separator (".", "_", "__" or any number of "-") between two runs.
func scanComponent(s string, i int) (end int, ok bool) {
	for {
		start := i
		for i < len(s) && isAlnum(s[i]) {
			i++
		}
		if i == start {
			return i, false
		}
		if i == len(s) || s[i] == '/' {
			return i, true
		}
		switch s[i] {
		case '.':
			i++
		case '_':
			i++
			if i < len(s) && s[i] == '_' {
				i++
			}
		case '-':
			for i < len(s) && s[i] == '-' {
				i++
			}
		default:
			return i, false
		}
	}
}

func isAlnum(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }

// String returns the name.
func (r Repo) String() string { return r.s }

// IsZero reports whether r is the zero Repo, which names nothing.
func (r Repo) IsZero() bool { return r.s == "" }

// A Tag is a valid tag such as "latest". Tags are case-sensitive and comparable.
// The zero Tag is no tag.
type Tag struct{ s string }

// ParseTag checks s against the grammar of a tag in the distribution spec. The
// error is an *Error with code TagInvalid.
func ParseTag(s string) (Tag, error) {
	ok := s != "" && len(s) <= MaxTag && s[0] != '.' && s[0] != '-'
	for i := 0; ok && i < len(s); i++ {
		ok = isTagByte(s[i])
	}
	if !ok {
		return Tag{}, &Error{Code: TagInvalid, Message: "tag " + quote(s) +
			" is not valid: use at most 128 letters, digits, _ . - and begin with a letter, a digit or _"}
	}
	return Tag{s}, nil
}

func isTagByte(c byte) bool {
	return isAlnum(c) || 'A' <= c && c <= 'Z' || c == '_' || c == '.' || c == '-'
}

// String returns the tag.
func (t Tag) String() string { return t.s }

// IsZero reports whether t is no tag.
func (t Tag) IsZero() bool { return t.s == "" }

// quote quotes what a client sent for a message: printable, and cut to 100 bytes.
func quote(s string) string {
	if len(s) > 100 {
		s = s[:100] + "…"
	}
	return strconv.Quote(s)
}
