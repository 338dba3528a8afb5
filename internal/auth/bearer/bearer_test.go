package bearer

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"berth/internal/auth"
	"berth/internal/oci"
)

// now is when all tests take place, unless they say otherwise.
var now = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// An object is a header or the claims of a token.
type object map[string]any

// with returns o with a key changed, or without it if value is nil.
func (o object) with(key string, value any) object {
	o = maps.Clone(o)
	if o[key] = value; value == nil {
		delete(o, key)
	}
	return o
}

func claims() object {
	return object{
		"iss": "issuer", "aud": "service", "sub": "alice",
		"iat": now.Unix(), "nbf": now.Unix() - 10, "exp": now.Unix() + 300,
		"access": []object{{"type": "repository", "name": "team/app", "actions": []string{"pull", "push"}}},
	}
}

func encode(t testing.TB, v any) string {
	t.Helper()
	if s, ok := v.(string); ok {
		return base64.RawURLEncoding.EncodeToString([]byte(s))
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// sign makes a token by hand, with whatever its header says.
func sign(t testing.TB, signer crypto.Signer, header, body any) string {
	t.Helper()
	text := encode(t, header) + "." + encode(t, body)
	sum := sha256.Sum256([]byte(text))
	var sig []byte
	var err error
	switch k := signer.(type) {
	case *rsa.PrivateKey:
		sig, err = rsa.SignPKCS1v15(nil, k, crypto.SHA256, sum[:])
	case *ecdsa.PrivateKey:
		var r, s *big.Int
		if r, s, err = ecdsa.Sign(rand.Reader, k, sum[:]); err == nil {
			sig = append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
		}
	case ed25519.PrivateKey:
		sig = ed25519.Sign(k, []byte(text))
	}
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(sig)
}

// hmacSign makes a token that is signed with a shared secret.
func hmacSign(t testing.TB, secret []byte, header, body any) string {
	t.Helper()
	text := encode(t, header) + "." + encode(t, body)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// A party is a key and a certificate of it.
type party struct {
	key  crypto.Signer
	cert *x509.Certificate
}

// newKeys returns one key of each kind that signs tokens.
func newKeys(t testing.TB) (*rsa.PrivateKey, *ecdsa.PrivateKey, ed25519.PrivateKey) {
	t.Helper()
	r, err1 := rsa.GenerateKey(rand.Reader, 2048)
	e, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	_, d, err3 := ed25519.GenerateKey(rand.Reader)
	if err1 != nil || err2 != nil || err3 != nil {
		t.Fatal(err1, err2, err3)
	}
	return r, e, d
}

// certify issues a certificate; by nil it is self-signed.
func certify(t testing.TB, key crypto.Signer, by *party, ca, until any) party {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: rand.Text()},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		BasicConstraintsValid: true, IsCA: ca != nil,
	}
	if until != nil {
		template.NotAfter = until.(time.Time)
	}
	parent, signer := template, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return party{key, cert}
}

func (p party) x5c(more ...party) []string {
	list := []string{base64.StdEncoding.EncodeToString(p.cert.Raw)}
	for _, m := range more {
		list = append(list, base64.StdEncoding.EncodeToString(m.cert.Raw))
	}
	return list
}

func (p party) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.cert.Raw}))
}

func publicPEM(t testing.TB, k crypto.Signer) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func write(t testing.TB, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// verifier returns one that has the keys of a bundle.
func verifier(t testing.TB, bundle string, algorithms ...string) *Verifier {
	t.Helper()
	v, err := New(Options{Issuer: "issuer", Service: "service", RootCertBundle: write(t, bundle), Algorithms: algorithms, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func thumbprint(t testing.TB, public crypto.PublicKey) string {
	t.Helper()
	sum, err := (&jose.JSONWebKey{Key: public}).Thumbprint(crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(sum)
}

// TestVerify has every way in which a good token says who signed it.
func TestVerify(t *testing.T) {
	r, e, d := newKeys(t)
	root := certify(t, r, nil, "CA", nil)
	_, k1, _ := newKeys(t)
	middle := certify(t, k1, &root, "CA", nil)
	_, k2, _ := newKeys(t)
	leaf := certify(t, k2, &middle, nil, nil)
	v := verifier(t, "comment\n"+root.pem()+publicPEM(t, e)+publicPEM(t, d))
	rs, es, ed := object{"typ": "JWT", "alg": "RS256"}, object{"typ": "JWT", "alg": "ES256"}, object{"typ": "JWT", "alg": "EdDSA"}
	shown := jose.JSONWebKey{Key: e.Public(), KeyID: "whatever"}
	chained := jose.JSONWebKey{Key: k2.Public(), Certificates: []*x509.Certificate{leaf.cert, middle.cert}}
	tests := map[string]string{
		"RSA by fingerprint":           sign(t, r, rs.with("kid", fingerprint(r.Public())), claims()),
		"RSA by thumbprint":            sign(t, r, rs.with("kid", thumbprint(t, r.Public())), claims()),
		"ECDSA by fingerprint":         sign(t, e, es.with("kid", fingerprint(e.Public())), claims()),
		"ECDSA by thumbprint":          sign(t, e, es.with("kid", thumbprint(t, e.Public())), claims()),
		"Ed25519 by thumbprint":        sign(t, d, ed.with("kid", thumbprint(t, d.Public())), claims()),
		"by the root's certificate":    sign(t, r, rs.with("x5c", root.x5c()), claims()),
		"by a chain":                   sign(t, k2, es.with("x5c", leaf.x5c(middle)), claims()),
		"by a chain and another kid":   sign(t, k2, es.with("x5c", leaf.x5c(middle)).with("kid", "x"), claims()),
		"by a shown key that is ours":  sign(t, e, es.with("jwk", shown), claims()),
		"by a shown key with a chain":  sign(t, k2, es.with("jwk", chained), claims()),
		"with an unknown header":       sign(t, e, es.with("kid", thumbprint(t, e.Public())).with("jku", "https://evil.example"), claims()),
		"with several audiences":       sign(t, e, es.with("kid", thumbprint(t, e.Public())), claims().with("aud", []string{"x", "service"})),
		"with times that aren't whole": sign(t, e, es.with("kid", thumbprint(t, e.Public())), claims().with("exp", float64(now.Unix())+0.5)),
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := v.Verify(text)
			if err != nil {
				t.Fatal(err)
			}
			if got.Principal != (auth.Principal{Name: "alice", Via: auth.ViaToken}) || !got.Grants.Allows(access(t, "team/app", auth.Push)) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// TestVerifyForged holds that nothing that a token says makes a key of ours into
// something else, or a foreign key into ours.
func TestVerifyForged(t *testing.T) {
	r, e, _ := newKeys(t)
	foreignR, foreignE, foreignD := newKeys(t)
	root := certify(t, r, nil, "CA", nil)
	_, k1, _ := newKeys(t)
	leaf := certify(t, k1, &root, nil, nil) // may sign tokens, but no certificates
	_, k2, _ := newKeys(t)
	below := certify(t, k2, &leaf, nil, nil)
	past := certify(t, k2, &root, nil, now.Add(-time.Minute))
	evil := certify(t, foreignE, nil, "CA", nil)
	bundle := root.pem() + publicPEM(t, e)
	v := verifier(t, bundle)
	kid, ekid := thumbprint(t, r.Public()), thumbprint(t, e.Public())
	rs, es := object{"alg": "RS256", "kid": kid}, object{"alg": "ES256", "kid": ekid}
	pub, err := x509.MarshalPKIXPublicKey(r.Public())
	if err != nil {
		t.Fatal(err)
	}
	good := sign(t, r, rs, claims())
	part := strings.Split(good, ".")
	showing := func(public crypto.PublicKey, id string) jose.JSONWebKey {
		return jose.JSONWebKey{Key: public, KeyID: id}
	}
	if _, err := v.Verify(good); err != nil {
		t.Fatal(err)
	}
	tests := map[string]string{
		"nothing":                          "",
		"dots":                             "..",
		"a megabyte of dots":               strings.Repeat(".", 1<<20),
		"a megabyte in three parts":        strings.Repeat("A", 1<<20) + ".A.A",
		"alg none":                         encode(t, rs.with("alg", "none")) + "." + part[1] + ".",
		"alg NONE":                         encode(t, rs.with("alg", "NONE")) + "." + part[1] + ".",
		"alg none with a signature":        encode(t, rs.with("alg", "none")) + "." + part[1] + "." + part[2],
		"no alg":                           encode(t, rs.with("alg", nil)) + "." + part[1] + "." + part[2],
		"alg is a number":                  encode(t, rs.with("alg", 1)) + "." + part[1] + "." + part[2],
		"HS256 with the public key, DER":   hmacSign(t, pub, rs.with("alg", "HS256"), claims()),
		"HS256 with the public key, PEM":   hmacSign(t, []byte(publicPEM(t, r)), rs.with("alg", "HS256"), claims()),
		"HS256 with the bundle":            hmacSign(t, []byte(bundle), rs.with("alg", "HS256"), claims()),
		"HS256 with nothing":               hmacSign(t, nil, rs.with("alg", "HS256"), claims()),
		"another RSA key, known kid":       sign(t, foreignR, rs, claims()),
		"another ECDSA key, known kid":     sign(t, foreignE, es, claims()),
		"ECDSA under the RSA kid":          sign(t, e, es.with("kid", kid), claims()),
		"RSA under the ECDSA kid":          sign(t, r, rs.with("kid", ekid), claims()),
		"EdDSA under the ECDSA kid":        sign(t, foreignD, es.with("alg", "EdDSA"), claims()),
		"the header's alg is another":      sign(t, r, rs.with("alg", "RS512"), claims()),
		"kid of a path":                    sign(t, r, rs.with("kid", "../../etc/passwd"), claims()),
		"kid of SQL":                       sign(t, r, rs.with("kid", "' OR 1=1 --"), claims()),
		"kid empty":                        sign(t, r, rs.with("kid", ""), claims()),
		"no kid":                           sign(t, r, rs.with("kid", nil), claims()),
		"kid is a list":                    sign(t, r, rs.with("kid", []string{kid}), claims()),
		"kid in lower case":                sign(t, r, rs.with("kid", strings.ToLower(fingerprint(r.Public()))), claims()),
		"foreign jwk":                      sign(t, foreignE, es.with("kid", nil).with("jwk", showing(foreignE.Public(), "")), claims()),
		"foreign jwk with a known kid":     sign(t, foreignE, es.with("jwk", showing(foreignE.Public(), ekid)), claims()),
		"our jwk, signed by another":       sign(t, foreignE, es.with("jwk", showing(e.Public(), ekid)), claims()),
		"private jwk":                      sign(t, foreignE, es.with("jwk", showing(foreignE, ekid)), claims()),
		"jwk with a shared secret":         hmacSign(t, []byte("x"), rs.with("alg", "HS256").with("jwk", showing([]byte("x"), kid)), claims()),
		"jwk with a foreign certificate":   sign(t, foreignE, es.with("jwk", jose.JSONWebKey{Key: foreignE.Public(), Certificates: []*x509.Certificate{evil.cert}}), claims()),
		"x5c of another root":              sign(t, foreignE, es.with("x5c", evil.x5c()), claims()),
		"x5c of another root and ours":     sign(t, foreignE, es.with("x5c", evil.x5c(root)), claims()),
		"x5c of ours, signed by another":   sign(t, foreignE, es.with("x5c", leaf.x5c()), claims()),
		"x5c below one that is no CA":      sign(t, k2, es.with("x5c", below.x5c(leaf)), claims()),
		"x5c that has expired":             sign(t, k2, es.with("x5c", past.x5c()), claims()),
		"x5c of ours, last":                sign(t, foreignE, es.with("x5c", evil.x5c(leaf, root)), claims()),
		"x5c that is no certificate":       sign(t, r, rs.with("x5c", []string{"AAAA"}), claims()),
		"x5c that is empty text":           sign(t, r, rs.with("x5c", []string{""}), claims()),
		"x5c that is a text":               sign(t, r, rs.with("x5c", leaf.x5c()[0]), claims()),
		"x5u and jku of a foreign key":     sign(t, foreignE, es.with("kid", "k").with("x5u", "https://evil.example").with("jku", "https://evil.example"), claims()),
		"critical extension":               sign(t, r, rs.with("crit", []string{"exp"}).with("exp", 1), claims()),
		"critical b64":                     sign(t, r, rs.with("crit", []string{"b64"}).with("b64", true), claims()),
		"signature cut":                    good[:len(good)-4],
		"signature of another body":        part[0] + "." + encode(t, claims().with("sub", "root")) + "." + part[2],
		"signature empty":                  part[0] + "." + part[1] + ".",
		"body empty":                       part[0] + ".." + part[2],
		"a part too many":                  good + "." + part[2],
		"encrypted":                        "a.b.c.d.e",
		"the JSON form":                    `{"payload":"` + part[1] + `","protected":"` + part[0] + `","signature":"` + part[2] + `"}`,
		"a line break":                     good[:9] + "\n" + good[9:],
		"padded":                           good + "==",
		"a space behind":                   good + " ",
		"signed, but no JSON":              sign(t, r, rs, "claims"),
		"signed, but a list":               sign(t, r, rs, "[]"),
		"signed, but null":                 sign(t, r, rs, "null"),
		"signed, but nested too deep":      sign(t, r, rs, strings.Repeat("[", 11000)),
		"a header that is no object":       encode(t, "[]") + "." + part[1] + "." + part[2],
		"a header with alg twice":          encode(t, `{"alg":"none","alg":"RS256","kid":"`+kid+`"}`) + "." + part[1] + "." + part[2],
		"more certificates than are read":  sign(t, k1, es.with("x5c", leaf.x5c(slices.Repeat([]party{root}, 40)...)), claims()),
		"ours, in an algorithm left out":   sign(t, e, es, claims()),
		"ours, but of a service elsewhere": sign(t, r, rs, claims().with("aud", "service2")),
	}
	narrow := verifier(t, bundle, "RS256")
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			v := v
			if strings.Contains(name, "left out") {
				v = narrow
			}
			if got, err := v.Verify(text); err != auth.ErrInvalid || !reflect.DeepEqual(got, auth.Claims{}) {
				t.Errorf("got %+v, %v; want ErrInvalid", got, err)
			}
		})
	}
	if _, err := narrow.Verify(good); err != nil {
		t.Errorf("the algorithm that is left: %v", err)
	}
}

// TestVerifyClaims has each claim missing, wrong and at its limits.
func TestVerifyClaims(t *testing.T) {
	_, e, _ := newKeys(t)
	v := verifier(t, publicPEM(t, e))
	unix := now.Unix()
	tests := []struct {
		name  string
		key   string
		value any // nil takes the claim away
		want  error
	}{
		{"no issuer", "iss", nil, auth.ErrInvalid},
		{"another issuer", "iss", "issuer2", auth.ErrInvalid},
		{"an issuer in capitals", "iss", "Issuer", auth.ErrInvalid},
		{"a list of issuers", "iss", []string{"issuer"}, auth.ErrInvalid},
		{"no audience", "aud", nil, auth.ErrInvalid},
		{"an empty audience", "aud", "", auth.ErrInvalid},
		{"an empty list of audiences", "aud", []string{}, auth.ErrInvalid},
		{"another audience", "aud", "service.evil.example", auth.ErrInvalid},
		{"other audiences", "aud", []string{"a", "b"}, auth.ErrInvalid},
		{"an audience that is a number", "aud", 1, auth.ErrInvalid},
		{"no end", "exp", nil, auth.ErrInvalid},
		{"an end of null", "exp", json.RawMessage("null"), auth.ErrInvalid},
		{"an end of zero", "exp", 0, auth.ErrInvalid},
		{"an end that is a text", "exp", "1795860000", auth.ErrInvalid},
		{"an end that overflows", "exp", 1e300, auth.ErrInvalid},
		{"an end before 1970", "exp", -1, auth.ErrInvalid},
		{"just ended", "exp", unix - 60, nil},
		{"ended", "exp", unix - 61, auth.ErrExpired},
		{"ended a day ago", "exp", unix - 60 - 24*3600, auth.ErrExpired},
		{"ended before yesterday", "exp", unix - 61 - 24*3600, auth.ErrInvalid},
		{"no beginning", "nbf", nil, auth.ErrInvalid},
		{"about to begin", "nbf", unix + 60, nil},
		{"not begun", "nbf", unix + 61, auth.ErrInvalid},
		{"a beginning that is a text", "nbf", "x", auth.ErrInvalid},
		{"not said when it was made", "iat", nil, nil},
		{"made in a minute", "iat", unix + 60, nil},
		{"made in the future", "iat", unix + 61, auth.ErrInvalid},
		{"no user", "sub", nil, nil},
		{"a user of the anonymous", "sub", "", nil},
		{"a user with a line break", "sub", "alice\nroot", auth.ErrInvalid},
		{"a user that is a number", "sub", 1, auth.ErrInvalid},
		{"a user without end", "sub", strings.Repeat("a", 256), auth.ErrInvalid},
		{"no access", "access", nil, nil},
		{"access of null", "access", json.RawMessage("null"), nil},
		{"access that is a text", "access", "repository:a:pull", auth.ErrInvalid},
		{"something else", "azp", "x", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := v.Verify(sign(t, e, object{"alg": "ES256", "kid": thumbprint(t, e.Public())}, claims().with(tt.key, tt.value)))
			if err != tt.want {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if said := got.Principal.Via == auth.ViaToken; said == (err == auth.ErrInvalid) {
				t.Errorf("got %+v with %v", got, err)
			}
		})
	}
}

func access(t testing.TB, repo string, a auth.Action) auth.Access {
	t.Helper()
	r, err := oci.ParseRepo(repo)
	if err != nil {
		t.Fatal(err)
	}
	return auth.Access{Repo: r, Action: a}
}

func TestGrants(t *testing.T) {
	tests := []struct{ name, access, want string }{
		{"nothing", `[]`, ""},
		{"pull", `[{"type":"repository","name":"a/b","actions":["pull"]}]`, "a/b:pull"},
		{"pull and push", `[{"type":"repository","name":"a","actions":["push","pull"]}]`, "a:pull,push"},
		{"push alone", `[{"type":"repository","name":"a","actions":["push"]}]`, ""},
		{"in two entries", `[{"type":"repository","name":"a","actions":["push"]},{"type":"repository","name":"a","actions":["pull"]}]`, "a:pull,push"},
		{"delete", `[{"type":"repository","name":"a","actions":["delete"]}]`, "a:delete"},
		{"star", `[{"type":"repository","name":"a","actions":["*"]}]`, "a:pull,push,delete"},
		{"an action in capitals", `[{"type":"repository","name":"a","actions":["PULL"]}]`, ""},
		{"an unknown action", `[{"type":"repository","name":"a","actions":["admin","pull"]}]`, "a:pull"},
		{"one of ours that is no scope", `[{"type":"repository","name":"a","actions":["create"]}]`, ""},
		{"an unknown type", `[{"type":"plugin","name":"a","actions":["pull"]}]`, ""},
		{"a name that is a pattern", `[{"type":"repository","name":"*","actions":["pull"]}]`, ""},
		{"a name that climbs", `[{"type":"repository","name":"../a","actions":["pull"]}]`, ""},
		{"a name of a host", `[{"type":"repository","name":"host:5000/a","actions":["pull"]}]`, ""},
		{"the catalog", `[{"type":"registry","name":"catalog","actions":["*"]}]`, "catalog"},
		{"the catalog, but what of it", `[{"type":"registry","name":"catalog","actions":["pull"]}]`, ""},
		{"a repository called catalog", `[{"type":"repository","name":"catalog","actions":["*"]}]`, "catalog:pull,push,delete"},
		{"a class", `[{"type":"repository","class":"plugin","name":"a","actions":["pull"]}]`, "a:pull"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var raw claimsJSON
			if err := json.Unmarshal([]byte(`{"access":`+tt.access+`}`), &raw); err != nil {
				t.Fatal(err)
			}
			g := raw.grants()
			var got []string
			if g.Catalog {
				got = append(got, "catalog")
			}
			for _, r := range g.Repos {
				var names []string
				for _, a := range r.Actions {
					names = append(names, string(a))
				}
				got = append(got, r.Repo.String()+":"+strings.Join(names, ","))
			}
			if text := strings.Join(got, " "); text != tt.want {
				t.Errorf("got %q, want %q", text, tt.want)
			}
		})
	}
}
