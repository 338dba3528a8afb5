package oci

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"hash"
	"strings"
)

// An Algorithm is a digest algorithm that Berth accepts.
type Algorithm string

// The algorithms that the image spec registers and every client knows.
const (
	SHA256 Algorithm = "sha256"
	SHA512 Algorithm = "sha512"
)

// ParseAlgorithm accepts exactly the names of the constants. The error is an
// *Error with code DigestInvalid.
func ParseAlgorithm(s string) (Algorithm, error) {
	switch a := Algorithm(s); a {
	case SHA256, SHA512:
		return a, nil
	}
	return "", &Error{Code: DigestInvalid, Message: "digest algorithm " + quote(s) + " is not supported: use sha256 or sha512"}
}

// New returns a new hash. Its state can be marshaled (encoding.BinaryMarshaler),
// which is what lets an upload go on in another process.
func (a Algorithm) New() hash.Hash {
	if a == SHA512 {
		return sha512.New()
	}
	return sha256.New()
}

// Digest returns the digest that h, which a made, has come to.
func (a Algorithm) Digest(h hash.Hash) Digest {
	return Digest{string(a) + ":" + hex.EncodeToString(h.Sum(nil))}
}

// FromBytes returns the digest of b.
func (a Algorithm) FromBytes(b []byte) Digest {
	if a == SHA512 {
		sum := sha512.Sum512(b)
		return Digest{string(a) + ":" + hex.EncodeToString(sum[:])}
	}
	sum := sha256.Sum256(b)
	return Digest{string(a) + ":" + hex.EncodeToString(sum[:])}
}

// A Digest is a valid content digest such as "sha256:…", in its one canonical
// spelling. Digests are comparable. The zero Digest is no digest.
type Digest struct{ s string }

// ParseDigest accepts sha256 and sha512 digests in lower-case hexadecimal of
// the exact length. The error is an *Error with code DigestInvalid.
func ParseDigest(s string) (Digest, error) {
	name, hexpart, ok := strings.Cut(s, ":")
	if !ok {
		return Digest{}, &Error{Code: DigestInvalid, Message: "digest " + quote(s) + " is not valid: write it as sha256:<64 hexadecimal digits>"}
	}
	a, err := ParseAlgorithm(name)
	if err != nil {
		return Digest{}, err
	}
	want := sha256.Size * 2
	if a == SHA512 {
		want = sha512.Size * 2
	}
	valid := len(hexpart) == want
	for i := 0; valid && i < len(hexpart); i++ {
		c := hexpart[i]
		valid = '0' <= c && c <= '9' || 'a' <= c && c <= 'f'
	}
	if !valid {
		return Digest{}, &Error{Code: DigestInvalid, Message: "digest " + quote(s) + " is not valid: " + string(a) + " has exactly " +
			map[Algorithm]string{SHA256: "64", SHA512: "128"}[a] + " lower-case hexadecimal digits"}
	}
	return Digest{s}, nil
}

// String returns the digest as it is written in URLs and manifests.
func (d Digest) String() string { return d.s }

// IsZero reports whether d is no digest.
func (d Digest) IsZero() bool { return d.s == "" }

// Algorithm returns the part before the colon.
func (d Digest) Algorithm() Algorithm {
	a, _, _ := strings.Cut(d.s, ":")
	return Algorithm(a)
}

// Hex returns the part behind the colon.
func (d Digest) Hex() string {
	_, h, _ := strings.Cut(d.s, ":")
	return h
}

// FallbackTag returns the tag under which a registry without a referrers API
// keeps the referrers of d (distribution spec, "Referrers Tag Schema").
func (d Digest) FallbackTag() Tag {
	h := d.Hex()
	return Tag{string(d.Algorithm()) + "-" + h[:min(len(h), 64)]}
}

// A Ref names a manifest within a repository: a tag or a digest, never both.
type Ref struct {
	Tag    Tag
	Digest Digest
}

// ParseRef reads <tag-or-digest>: what holds a colon is a digest, since a tag
// cannot. The error is an *Error with code DigestInvalid or TagInvalid.
func ParseRef(s string) (Ref, error) {
	if strings.Contains(s, ":") {
		d, err := ParseDigest(s)
		return Ref{Digest: d}, err
	}
	t, err := ParseTag(s)
	return Ref{Tag: t}, err
}

// String returns the tag or the digest.
func (r Ref) String() string { return r.Tag.s + r.Digest.s }
