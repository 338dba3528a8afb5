package bearer

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"berth/internal/auth"
	"berth/internal/oci"
)

// maxUser is how many bytes the name of a user may have.
const maxUser = 255

// A claimsJSON is what a token says, of what is read here.
type claimsJSON struct {
	Issuer    string   `json:"iss"`
	Subject   string   `json:"sub"`
	Audience  audience `json:"aud"`
	Expires   *instant `json:"exp"`
	NotBefore *instant `json:"nbf"`
	Issued    *instant `json:"iat"`
	Access    []struct {
		Type    string   `json:"type"`
		Name    string   `json:"name"`
		Actions []string `json:"actions"`
	} `json:"access"`
}

// An audience is one text or a list of texts (RFC 7519, section 4.1.3).
type audience []string

// UnmarshalJSON reads either form.
func (a *audience) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(a))
}

// An instant is a number of seconds since 1970, which need not be whole.
type instant struct{ time.Time }

// UnmarshalJSON reads a number that is a time within the next ten thousand years.
func (i *instant) UnmarshalJSON(b []byte) error {
	var seconds float64
	if err := json.Unmarshal(b, &seconds); err != nil {
		return err
	}
	if seconds <= 0 || seconds > 1<<38 {
		return auth.ErrInvalid
	}
	i.Time = time.Unix(int64(seconds), 0).UTC()
	return nil
}

// read reads the body of a token whose signature is right.
func (v *Verifier) read(body []byte) (auth.Claims, error) {
	var raw claimsJSON
	if json.Unmarshal(body, &raw) != nil ||
		raw.Issuer != v.issuer || !slices.Contains(raw.Audience, v.service) ||
		raw.Expires == nil || raw.NotBefore == nil || !plain(raw.Subject) {
		return auth.Claims{}, auth.ErrInvalid
	}
	if raw.Issued == nil {
		raw.Issued = raw.NotBefore
	}
	c := auth.Claims{
		Principal: auth.Principal{Name: raw.Subject, Via: auth.ViaToken},
		Grants:    raw.grants(),
		Issued:    raw.Issued.Time,
		Expires:   raw.Expires.Time,
	}
	now := v.now()
	switch end := c.Expires.Add(skew); {
	case now.Before(raw.NotBefore.Add(-skew)), now.Before(raw.Issued.Add(-skew)), now.After(end.Add(auth.Overtime)):
		return auth.Claims{}, auth.ErrInvalid
	case now.After(end):
		return c, auth.ErrExpired
	}
	return c, nil
}

// plain reports whether s can be the name of a user, in logs too. It may be
// empty: some servers give tokens to those who don't log in.
func plain(s string) bool {
	return len(s) <= maxUser && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// grants returns what a token is for. What isn't understood grants nothing.
func (raw claimsJSON) grants() auth.Grants {
	var g auth.Grants
	actions := map[oci.Repo][]string{}
	for _, a := range raw.Access {
		switch a.Type {
		case "registry":
			all := slices.Contains(a.Actions, "*")
			g.Catalog = g.Catalog || a.Name == "catalog" && all
			g.Admin = g.Admin || a.Name == "admin" && all
		case "repository":
			if repo, err := oci.ParseRepo(a.Name); err == nil {
				actions[repo] = append(actions[repo], a.Actions...)
			}
		}
	}
	for repo, names := range actions {
		for _, action := range []auth.Action{auth.Pull, auth.Push, auth.Delete} {
			if has(names, action) {
				g.Add(auth.Access{Repo: repo, Action: action})
			}
		}
	}
	return g
}

// has reports whether the actions of a token hold one. Whoever pushes reads what
// is there already, so that push counts beside pull only, as with registry:2.
func has(names []string, action auth.Action) bool {
	if slices.Contains(names, "*") {
		return true
	}
	return slices.Contains(names, string(action)) && (action != auth.Push || slices.Contains(names, string(auth.Pull)))
}
