package distapi

import (
	"errors"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"berth/internal/auth"
	"berth/internal/auth/token"
	"berth/internal/distapi/route"
	"berth/internal/oci"
)

// An identity is who sent a request, and by what it is known.
type identity struct {
	who    auth.Principal
	claims *auth.Claims // of the token, if it was one
}

// identify finds out who sent r, and from where. Nobody is wrong who shows
// nothing; whoever shows something must be right.
func (h *Handler) identify(r *http.Request, c *call) (identity, error) {
	id, err := h.byHeaders(r, c)
	id.who.Address = c.peer.Addr
	return id, err
}

func (h *Handler) byHeaders(r *http.Request, c *call) (identity, error) {
	if !h.logsIn() {
		return identity{}, nil
	}
	scheme, value, err := authorization(r)
	if err != nil {
		return identity{}, err
	}
	if who, err := h.byProxy(r, c); err != nil || !who.Anonymous() {
		return identity{who: who}, err
	}
	switch {
	case scheme == "":
		return identity{}, nil
	case strings.EqualFold(scheme, "Bearer") && h.verifier() != nil:
		return h.verify(value, c.route)
	case h.Auth == nil:
		return identity{}, nil
	}
	creds, ok := h.basic(r, c)
	if !ok {
		return identity{}, refuse(http.StatusUnauthorized, oci.Unauthorized, "the Authorization header is not one that the registry understands: log in with a user name and a password")
	}
	who, err := h.logIn(r, creds)
	return identity{who: who}, err
}

// logsIn reports whether there is any way to log in.
func (h *Handler) logsIn() bool {
	return h.Auth != nil || h.ProxyHeader != "" || h.TokenServer != nil
}

// verifier returns what reads tokens; nil where there are none.
func (h *Handler) verifier() TokenVerifier {
	switch {
	case h.TokenServer != nil:
		return h.TokenServer.Verifier
	case h.Tokens != nil:
		return h.Tokens
	}
	return nil
}

// byProxy returns the user that a trusted proxy says it has logged in, or nobody.
// From anyone else the header is dropped, so that nothing can take it for true.
func (h *Handler) byProxy(r *http.Request, c *call) (auth.Principal, error) {
	if h.ProxyHeader == "" {
		return auth.Principal{}, nil
	}
	basic := http.CanonicalHeaderKey(h.ProxyHeader) == "Authorization"
	if !c.peer.Trusted {
		if !basic {
			r.Header.Del(h.ProxyHeader)
		}
		return auth.Principal{}, nil
	}
	var name string
	if basic {
		name, _, _ = r.BasicAuth()
	} else if list := r.Header.Values(h.ProxyHeader); len(list) == 1 {
		name = list[0]
	} else if len(list) > 1 {
		return auth.Principal{}, refuse(http.StatusBadRequest, oci.Unauthorized, "there is more than one "+h.ProxyHeader+" header: the proxy must set it, not add to it")
	}
	if !plainName(name) {
		return auth.Principal{}, refuse(http.StatusBadRequest, oci.Unauthorized, "the proxy names a user whose name is no text of at most 255 bytes without control characters")
	}
	return auth.Principal{Name: name, Via: auth.ViaProxy}, nil
}

// plainName reports whether s can be the name of a user, in logs too.
func plainName(s string) bool {
	return len(s) <= 255 && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// authorization returns the scheme and the value of the Authorization header,
// both empty if there is none. Of two, each of two readers could believe
// another one, so two are refused.
func authorization(r *http.Request) (scheme, value string, err error) {
	list := r.Header["Authorization"]
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

func (h *Handler) basic(r *http.Request, c *call) (auth.Credentials, bool) {
	user, password, ok := r.BasicAuth()
	return auth.Credentials{User: user, Password: password, Address: c.peer.Addr}, ok
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
	c, err := h.verifier().Verify(text)
	if errors.Is(err, auth.ErrExpired) && continues(rt.Kind) {
		err = nil
	}
	if err == nil && h.TokenServer == nil && h.Known != nil && !c.Principal.Anonymous() && !h.Known(c.Principal) {
		err = auth.ErrInvalid
	}
	if err != nil {
		return identity{}, &challengeError{problem: "invalid_token", kind: rt.Kind, needs: tokenNeeds(rt)}
	}
	who := c.Principal
	if h.TokenServer != nil {
		who.Via, who.Limit = auth.ViaToken, &c.Grants
	}
	return identity{who: who, claims: &c}, nil
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
	if a := rt.Kind.Needs(); a != "" {
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

// admitAddress turns away who comes from where nobody has any right, before a
// password is looked at: there is nothing to guess from there.
func (h *Handler) admitAddress(c *call) error {
	somebody := auth.Principal{Address: c.peer.Addr}
	if d := h.Policy.Enters(somebody); d.Verdict == auth.Denied {
		return &auth.DeniedError{Principal: somebody, Access: access(c.route)}
	}
	return nil
}

// admit asks the policy, before a byte of the body has been read, what the
// Service will ask it again. And it holds a token to what it was made for.
func (h *Handler) admit(c *call) error {
	need, claims := access(c.route), c.id.claims
	scoped := need != (auth.Access{})
	if scoped {
		d := h.Policy.Decide(c.id.who, need)
		if !d.Allowed() && (claims == nil || d.Verdict != auth.NeedsLogIn && d.Verdict != auth.OutOfScope) {
			return &auth.DeniedError{Principal: c.id.who, Access: need, Verdict: d.Verdict}
		}
	}
	switch {
	case claims == nil, c.route.Kind == route.Ping,
		c.route.Kind == route.Catalog && claims.Grants.Catalog,
		scoped && claims.Grants.Allows(need):
		return nil
	}
	return &challengeError{problem: "insufficient_scope", kind: c.route.Kind, needs: tokenNeeds(c.route)}
}

// readable reports whether who may pull from a repository: what lists and mounts
// are limited to. nil means from all.
func (h *Handler) readable(who auth.Principal) func(oci.Repo) bool {
	if b, ok := h.Policy.(auth.Bounded); ok && b.Within(who, auth.Pull).All {
		return nil
	}
	return func(repo oci.Repo) bool {
		return h.Policy.Decide(who, auth.Access{Repo: repo, Action: auth.Pull}).Allowed()
	}
}

// tokenNeeds returns what the token must be for of a request that was denied a.
func (c *call) tokenNeeds(a auth.Access) []auth.Access {
	if c.route.Kind == route.None { // another API's
		return []auth.Access{a}
	}
	return tokenNeeds(c.route)
}

// A challengeError asks for a token, or another one.
type challengeError struct {
	problem string // as in RFC 6750, section 3.1
	kind    route.Kind
	needs   []auth.Access // what the token must be for; the zero Access is nothing
	catalog bool          // and for listing repositories
}

func (e *challengeError) Error() string { return "token: " + e.problem }

// tokenServer returns where a client gets its tokens and what the registry is
// called there; nothing where there are no tokens.
func (h *Handler) tokenServer(c *call) (realm, service string) {
	if h.TokenServer != nil {
		return h.TokenServer.Realm, h.TokenServer.Service
	}
	if base, ok := h.base(c); ok && h.Tokens != nil {
		return base + route.Route{Kind: route.TokenGet}.String(), token.Service
	}
	return "", ""
}

// challenge returns the WWW-Authenticate header that says what e does. Without
// a problem no token came.
func (h *Handler) challenge(c *call, e *challengeError) string {
	realm, service := h.tokenServer(c)
	if realm == "" || isToken(e.kind) {
		return "Basic realm=" + quoted(h.Realm)
	}
	text := "Bearer realm=" + quoted(realm) + ",service=" + quoted(service)
	var scopes []string
	for _, a := range e.needs {
		if a != (auth.Access{}) {
			scopes = append(scopes, token.Scope(a))
		}
	}
	if e.kind == route.Catalog || e.catalog {
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
