package bearer

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

// maxFile is the largest file of keys that is read, in bytes.
const maxFile = 1 << 20

// keys are what tokens are verified with.
type keys struct {
	roots *x509.CertPool // what certificates in tokens must lead to
	byID  map[string]key
}

// A key is a public key with the algorithms that it may sign with. They are
// fixed with the key: a token can't choose to have it used in another way.
type key struct {
	public     crypto.PublicKey
	algorithms []jose.SignatureAlgorithm
}

func (k key) signs(a jose.SignatureAlgorithm) bool { return slices.Contains(k.algorithms, a) }

// newKey returns a key of a kind that can sign tokens.
func newKey(public crypto.PublicKey) (key, error) {
	k := key{public: public}
	switch p := public.(type) {
	case *rsa.PublicKey:
		k.algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512}
	case *ecdsa.PublicKey:
		switch p.Curve {
		case elliptic.P256():
			k.algorithms = []jose.SignatureAlgorithm{jose.ES256}
		case elliptic.P384():
			k.algorithms = []jose.SignatureAlgorithm{jose.ES384}
		case elliptic.P521():
			k.algorithms = []jose.SignatureAlgorithm{jose.ES512}
		}
	case ed25519.PublicKey:
		k.algorithms = []jose.SignatureAlgorithm{jose.EdDSA}
	}
	if len(k.algorithms) == 0 {
		return key{}, fmt.Errorf("has a key of a kind that signs no tokens (%T)", public)
	}
	return k, nil
}

// load reads the files that o names.
func load(o Options) (keys, error) {
	k := keys{roots: x509.NewCertPool(), byID: map[string]key{}}
	var problems []error
	if o.RootCertBundle == "" && o.JWKS == "" {
		problems = append(problems, errors.New("tokens: no keys to verify them with are named"))
	}
	if o.RootCertBundle != "" {
		problems = append(problems, explain("root certificate bundle", o.RootCertBundle, k.addBundle))
	}
	if o.JWKS != "" {
		problems = append(problems, explain("JWKS", o.JWKS, k.addSet))
	}
	return k, errors.Join(problems...)
}

// explain reads a file into add, and says of which file an error is.
func explain(what, file string, add func([]byte) error) error {
	data, err := readFile(file)
	if err == nil {
		err = add(data)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("tokens: the %s %s does not exist: check the path; in a container, that it is mounted: %w", what, file, fs.ErrNotExist)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("tokens: the %s %s can't be read by this user: chown or chmod it: %w", what, file, fs.ErrPermission)
	}
	return fmt.Errorf("tokens: the %s %s %w", what, file, err)
}

func readFile(file string) ([]byte, error) {
	fi, err := os.Stat(file)
	switch {
	case err != nil:
		return nil, err
	case fi.IsDir():
		return nil, errors.New("is a directory: name the file in it")
	case fi.Size() > maxFile:
		return nil, errors.New("is larger than 1 MiB: this can't be the right file")
	}
	return os.ReadFile(file)
}

// addBundle adds the certificates and public keys of a file in PEM form.
func (k *keys) addBundle(data []byte) error {
	found := 0
	for {
		var b *pem.Block
		if b, data = pem.Decode(data); b == nil {
			break
		}
		var err error
		switch b.Type {
		case "CERTIFICATE":
			err = k.addCertificate(b.Bytes)
		case "PUBLIC KEY":
			err = k.addPublic(x509.ParsePKIXPublicKey(b.Bytes))
		case "RSA PUBLIC KEY":
			err = k.addPublic(x509.ParsePKCS1PublicKey(b.Bytes))
		default:
			continue
		}
		if err != nil {
			return err
		}
		found++
	}
	if found == 0 {
		return errors.New("holds neither a certificate nor a public key in PEM form: write the token server's certificate into it (-----BEGIN CERTIFICATE-----)")
	}
	return nil
}

// addCertificate adds a certificate as a root, and its key as one that signs
// tokens. An authority may have a key that can't: it signs certificates.
func (k *keys) addCertificate(der []byte) error {
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return fmt.Errorf("holds a certificate that can't be read: %w", err)
	}
	k.roots.AddCert(c)
	if _, err := newKey(c.PublicKey); err != nil {
		return nil
	}
	return k.add(c.PublicKey, "", "")
}

func (k *keys) addPublic(public crypto.PublicKey, err error) error {
	if err != nil {
		return fmt.Errorf("holds a public key that can't be read: %w", err)
	}
	return k.add(public, "", "")
}

// addSet adds the keys of a JSON Web Key Set.
func (k *keys) addSet(data []byte) error {
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(data, &set); err != nil {
		return fmt.Errorf("is no JSON Web Key Set: %w", err)
	}
	found := 0
	for i, j := range set.Keys {
		if j.Use == "enc" {
			continue
		}
		if _, shared := j.Key.([]byte); shared {
			return fmt.Errorf("holds a shared secret (keys[%d]): whoever can verify with it could sign with it; use a key pair and name its public key", i)
		}
		public := j.Public()
		if !public.Valid() {
			return fmt.Errorf("holds a key that can't be used (keys[%d])", i)
		}
		if err := k.add(public.Key, j.KeyID, j.Algorithm); err != nil {
			return fmt.Errorf("(keys[%d]) %w", i, err)
		}
		found++
	}
	if found == 0 {
		return errors.New("holds no key that signs")
	}
	return nil
}

// add adds a key under all of its names, among them id if it isn't empty, for
// the algorithm alone if that isn't empty.
func (k *keys) add(public crypto.PublicKey, id, algorithm string) error {
	one, err := newKey(public)
	if err != nil {
		return err
	}
	if a := jose.SignatureAlgorithm(algorithm); algorithm != "" {
		if !one.signs(a) {
			return fmt.Errorf("has a key for %s, which it can't sign with", algorithm)
		}
		one.algorithms = []jose.SignatureAlgorithm{a}
	}
	names := ids(public)
	if id != "" {
		names = append(names, id)
	}
	for _, name := range names {
		if other, taken := k.byID[name]; taken && !same(other.public, public) {
			return fmt.Errorf("gives the key id %q to two keys", name)
		}
		k.byID[name] = one
	}
	return nil
}
