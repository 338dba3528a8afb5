package htpasswd

import (
	"crypto/md5"
	"crypto/sha1"
	"encoding/base64"
	"strings"
)

const (
	md5Rounds     = 1_000
	md5SaltMax    = 8
	md5EncodedLen = 22

	// sha1SaltMax bounds what is believed to be a salt; servers write 4 to 16 bytes.
	sha1SaltMax = 64
)

func parseMD5Crypt(s Scheme, text string) (Hash, error) {
	salt, sum, ok := strings.Cut(text, "$")
	if !ok || len(salt) > md5SaltMax || !saltText(salt) || len(sum) != md5EncodedLen || !cryptText(sum) {
		return Hash{}, errMalformed
	}
	return Hash{scheme: s, salt: salt, sum: sum}, nil
}

func makeAPR1(password string) string {
	salt := newSalt(md5SaltMax)
	return "$apr1$" + salt + "$" + md5Crypt(APR1, password, salt)
}

// md5Crypt computes the encoded hash of FreeBSD's MD5 crypt, which Apache
// uses under a mark of its own that is hashed too.
func md5Crypt(s Scheme, password, salt string) string {
	mark := "$1$"
	if s == APR1 {
		mark = "$apr1$"
	}
	h := md5.New()
	pw, sl := []byte(password), []byte(salt)
	alternate := digest(h, pw, sl, pw)

	h.Reset()
	h.Write(pw)
	h.Write([]byte(mark))
	h.Write(sl)
	h.Write(repeated(alternate, len(pw)))
	for n := len(pw); n > 0; n >>= 1 {
		if n&1 != 0 {
			h.Write([]byte{0})
		} else {
			h.Write(pw[:1])
		}
	}
	sum := stretch(h, h.Sum(nil), pw, sl, md5Rounds)

	var out []byte
	for i := range 4 {
		out = appendTriple(out, sum[i], sum[i+6], sum[i+12])
	}
	out = appendTriple(out, sum[4], sum[10], sum[5])
	return string(appendCrypt64(out, uint(sum[11]), 2))
}

func parseSHA1(s Scheme, text string) (Hash, error) {
	sum, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(sum) < sha1.Size {
		return Hash{}, errMalformed
	}
	salt := sum[sha1.Size:]
	if s == SHA1 && len(salt) > 0 || s == SaltedSHA1 && len(salt) == 0 || len(salt) > sha1SaltMax {
		return Hash{}, errMalformed
	}
	return Hash{scheme: s, salt: string(salt), sum: string(sum[:sha1.Size])}, nil
}

func makeSHA1(password string) string {
	return "{SHA}" + base64.StdEncoding.EncodeToString([]byte(sha1Sum(password, "")))
}

// sha1Sum returns the 20 bytes of {SHA}, or of {SSHA} where there is a salt.
func sha1Sum(password, salt string) string {
	sum := sha1.Sum([]byte(password + salt))
	return string(sum[:])
}
