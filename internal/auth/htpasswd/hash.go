package htpasswd

import (
	"errors"
	"fmt"
	"strings"
)

// A Scheme is a way to hash passwords.
type Scheme int

// The schemes whose hashes can log somebody in.
const (
	Bcrypt      Scheme = iota + 1 // $2a$ $2b$ $2y$
	SHA256Crypt                   // $5$
	SHA512Crypt                   // $6$
	APR1                          // $apr1$
	MD5Crypt                      // $1$
	SHA1                          // {SHA}
	SaltedSHA1                    // {SSHA}
)

func (s Scheme) String() string {
	switch s {
	case Bcrypt:
		return "bcrypt"
	case SHA256Crypt:
		return "SHA-256 crypt"
	case SHA512Crypt:
		return "SHA-512 crypt"
	case APR1:
		return "apr1"
	case MD5Crypt:
		return "MD5 crypt"
	case SHA1:
		return "SHA-1"
	case SaltedSHA1:
		return "salted SHA-1"
	}
	return fmt.Sprintf("scheme %d", int(s))
}

// weak reports whether s is so cheap to guess that whoever gets the file has
// the passwords.
func (s Scheme) weak() bool {
	return s == APR1 || s == MD5Crypt || s == SHA1 || s == SaltedSHA1
}

// maxPassword is the longest password, in bytes, that can match any hash. It
// bounds the work of the schemes that hash the password in every round.
const maxPassword = 512

// Why a hash cannot be used. None of them holds any of the hash.
var (
	errEmptyHash  = errors.New("there is no hash behind the user name")
	errDES        = errors.New("DES crypt never matches, because it ignores all but 8 characters")
	errUnknown    = errors.New("a kind of hash that is not known here never matches")
	errClear      = errors.New("clear text, or a damaged hash, never matches")
	errMalformed  = errors.New("the hash is damaged")
	errCost       = fmt.Errorf("a bcrypt cost above %d is refused, because every log-in would take seconds", MaxBcryptCost)
	errRounds     = fmt.Errorf("more than %d rounds of SHA-crypt are refused, because every log-in would take seconds", maxRounds)
	errFewRounds  = fmt.Errorf("SHA-crypt has no fewer than %d rounds", minRounds)
	errBcryptCost = fmt.Errorf("a bcrypt cost lies between %d and %d", minBcryptCost, apacheMaxCost)
)

// A Hash is one stored password hash that can be checked. Its String names the
// kind and never the content.
type Hash struct {
	scheme Scheme
	cost   int    // bcrypt: the logarithm; SHA-crypt: the rounds
	salt   string // as in the file; bytes for SaltedSHA1
	sum    string // the encoded hash; all of it for Bcrypt, bytes for SHA1 and SaltedSHA1
}

// Scheme returns how the password was hashed.
func (h Hash) Scheme() Scheme { return h.scheme }

func (h Hash) String() string {
	switch h.scheme {
	case Bcrypt:
		return fmt.Sprintf("%v, cost %d", h.scheme, h.cost)
	case SHA256Crypt, SHA512Crypt:
		return fmt.Sprintf("%v, %d rounds", h.scheme, h.cost)
	}
	return h.scheme.String()
}

// ParseHash reads what stands behind the colon of a line. Its errors say why
// such a line can never log anybody in and hold nothing of text.
func ParseHash(text string) (Hash, error) {
	switch {
	case text == "":
		return Hash{}, errEmptyHash
	case strings.HasPrefix(text, "$2a$"), strings.HasPrefix(text, "$2b$"), strings.HasPrefix(text, "$2y$"):
		return parseBcrypt(text)
	case strings.HasPrefix(text, "$5$"):
		return parseSHACrypt(SHA256Crypt, text[len("$5$"):])
	case strings.HasPrefix(text, "$6$"):
		return parseSHACrypt(SHA512Crypt, text[len("$6$"):])
	case strings.HasPrefix(text, "$apr1$"):
		return parseMD5Crypt(APR1, text[len("$apr1$"):])
	case strings.HasPrefix(text, "$1$"):
		return parseMD5Crypt(MD5Crypt, text[len("$1$"):])
	case strings.HasPrefix(text, "{SHA}"):
		return parseSHA1(SHA1, text[len("{SHA}"):])
	case strings.HasPrefix(text, "{SSHA}"):
		return parseSHA1(SaltedSHA1, text[len("{SSHA}"):])
	case text[0] == '$', text[0] == '{':
		return Hash{}, errUnknown
	case len(text) == 13 && cryptText(text):
		return Hash{}, errDES
	}
	return Hash{}, errClear
}

// Matches reports whether password is the one that was hashed. A password that
// the scheme would cut, at 72 bytes for bcrypt or at a NUL byte, never
// matches, and takes the time of one that is merely wrong.
func (h Hash) Matches(password string) bool {
	bounded, ok := boundPassword(password)
	var equal bool
	switch h.scheme {
	case Bcrypt:
		equal = h.matchesBcrypt(bounded)
	case SHA256Crypt, SHA512Crypt:
		equal = sameText(shaCrypt(h.scheme, bounded, h.salt, h.cost), h.sum)
	case APR1, MD5Crypt:
		equal = sameText(md5Crypt(h.scheme, bounded, h.salt), h.sum)
	case SHA1, SaltedSHA1:
		equal = sameText(sha1Sum(bounded, h.salt), h.sum)
	}
	return equal && ok
}

// boundPassword returns what may be hashed of password, and whether that is
// all of it.
func boundPassword(password string) (string, bool) {
	if len(password) > maxPassword {
		return password[:maxBcryptPassword], false
	}
	return password, !strings.Contains(password, "\x00")
}
