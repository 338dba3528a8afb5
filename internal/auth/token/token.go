// Package token makes and checks the tokens of Berth's own token endpoint, and
// reads the scopes that clients ask it for.
//
// It knows nothing of HTTP and of log-in: it is told who someone is. Tokens are
// only ever read by the registry that made them; to clients they are opaque.
package token

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"berth/internal/auth"
	"berth/internal/oci"
)

// Service is what the registry calls itself in challenges.
const Service = "berth"

// TTL is how long a token lets its holder begin things.
const TTL = 5 * time.Minute

// Limits of a token.
const (
	KeySize   = 32       // bytes
	MaxSize   = 12 << 10 // bytes of a token, so that it fits into any header
	MaxScopes = 64       // repositories in one token
	skew      = time.Minute
	prefix    = "berth1."
)

// ErrTooMany says that more was asked for than fits into a token.
var ErrTooMany = fmt.Errorf("token: more than %d scopes", MaxScopes)

// An Issuer makes tokens and checks them. It may be used concurrently.
type Issuer struct {
	key []byte
	now func() time.Time
}

// NewIssuer returns an Issuer that signs with key, which must have KeySize
// bytes. Tokens outlive the process if the key does. now tells the time.
func NewIssuer(key []byte, now func() time.Time) (*Issuer, error) {
	if len(key) != KeySize {
		return nil, fmt.Errorf("token: the key has %d bytes, want %d", len(key), KeySize)
	}
	return &Issuer{key: slices.Clone(key), now: now}, nil
}

// A claimsJSON is how Claims stand in a token.
type claimsJSON struct {
	User    string     `json:"u,omitempty"`
	Via     auth.Via   `json:"v,omitempty"`
	Issued  int64      `json:"i"` // Unix time in seconds
	Expires int64      `json:"e"`
	Catalog int        `json:"c,omitempty"`
	Admin   int        `json:"a,omitempty"`
	Repos   [][]string `json:"r,omitempty"` // name, actions…
}

// Issue returns a token of p for g, and what it says. The token is not bound to
// the address of p: where its holder is, each request says anew.
func (i *Issuer) Issue(p auth.Principal, g auth.Grants) (string, auth.Claims, error) {
	now := i.now().UTC().Truncate(time.Second)
	c := auth.Claims{Principal: auth.Principal{Name: p.Name, Via: p.Via}, Grants: g, Issued: now, Expires: now.Add(TTL)}
	raw := claimsJSON{User: p.Name, Via: p.Via, Issued: c.Issued.Unix(), Expires: c.Expires.Unix()}
	if g.Catalog {
		raw.Catalog = 1
	}
	if g.Admin {
		raw.Admin = 1
	}
	for _, r := range g.Repos {
		entry := []string{r.Repo.String()}
		for _, a := range r.Actions {
			entry = append(entry, string(a))
		}
		raw.Repos = append(raw.Repos, entry)
	}
	body, err := json.Marshal(raw)
	if err != nil {
		return "", auth.Claims{}, fmt.Errorf("token: %w", err)
	}
	text := prefix + base64.RawURLEncoding.EncodeToString(body)
	if text += "." + i.sign(text); len(text) > MaxSize {
		return "", auth.Claims{}, ErrTooMany
	}
	return text, c, nil
}

// Verify reads a token. The error is auth.ErrInvalid or auth.ErrExpired; with the
// latter it returns what the token said, which is good for nothing but going on
// with an upload, until auth.Overtime is over.
func (i *Issuer) Verify(text string) (auth.Claims, error) {
	if len(text) > MaxSize || !strings.HasPrefix(text, prefix) {
		return auth.Claims{}, auth.ErrInvalid
	}
	dot := strings.LastIndexByte(text, '.')
	if !hmac.Equal([]byte(text[dot+1:]), []byte(i.sign(text[:dot]))) {
		return auth.Claims{}, auth.ErrInvalid
	}
	body, err := base64.RawURLEncoding.DecodeString(text[min(len(prefix), dot):dot])
	if err != nil {
		return auth.Claims{}, auth.ErrInvalid
	}
	c, err := readClaims(body)
	if err != nil {
		return auth.Claims{}, err
	}
	switch now := i.now(); {
	case now.Before(c.Issued.Add(-skew)), !now.Before(c.Expires.Add(auth.Overtime)):
		return auth.Claims{}, auth.ErrInvalid
	case !now.Before(c.Expires):
		return c, auth.ErrExpired
	}
	return c, nil
}

// sign returns the signature of text as it stands in a token. Signatures are
// compared in this form, so that a token has one spelling only.
func (i *Issuer) sign(text string) string {
	mac := hmac.New(sha256.New, i.key)
	mac.Write([]byte(text))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// readClaims reads the body of a token whose signature is right.
func readClaims(body []byte) (auth.Claims, error) {
	var raw claimsJSON
	if err := json.Unmarshal(body, &raw); err != nil {
		return auth.Claims{}, auth.ErrInvalid
	}
	c := auth.Claims{
		Principal: auth.Principal{Name: raw.User, Via: raw.Via},
		Issued:    time.Unix(raw.Issued, 0).UTC(),
		Expires:   time.Unix(raw.Expires, 0).UTC(),
		Grants:    auth.Grants{Catalog: raw.Catalog == 1, Admin: raw.Admin == 1},
	}
	for _, entry := range raw.Repos {
		if len(entry) == 0 {
			return auth.Claims{}, auth.ErrInvalid
		}
		repo, err := oci.ParseRepo(entry[0])
		if err != nil {
			return auth.Claims{}, auth.ErrInvalid
		}
		g := auth.RepoGrant{Repo: repo}
		for _, a := range entry[1:] {
			g.Actions = append(g.Actions, auth.Action(a))
		}
		c.Grants.Repos = append(c.Grants.Repos, g)
	}
	return c, nil
}
