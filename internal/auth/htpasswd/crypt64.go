package htpasswd

import (
	"crypto/rand"
	"crypto/subtle"
	"strings"
)

// crypt64 is the alphabet of the crypt family, in the order of its values.
const crypt64 = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// cryptText reports whether s consists of crypt64 characters.
func cryptText(s string) bool { return strings.Trim(s, crypt64) == "" }

// saltText reports whether s may be the salt of a crypt hash.
func saltText(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == '$' || r == ':' })
}

// appendCrypt64 appends n characters for the lowest 6n bits of v, the lowest
// first.
func appendCrypt64(dst []byte, v uint, n int) []byte {
	for range n {
		dst = append(dst, crypt64[v&0x3f])
		v >>= 6
	}
	return dst
}

// appendTriple appends the four characters of three bytes, a being the highest.
func appendTriple(dst []byte, a, b, c byte) []byte {
	return appendCrypt64(dst, uint(a)<<16|uint(b)<<8|uint(c), 4)
}

// newSalt returns n random characters of crypt64.
func newSalt(n int) string {
	salt := make([]byte, n)
	rand.Read(salt) // never fails
	for i, b := range salt {
		salt[i] = crypt64[b&0x3f]
	}
	return string(salt)
}

func sameText(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
