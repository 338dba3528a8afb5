package config

import (
	"net/url"
	"slices"
	"strings"
)

// TokenAlgorithms returns the signature algorithms that [Token.Algorithms] may
// name. Those with a shared secret are not among them: whoever can verify could
// also sign.
func TokenAlgorithms() []string {
	return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
}

func (k *checker) token(t Token) {
	const realm, bundle, jwks = "auth.token.realm", "auth.token.root_cert_bundle", "auth.token.jwks"
	for i, name := range t.Algorithms {
		path := element("auth.token.algorithms", i)
		switch {
		case strings.HasPrefix(name, "HS"):
			k.add(path, "%q signs with a shared secret, which is not accepted: choose from %s", name, strings.Join(TokenAlgorithms(), ", "))
		case !slices.Contains(TokenAlgorithms(), name):
			k.add(path, "%q is no algorithm: choose from %s", name, strings.Join(TokenAlgorithms(), ", "))
		}
	}
	if !t.Enabled() {
		if t.Service != "" || t.Issuer != "" || len(t.Algorithms) > 0 {
			k.add(realm, "is empty, so no token is accepted: write the address of the token server, such as https://auth.example.com/token")
		}
		return
	}
	u, err := url.Parse(t.Realm)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		k.add(realm, "is no URL: write the address of the token server, such as https://auth.example.com/token")
	case u.User != nil:
		k.add(realm, "holds a user or a password, which everybody would see: remove them")
	case strings.ContainsAny(t.Realm, `"\`):
		k.add(realm, "holds a quotation mark or a backslash, which a header cannot carry: remove it")
	}
	if strings.TrimSpace(t.Service) == "" {
		k.add("auth.token.service", "is empty: write the name that the token server has for this registry, the audience of its tokens")
	}
	if strings.TrimSpace(t.Issuer) == "" {
		k.add("auth.token.issuer", "is empty: write the name that the token server gives itself in its tokens")
	}
	if t.RootCertBundle == "" && t.JWKS == "" {
		k.cross(bundle, []string{jwks}, "is empty and so is %s, so no token can be verified: name the file with the token server's certificate or public key", jwks)
	}
}
