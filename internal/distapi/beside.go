package distapi

import (
	"net/http"

	"berth/internal/auth"
	"berth/internal/event"
	"berth/internal/oci"
)

// A Caller is who sent a request to another API of the same registry.
type Caller struct {
	Principal auth.Principal
	By        event.Actor

	claims *auth.Claims
	policy auth.Policy
}

// Check returns nil if the caller may do a, and else an error that Beside answers.
func (c Caller) Check(a auth.Access) error { return check(c.policy, c.Principal, c.claims, a) }

// Enter returns nil if the caller may ask what repositories there are, and else an
// error that Beside answers.
func (c Caller) Enter() error {
	d := c.policy.Enters(c.Principal)
	if d.Verdict == auth.NeedsLogIn {
		return &challengeError{catalog: true}
	}
	if !d.Allowed() {
		return &auth.DeniedError{Principal: c.Principal, Verdict: d.Verdict}
	}
	if c.claims != nil && !c.claims.Grants.Catalog {
		return &challengeError{problem: "insufficient_scope", catalog: true}
	}
	return nil
}

// Readable reports whether lists may name repo to the caller.
func (c Caller) Readable(repo oci.Repo) bool {
	return c.policy.Decide(c.Principal.Lister(), auth.Access{Repo: repo, Action: auth.Pull}).Allowed()
}

// check asks the policy, and holds a token to what it was made for.
func check(policy auth.Policy, who auth.Principal, claims *auth.Claims, a auth.Access) error {
	d := policy.Decide(who, a)
	switch {
	case !d.Allowed() && (claims == nil || d.Verdict != auth.NeedsLogIn && d.Verdict != auth.OutOfScope):
		return &auth.DeniedError{Principal: who, Access: a, Verdict: d.Verdict}
	case claims != nil && !claims.Grants.Allows(a):
		return &challengeError{problem: "insufficient_scope", needs: []auth.Access{a}}
	}
	return nil
}

// Beside returns a handler of another API of the same registry: who sends a request
// is found out as here, and errors are answered as here. next answers, or returns
// an error instead. Where methods are refused, the Allow header that it has set
// stays.
func (h *Handler) Beside(next func(http.ResponseWriter, *http.Request, Caller) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.answer(w, r, func(c *call) error {
			if err := refuseEncoding(r); err != nil {
				return err
			}
			if err := h.admitAddress(c); err != nil {
				return err
			}
			var err error
			if c.id, err = h.identify(r, c); err != nil {
				return err
			}
			c.by = h.actor(w, r, c)
			return next(w, r, Caller{Principal: c.id.who, By: c.by, claims: c.id.claims, policy: h.Policy})
		})
	})
}
