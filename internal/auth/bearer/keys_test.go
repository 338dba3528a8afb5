package bearer

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"berth/internal/auth"
)

func set(t testing.TB, list ...jose.JSONWebKey) string {
	t.Helper()
	b, err := json.Marshal(jose.JSONWebKeySet{Keys: list})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestJWKS has a set of keys with names of their own.
func TestJWKS(t *testing.T) {
	r, e, d := newKeys(t)
	v, err := New(Options{
		Issuer: "issuer", Service: "service", Now: func() time.Time { return now },
		JWKS: write(t, set(t,
			jose.JSONWebKey{Key: r.Public(), KeyID: "one", Algorithm: "PS256"},
			jose.JSONWebKey{Key: e, KeyID: "two"}, // with its private part, as registry:2 takes it
			jose.JSONWebKey{Key: d.Public(), KeyID: "for encryption", Use: "enc"})),
	})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, text string
		want       error
	}{
		{"by its name", sign(t, e, object{"alg": "ES256", "kid": "two"}, claims()), nil},
		{"by its thumbprint", sign(t, e, object{"alg": "ES256", "kid": thumbprint(t, e.Public())}, claims()), nil},
		{"in another algorithm than it is for", sign(t, r, object{"alg": "RS256", "kid": "one"}, claims()), auth.ErrInvalid},
		{"by a key that doesn't sign", sign(t, d, object{"alg": "EdDSA", "kid": "for encryption"}, claims()), auth.ErrInvalid},
		{"by no key", sign(t, e, object{"alg": "ES256", "kid": "three"}, claims()), auth.ErrInvalid},
		{"by a certificate, of which there are none", sign(t, e, object{"alg": "ES256", "x5c": certify(t, e, nil, "CA", nil).x5c()}, claims()), auth.ErrInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := v.Verify(tt.text); err != tt.want {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	r, e, _ := newKeys(t)
	old, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(e)
	if err != nil {
		t.Fatal(err)
	}
	private := string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
	missing := t.TempDir() + "/missing"
	bundle := func(text string) Options { return Options{RootCertBundle: write(t, text)} }
	jwks := func(text string) Options { return Options{JWKS: write(t, text)} }
	tests := []struct {
		name    string
		options Options
		want    string
	}{
		{"no keys", Options{}, "no keys"},
		{"a bundle that isn't there", Options{RootCertBundle: missing}, "bundle " + missing + " does not exist"},
		{"a set that isn't there", Options{JWKS: missing}, "JWKS " + missing + " does not exist"},
		{"a folder", Options{RootCertBundle: t.TempDir()}, "is a directory"},
		{"an empty bundle", bundle(""), "neither a certificate nor a public key"},
		{"a private key", bundle(private), "neither a certificate nor a public key"},
		{"a broken certificate", bundle("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), "certificate that can't be read"},
		{"a broken public key", bundle("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"), "public key that can't be read"},
		{"a curve that signs no tokens", bundle(publicPEM(t, old)), "signs no tokens"},
		{"a file that is too large", bundle(strings.Repeat("x", maxFile+1)), "larger than 1 MiB"},
		{"a set that is none", jwks("x"), "is no JSON Web Key Set"},
		{"an empty set", jwks(`{"keys":[]}`), "holds no key that signs"},
		{"a shared secret", jwks(set(t, jose.JSONWebKey{Key: []byte("secret"), KeyID: "k"})), "shared secret (keys[0])"},
		{"one name for two keys", jwks(set(t, jose.JSONWebKey{Key: e.Public(), KeyID: "k"}, jose.JSONWebKey{Key: r.Public(), KeyID: "k"})), `key id "k" to two keys`},
		{"a key for what it can't do", jwks(set(t, jose.JSONWebKey{Key: e.Public(), Algorithm: "RS256"})), "for RS256, which it can't"},
		{"a shared secret's algorithm", func() Options { o := bundle(publicPEM(t, e)); o.Algorithms = []string{"HS256"}; return o }(), `"HS256" is no algorithm`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.options.Issuer, tt.options.Service = "issuer", "service"
			_, err := New(tt.options)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "secret\"") {
				t.Errorf("the error tells the secret: %v", err)
			}
		})
	}
	if _, err := New(Options{Issuer: "i", Service: "s", RootCertBundle: missing}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want it to wrap %v", err, fs.ErrNotExist)
	}
	if _, err := New(Options{Service: "s", RootCertBundle: missing}); err == nil {
		t.Error("no issuer: no error")
	}
	// An authority whose own key signs no tokens is one all the same.
	root := certify(t, old, nil, "CA", nil)
	leaf := certify(t, e, &root, nil, nil)
	if _, err := verifier(t, root.pem()).Verify(sign(t, e, object{"alg": "ES256", "x5c": leaf.x5c()}, claims())); err != nil {
		t.Errorf("a chain to an authority of another kind: %v", err)
	}
}

// TestKeyIDs compares with the example of RFC 7638, section 3.1, and with an id
// that libtrust made.
func TestKeyIDs(t *testing.T) {
	const text = `{"kty":"RSA","e":"AQAB","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"}`
	var k jose.JSONWebKey
	if err := json.Unmarshal([]byte(text), &k); err != nil {
		t.Fatal(err)
	}
	got := ids(k.Key)
	for _, want := range []string{"NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"} {
		if !slices.Contains(got, want) {
			t.Errorf("got %q, want %q among them", got, want)
		}
	}
	if len(got) != 2 || len(strings.Split(got[0], ":")) != 12 || len(got[0]) != 12*5-1 {
		t.Errorf("got %q, want a fingerprint first", got)
	}
	// registry:2 leaves zeros at the beginning of a coordinate out.
	for {
		e, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		point, err := e.PublicKey.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		short, long := shortThumbprint(&e.PublicKey), thumbprint(t, e.Public())
		if zero := point[1] == 0 || point[33] == 0; zero == (short == long) {
			t.Fatalf("%x: got %s, and %s in full", point, short, long)
		} else if zero {
			return
		}
	}
}

func FuzzVerify(f *testing.F) {
	r, e, _ := newKeys(f)
	root := certify(f, r, nil, "CA", nil)
	v := verifier(f, root.pem()+publicPEM(f, e))
	header := object{"alg": "ES256", "kid": thumbprint(f, e.Public())}
	seeds := []string{
		sign(f, e, header, claims()),
		sign(f, r, object{"alg": "RS256", "x5c": root.x5c()}, claims()),
		sign(f, e, object{"alg": "ES256", "jwk": jose.JSONWebKey{Key: e.Public()}}, claims()),
	}
	for _, s := range seeds {
		f.Add(s)
	}
	f.Add("..")
	f.Add(`{"iss":"issuer","aud":["service"],"exp":1,"nbf":1,"access":[{"type":"repository","name":"a","actions":["*"]}]}`)
	f.Fuzz(func(t *testing.T, s string) {
		if got, err := v.Verify(s); err == nil && !sameTokens(s, seeds) {
			t.Errorf("%q passes for a token: %+v", s, got)
		}
		// The same with a right signature: whatever the body is, it is read or
		// refused, and grants no more than it names.
		got, err := v.Verify(sign(t, e, header, s))
		if err == auth.ErrInvalid && len(got.Grants.Repos) > 0 {
			t.Errorf("%q: got %+v with an error", s, got)
		}
		for _, g := range got.Grants.Repos {
			if !strings.Contains(s, g.Repo.String()) {
				t.Errorf("%q grants %s", s, g.Repo)
			}
		}
	})
}

// sameTokens reports whether s is one of list, or a signature of the same text
// that ends in other spare bits.
func sameTokens(s string, list []string) bool {
	return slices.ContainsFunc(list, func(good string) bool {
		return strings.HasPrefix(s, good[:len(good)-1])
	})
}

// FuzzX5C reads chains of certificates as tokens bring them.
func FuzzX5C(f *testing.F) {
	r, e, _ := newKeys(f)
	root := certify(f, r, nil, "CA", nil)
	leaf := certify(f, e, &root, nil, nil)
	v := verifier(f, root.pem())
	f.Add(leaf.cert.Raw, root.cert.Raw)
	f.Add(root.cert.Raw, leaf.cert.Raw)
	f.Add([]byte{0x30}, []byte{})
	_, foreign, _ := newKeys(f)
	f.Fuzz(func(t *testing.T, first, second []byte) {
		// Signed by a key of which nobody here knows: no chain makes that right.
		text := sign(t, foreign, object{"alg": "ES256", "x5c": [][]byte{first, second}}, claims())
		if _, err := v.Verify(text); err == nil {
			t.Errorf("a chain of %x and %x passes", first, second)
		}
	})
}
