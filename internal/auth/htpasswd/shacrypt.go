package htpasswd

import (
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"strconv"
	"strings"
)

const (
	minRounds     = 1_000
	defaultRounds = 5_000

	// maxRounds is the most rounds of a hash that is accepted. It lies above the
	// 656,000 that a well-known Python library used by default, and takes about
	// as long as the highest bcrypt cost.
	maxRounds = 1_000_000

	shaSaltMax = 16
)

// shaEncodedLen is the length of an encoded hash of 32 or 64 bytes.
func shaEncodedLen(s Scheme) int {
	if s == SHA256Crypt {
		return 43
	}
	return 86
}

// parseSHACrypt reads [rounds=n$]salt$hash. Rounds outside the specified range
// are refused, because no crypt() would ever write such a hash.
func parseSHACrypt(s Scheme, text string) (Hash, error) {
	rounds := defaultRounds
	if rest, ok := strings.CutPrefix(text, "rounds="); ok {
		number, rest, ok := strings.Cut(rest, "$")
		n, err := strconv.ParseUint(number, 10, 31)
		if !ok || err != nil || n < minRounds || number != strconv.FormatUint(n, 10) {
			return Hash{}, errMalformed
		}
		if n > maxRounds {
			return Hash{}, errRounds
		}
		rounds, text = int(n), rest
	}
	salt, sum, ok := strings.Cut(text, "$")
	if !ok || len(salt) > shaSaltMax || !saltText(salt) || len(sum) != shaEncodedLen(s) || !cryptText(sum) {
		return Hash{}, errMalformed
	}
	return Hash{scheme: s, cost: rounds, salt: salt, sum: sum}, nil
}

// makeSHACrypt hashes with a new salt; zero rounds mean the default, which is
// then not written down, as crypt() does it.
func makeSHACrypt(s Scheme, password string, rounds int) (string, error) {
	prefix := "$5$"
	if s == SHA512Crypt {
		prefix = "$6$"
	}
	switch {
	case rounds == 0:
		rounds = defaultRounds
	case rounds < minRounds:
		return "", errFewRounds
	case rounds > maxRounds:
		return "", errRounds
	default:
		prefix += "rounds=" + strconv.Itoa(rounds) + "$"
	}
	salt := newSalt(shaSaltMax)
	return prefix + salt + "$" + shaCrypt(s, password, salt, rounds), nil
}

// shaCrypt computes the encoded hash as "Unix crypt using SHA-256 and SHA-512"
// (Drepper, version 0.6) specifies it.
func shaCrypt(s Scheme, password, salt string, rounds int) string {
	h := sha512.New()
	if s == SHA256Crypt {
		h = sha256.New()
	}
	pw, sl := []byte(password), []byte(salt)
	alternate := digest(h, pw, sl, pw)

	h.Reset()
	h.Write(pw)
	h.Write(sl)
	h.Write(repeated(alternate, len(pw)))
	for n := len(pw); n > 0; n >>= 1 {
		if n&1 != 0 {
			h.Write(alternate)
		} else {
			h.Write(pw)
		}
	}
	sum := h.Sum(nil)

	h.Reset()
	for range pw {
		h.Write(pw)
	}
	p := repeated(h.Sum(nil), len(pw))
	h.Reset()
	for range 16 + int(sum[0]) {
		h.Write(sl)
	}
	q := repeated(h.Sum(nil), len(sl))
	return encodeSHACrypt(stretch(h, sum, p, q, rounds))
}

// digest hashes the parts one behind the other.
func digest(h hash.Hash, parts ...[]byte) []byte {
	h.Reset()
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

// repeated returns the first n bytes of b, b, b…
func repeated(b []byte, n int) []byte {
	out := make([]byte, 0, n+len(b))
	for len(out) < n {
		out = append(out, b...)
	}
	return out[:n]
}

// stretch runs the rounds that SHA-crypt and MD5-crypt have in common: sum and
// password change places in every other round, salt and password join in by
// multiples of 3 and 7.
func stretch(h hash.Hash, sum, password, salt []byte, rounds int) []byte {
	for i := range rounds {
		first, last := sum, password
		if i%2 != 0 {
			first, last = password, sum
		}
		h.Reset()
		h.Write(first)
		if i%3 != 0 {
			h.Write(salt)
		}
		if i%7 != 0 {
			h.Write(password)
		}
		h.Write(last)
		sum = h.Sum(sum[:0])
	}
	return sum
}

// encodeSHACrypt writes sum three bytes at a time, a third of the hash apart,
// in the turning order that the specification lists. What remains, two bytes
// of SHA-256 or one of SHA-512, comes last.
func encodeSHACrypt(sum []byte) string {
	third := len(sum) / 3
	a, b, c := 0, third, 2*third
	var out []byte
	for range third {
		out = appendTriple(out, sum[a], sum[b], sum[c])
		if len(sum) == sha256.Size {
			a, b, c = c+1, a+1, b+1
		} else {
			a, b, c = b+1, c+1, a+1
		}
	}
	if len(sum) == sha256.Size {
		return string(appendCrypt64(out, uint(sum[31])<<8|uint(sum[30]), 3))
	}
	return string(appendCrypt64(out, uint(sum[63]), 2))
}
