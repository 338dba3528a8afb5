// Package bearer verifies tokens that another server signed: JSON Web Tokens as
// the token specification of the distribution API has them, and as registry:2
// accepts them under auth.token.
//
// It trusts the keys that its files hold and nothing that a token says about
// keys: a token may name one of them, or bring certificates that lead to one. It
// opens no connection and knows nothing of HTTP.
package bearer

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"

	"berth/internal/auth"
)

// Limits of a token.
const (
	MaxSize  = 16 << 10 // bytes
	maxChain = 10       // certificates in it
	skew     = time.Minute
)

// Options are what New needs.
type Options struct {
	Issuer  string // what the token server calls itself
	Service string // what it calls this registry

	// RootCertBundle is a file with certificates and public keys in PEM form, and
	// JWKS one with keys as a JSON Web Key Set. At least one must be given.
	RootCertBundle string
	JWKS           string

	// Algorithms are those that may sign. None means those that fit the keys.
	Algorithms []string

	Now func() time.Time // nil means time.Now
}

// A Verifier reads tokens. It may be used concurrently.
type Verifier struct {
	issuer, service string
	keys            keys
	algorithms      []jose.SignatureAlgorithm
	now             func() time.Time
}

// New reads the files. The error says which of them is wrong and what to do.
func New(o Options) (*Verifier, error) {
	v := &Verifier{issuer: o.Issuer, service: o.Service, now: o.Now}
	if v.now == nil {
		v.now = time.Now
	}
	if v.issuer == "" || v.service == "" {
		return nil, errors.New("tokens: the issuer and the service must be named")
	}
	for _, a := range known() {
		if len(o.Algorithms) == 0 || slices.Contains(o.Algorithms, string(a)) {
			v.algorithms = append(v.algorithms, a)
		}
	}
	for _, a := range o.Algorithms {
		if !slices.Contains(known(), jose.SignatureAlgorithm(a)) {
			return nil, fmt.Errorf("tokens: %q is no algorithm that is accepted", a)
		}
	}
	var err error
	v.keys, err = load(o)
	return v, err
}

// known returns the algorithms there are. None of them has a shared secret: whoever
// could verify with it could sign with it.
func known() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{
		jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512,
		jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
	}
}

// Verify reads a token. The error is auth.ErrInvalid or auth.ErrExpired; with the
// latter it returns what the token said, until auth.Overtime is over.
func (v *Verifier) Verify(text string) (auth.Claims, error) {
	// Looked at first: what follows takes the longer the more there is.
	if len(text) > MaxSize || !compact(text) {
		return auth.Claims{}, auth.ErrInvalid
	}
	signed, err := jose.ParseSignedCompact(text, v.algorithms)
	if err != nil || len(signed.Signatures) != 1 {
		return auth.Claims{}, auth.ErrInvalid
	}
	header := signed.Signatures[0].Protected
	if _, extended := header.ExtraHeaders["crit"]; extended {
		return auth.Claims{}, auth.ErrInvalid
	}
	k, ok := v.signer(header)
	if !ok || !k.signs(jose.SignatureAlgorithm(header.Algorithm)) {
		return auth.Claims{}, auth.ErrInvalid
	}
	body, err := signed.Verify(k.public)
	if err != nil {
		return auth.Claims{}, auth.ErrInvalid
	}
	return v.read(body)
}

// compact reports whether text has the form of a token: three parts, of nothing
// but the letters of base64url, of which decoders leave line breaks out.
func compact(text string) bool {
	dots := 0
	for i := range len(text) {
		switch c := text[i]; {
		case c == '.':
			dots++
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return dots == 2
}

// signer returns the key that a token says it is signed with, if it is one of
// ours: that of a certificate in the header that leads to the bundle, or one that
// the header names or shows. As in registry:2, certificates go before a key, and
// a key before a name.
func (v *Verifier) signer(h jose.Header) (key, bool) {
	leaf, err := v.chain(h)
	if !errors.Is(err, jose.ErrMissingX5cHeader) {
		return leaf, err == nil
	}
	if h.JSONWebKey == nil {
		k, ok := v.keys.byID[h.KeyID]
		return k, ok && h.KeyID != ""
	}
	if certs := h.JSONWebKey.Certificates; len(certs) > 0 {
		leaf, err := v.leaf(certs)
		return leaf, err == nil
	}
	// What the header shows is only compared: ours is what verifies.
	for _, id := range ids(h.JSONWebKey.Key) {
		if k, ok := v.keys.byID[id]; ok && same(k.public, h.JSONWebKey.Key) {
			return k, true
		}
	}
	return key{}, false
}

// chain returns the key of the certificates in the x5c header.
func (v *Verifier) chain(h jose.Header) (key, error) {
	chains, err := h.Certificates(v.verifyOptions())
	if err != nil {
		return key{}, err
	}
	return v.ofLeaf(chains[0])
}

// leaf returns the key of the first of certs, which the others connect to the
// bundle.
func (v *Verifier) leaf(certs []*x509.Certificate) (key, error) {
	if len(certs) > maxChain {
		return key{}, auth.ErrInvalid
	}
	o := v.verifyOptions()
	o.Intermediates = x509.NewCertPool()
	for _, c := range certs[1:] {
		o.Intermediates.AddCert(c)
	}
	chains, err := certs[0].Verify(o)
	if err != nil {
		return key{}, err
	}
	return v.ofLeaf(chains[0])
}

func (v *Verifier) verifyOptions() x509.VerifyOptions {
	return x509.VerifyOptions{Roots: v.keys.roots, CurrentTime: v.now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
}

func (v *Verifier) ofLeaf(chain []*x509.Certificate) (key, error) {
	if len(chain) > maxChain {
		return key{}, auth.ErrInvalid
	}
	return newKey(chain[0].PublicKey)
}

// same reports whether a and b are one key.
func same(a, b crypto.PublicKey) bool {
	e, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && e.Equal(b)
}
