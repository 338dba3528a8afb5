package bearer

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// ids returns the names under which token servers refer to a key, nothing for
// what is no public key of a kind that has them: those of registry:2 until 2.8
// and since 3.0, and the standard's own.
func ids(public crypto.PublicKey) []string {
	if _, err := newKey(public); err != nil {
		return nil
	}
	var list []string
	if id := fingerprint(public); id != "" {
		list = append(list, id)
	}
	if sum, err := (&jose.JSONWebKey{Key: public}).Thumbprint(crypto.SHA256); err == nil {
		list = append(list, base64.RawURLEncoding.EncodeToString(sum))
	}
	if p, ok := public.(*ecdsa.PublicKey); ok {
		list = append(list, shortThumbprint(p))
	}
	return list
}

// fingerprint returns the id that libtrust made, which registry:2 used until 2.8:
// 240 bits of a hash in groups of four letters, ABCD:EFGH:….
func fingerprint(public crypto.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(der)
	text := base32.StdEncoding.EncodeToString(sum[:30])
	var groups []string
	for ; text != ""; text = text[4:] {
		groups = append(groups, text[:4])
	}
	return strings.Join(groups, ":")
}

// shortThumbprint returns the thumbprint of RFC 7638 as registry:2 has computed
// it since 3.0: without the zeros at the beginning of a coordinate. For one key
// in 128 it is another one.
func shortThumbprint(p *ecdsa.PublicKey) string {
	point, err := p.Bytes() // 4, then both coordinates in full length
	if err != nil {
		return ""
	}
	n := (len(point) - 1) / 2
	encode := func(b []byte) string {
		return base64.RawURLEncoding.EncodeToString([]byte(strings.TrimLeft(string(b), "\x00")))
	}
	text, err := json.Marshal(struct { // in the order of the alphabet, as the RFC wants it
		Curve string `json:"crv"`
		Type  string `json:"kty"`
		X     string `json:"x"`
		Y     string `json:"y"`
	}{p.Params().Name, "EC", encode(point[1 : 1+n]), encode(point[1+n:])})
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(text)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
