package distapi

import (
	"errors"
	"net/http"
	"strings"

	"berth/internal/auth"
	"berth/internal/auth/token"
	"berth/internal/distapi/route"
	"berth/internal/oci"
)

// An identity is who sent a request, and by what it is known.
type identity struct {
	who    auth.Principal
	claims *token.Claims // of the token, if it was one
}

// identify finds out who sent r. Nobody is wrong who shows nothing; whoever
// shows something must be right.
func (h *Handler) identify(r *http.Request, rt route.Route) (identity, error) {
	if h.Auth == nil {
		return identity{}, nil
	}
	scheme, value, err := authorization(r)
	switch {
	case err != nil || scheme == "":
		return identity{}, err
	case strings.EqualFold(scheme, "Bearer") && h.Tokens != nil:
		return h.verify(value, rt)
	}
	c, ok := h.basic(r)
	if !ok {
		return identity{}, refuse(http.StatusUnauthorized, oci.Unauthorized, "the Authorization header is not one that the registry understands: log in with a user name and a password")
	}
	who, err := h.logIn(r, c)
	return identity{who: who}, err
}

// authorization returns the scheme and the value of the Authorization header,
// both empty if there is none. Of two, each of two readers could believe
// another one, so two are refused.
func authorization(r *http.Request) (scheme, value string, err error) {
	list := r.Header.Values("Authorization")
	switch len(list) {
	case 0:
		return "", "", nil
	case 1:
		scheme, value, _ = strings.Cut(list[0], " ")
		if scheme == "" {
			scheme = "?" // there was something
		}
		return scheme, value, nil
	}
	return "", "", refuse(http.StatusBadRequest, oci.Unauthorized, "there is more than one Authorization header: send one")
}

func (h *Handler) basic(r *http.Request) (auth.Credentials, bool) {
	user, password, ok := r.BasicAuth()
	return auth.Credentials{User: user, Password: password, Address: h.peer(r).Addr}, ok
}

// logIn asks the authenticator. Its errors are answers to the client, or wrap
// errUnavailable.
func (h *Handler) logIn(r *http.Request, c auth.Credentials) (auth.Principal, error) {
	who, err := h.Auth.Authenticate(r.Context(), c)
	_, throttled := errors.AsType[*auth.ThrottledError](err)
	switch {
	case err == nil && !who.Anonymous():
		return who, nil
	case throttled:
		return auth.Principal{}, err
	case err == nil, errors.Is(err, auth.ErrRejected), errors.Is(err, auth.ErrNotMine):
		return auth.Principal{}, refuse(http.StatusUnauthorized, oci.Unauthorized, "wrong user name or password")
	}
	return auth.Principal{}, &unavailableError{err}
}

// verify reads a token. One that has expired lets its holder go on with an
// upload, which the Service knows to be theirs, and nothing else.
func (h *Handler) verify(text string, rt route.Route) (identity, error) {
	c, err := h.Tokens.Verify(text)
	if errors.Is(err, token.ErrExpired) && continues(rt.Kind) {
		err = nil
	}
	if err == nil && h.Known != nil && !c.Principal.Anonymous() && !h.Known(c.Principal) {
		err = token.ErrInvalid
	}
	if err != nil {
		return identity{}, &challengeError{problem: "invalid_token", kind: rt.Kind, needs: tokenNeeds(rt)}
	}
	return identity{who: c.Principal, claims: &c}, nil
}

// continues reports whether k goes on with an upload.
func continues(k route.Kind) bool {
	switch k {
	case route.UploadStatus, route.UploadAppend, route.UploadFinish, route.UploadCancel:
		return true
	}
	return false
}

// access returns what a request needs, and the zero Access for those that are
// not about one repository.
func access(rt route.Route) auth.Access {
	if a := rt.Kind.Endpoint().Needs; a != "" {
		return auth.Access{Repo: rt.Repo, Action: a}
	}
	return auth.Access{}
}

// tokenNeeds returns what the token of a request must be for: access, and for a mount
// its source. It stands in the first challenge already, because some clients
// don't ask for a second token.
func tokenNeeds(rt route.Route) []auth.Access {
	list := []auth.Access{access(rt)}
	if !rt.Mount.IsZero() && !rt.From.IsZero() {
		list = append(list, auth.Access{Repo: rt.From, Action: auth.Pull})
	}
	return list
}

// admit asks the policy, before a byte of the body has been read, what the
// Service will ask it again. And it holds a token to what it was made for.
func (h *Handler) admit(c *call) error {
	need, claims := access(c.route), c.id.claims
	scoped := need != (auth.Access{})
	switch {
	case scoped && !h.Policy.Allows(c.id.who, need) && (claims == nil || !c.id.who.Anonymous()):
		return &auth.DeniedError{Principal: c.id.who, Access: need}
	case claims == nil, c.route.Kind == route.Ping,
		c.route.Kind == route.Catalog && claims.Grants.Catalog,
		scoped && claims.Grants.Allows(need):
		return nil
	}
	return &challengeError{problem: "insufficient_scope", kind: c.route.Kind, needs: tokenNeeds(c.route)}
}

// readable reports whether the caller may pull from repo: what lists and mounts
// are limited to.
func (h *Handler) readable(c *call) func(oci.Repo) bool {
	return func(repo oci.Repo) bool {
		return h.Policy.Allows(c.id.who, auth.Access{Repo: repo, Action: auth.Pull})
	}
}

// A challengeError asks for a token, or another one.
type challengeError struct {
	problem string // as in RFC 6750, section 3.1
	kind    route.Kind
	needs   []auth.Access // what the token must be for; the zero Access is nothing
}

func (e *challengeError) Error() string { return "token: " + e.problem }

// challenge returns the WWW-Authenticate header that says what e does. Without
// a problem no token came.
func (h *Handler) challenge(r *http.Request, e *challengeError) string {
	base := h.ExternalURL
	if base == "" {
		if p := h.peer(r); validHost(p.Host) {
			base = p.Scheme + "://" + p.Host
		}
	}
	if h.Tokens == nil || base == "" || isToken(e.kind) {
		return "Basic realm=" + quoted(h.Realm)
	}
	text := "Bearer realm=" + quoted(base+route.Route{Kind: route.TokenGet}.String()) + ",service=" + quoted(token.Service)
	var scopes []string
	for _, a := range e.needs {
		if a != (auth.Access{}) {
			scopes = append(scopes, token.Scope(a))
		}
	}
	if e.kind == route.Catalog {
		scopes = append(scopes, token.CatalogScope)
	}
	if len(scopes) > 0 {
		text += ",scope=" + quoted(strings.Join(scopes, " "))
	}
	if e.problem != "" {
		text += ",error=" + quoted(e.problem)
	}
	return text
}

// validHost accepts host and host:port of letters, digits and what addresses
// are written with, so that nothing else gets into a challenge.
func validHost(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20 // lower case
		if !('a' <= c && c <= 'z' || '0' <= s[i] && s[i] <= '9' || strings.IndexByte("-._:[]", s[i]) >= 0) {
			return false
		}
	}
	return s != "" && len(s) <= 255
}

// quoted returns s as a quoted string of RFC 9110, section 5.6.4.
func quoted(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
		case c < ' ' || c > '~':
			c = '?'
		}
		b.WriteRune(c)
	}
	b.WriteByte('"')
	return b.String()
}
