package distapi

import (
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"time"

	"berth/internal/auth"
	"berth/internal/auth/token"
	"berth/internal/distapi/route"
	"berth/internal/oci"
)

// maxForm is how many bytes the form of a token request may have.
const maxForm = 64 << 10

func isToken(k route.Kind) bool { return k == route.TokenGet || k == route.TokenPost }

// tokenGet gives a token to the user of the Authorization header, or to the
// anonymous.
func (h *Handler) tokenGet(w http.ResponseWriter, r *http.Request, c *call) error {
	if h.Tokens == nil || h.TokenServer != nil {
		return noTokens()
	}
	q := r.URL.Query()
	for _, key := range []string{"password", "username", "refresh_token", "access_token"} {
		if q.Has(key) { // by now they stand in the logs of every proxy
			return refuse(http.StatusUnauthorized, oci.Unauthorized, "credentials do not belong into an address: send them in the Authorization header, and change the password")
		}
	}
	err := h.identifyFor(r, c, func() (auth.Principal, error) {
		if r.Header["Authorization"] == nil {
			return auth.Principal{}, nil
		}
		creds, ok := h.basic(r, c)
		if !ok {
			return auth.Principal{}, refuse(http.StatusUnauthorized, oci.Unauthorized, "send a user name and a password with the Basic scheme")
		}
		return h.logIn(r, creds)
	})
	if err != nil {
		return err
	}
	return h.giveToken(w, c.id.who, q["scope"])
}

// tokenPost gives a token for the user and password of a form (RFC 6749,
// section 4.3).
func (h *Handler) tokenPost(w http.ResponseWriter, r *http.Request, c *call) error {
	if h.Tokens == nil || h.TokenServer != nil {
		return noTokens()
	}
	form, err := h.readForm(w, r)
	if err != nil {
		return err
	}
	if grant := form.Get("grant_type"); grant != "password" {
		return refuse(http.StatusBadRequest, oci.Unsupported, "grant_type must be password: there are no refresh tokens here")
	}
	err = h.identifyFor(r, c, func() (auth.Principal, error) {
		return h.logIn(r, auth.Credentials{User: form.Get("username"), Password: form.Get("password"), Address: c.peer.Addr})
	})
	if err != nil {
		return err
	}
	return h.giveToken(w, c.id.who, form["scope"])
}

// identifyFor finds out who a token shall be for: whom a proxy has logged in, or
// else who logs in.
func (h *Handler) identifyFor(r *http.Request, c *call, logIn func() (auth.Principal, error)) error {
	if _, _, err := authorization(r); err != nil {
		return err
	}
	who, err := h.byProxy(r, c)
	if err == nil && who.Anonymous() && h.Auth != nil {
		who, err = logIn()
	}
	if err != nil {
		return err
	}
	who.Address = c.peer.Addr
	c.id.who = who
	return nil
}

// noTokens is the answer where there is no token endpoint.
func noTokens() error {
	return &route.RequestError{Status: http.StatusNotFound, Message: "this registry gives no tokens: log in with a user name and a password"}
}

func (h *Handler) readForm(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/x-www-form-urlencoded" {
		return nil, refuse(http.StatusUnsupportedMediaType, oci.Unsupported, "send the request for a token as application/x-www-form-urlencoded")
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	err := r.ParseForm()
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, refuse(http.StatusRequestEntityTooLarge, oci.SizeInvalid, "the request for a token is too large")
	}
	if err != nil {
		return nil, refuse(http.StatusBadRequest, oci.Unsupported, "the form is not valid")
	}
	return r.PostForm, nil
}

// giveToken answers with a token for what who may have of the scopes.
func (h *Handler) giveToken(w http.ResponseWriter, who auth.Principal, scopes []string) error {
	grants, err := token.Grant(scopes, who, h.Policy)
	var text string
	var claims auth.Claims
	if err == nil {
		text, claims, err = h.Tokens.Issue(who, grants)
	}
	if errors.Is(err, token.ErrTooMany) {
		return refuse(http.StatusBadRequest, oci.Unsupported, "too many scopes for one token: ask for fewer")
	}
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string]any{
		"token":        text,
		"access_token": text,
		"token_type":   "Bearer",
		"expires_in":   int(token.TTL / time.Second),
		"issued_at":    claims.Issued.Format(time.RFC3339),
	})
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(body) // an error here is the client's loss
	return nil
}
