// Package auth says who is asking and what they may do.
//
// It holds the vocabulary (Principal, Access, Credentials) and the two
// interfaces behind which log-in and policy live. It knows nothing of HTTP, of
// files and of how repositories are stored.
package auth

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"berth/internal/oci"
)

// A Principal is whoever a request was found to come from. The zero Principal
// is anonymous, and somewhere unknown.
type Principal struct {
	Name    string     // the user's name; empty means anonymous
	Address netip.Addr // where the client is, as far as it can be believed; invalid if it has none
	Via     Via        // by what the name is known

	// Limit is what the token of another server is for, which is as much as its
	// holder may do here. Nil sets no limit.
	Limit *Grants
}

// Via says who checked that a Principal is who it says.
type Via string

// The ways in which a name becomes known. ViaRegistry is log-in with the
// registry itself.
const (
	ViaRegistry Via = ""
	ViaProxy    Via = "proxy" // a trusted proxy said so
	ViaToken    Via = "token" // the token of another server says so
)

// Anonymous reports whether nobody logged in. Who brings the token of another
// server has, whether or not that names a user.
func (p Principal) Anonymous() bool { return p.Name == "" && p.Via != ViaToken }

// Lister returns p as who asks which repositories there are. A token for that
// list is for the whole of it.
func (p Principal) Lister() Principal {
	if p.Limit != nil && p.Limit.Catalog {
		p.Limit = nil
	}
	return p
}

// Credentials are what a client presented: a user name and a password.
type Credentials struct {
	User     string
	Password string
	Address  netip.Addr // where the client is, as far as it can be believed
}

// String hides the password, so that credentials cannot end up in a log.
func (c Credentials) String() string { return fmt.Sprintf("credentials of %q", c.User) }

// ErrNotMine is returned by an Authenticator for credentials of a kind or a
// user that it does not handle, so that the next one is asked.
var ErrNotMine = errors.New("auth: not handled by this authenticator")

// ErrRejected is returned by an Authenticator for credentials that it handles
// and refuses. It does not say which part was wrong.
var ErrRejected = errors.New("auth: wrong user name or password")

// A ThrottledError is returned instead of an answer when too many wrong
// credentials came for the same user from the same address. It never hits
// credentials that are known to be good.
type ThrottledError struct {
	RetryAfterSeconds int // at least 1
}

func (e *ThrottledError) Error() string {
	return fmt.Sprintf("auth: too many wrong log-ins, try again in %d s", e.RetryAfterSeconds)
}

// An Authenticator turns credentials into a Principal. It returns ErrNotMine,
// ErrRejected or a *ThrottledError (possibly wrapped), or another error when it
// could not find out. It may be called concurrently.
type Authenticator interface {
	Authenticate(ctx context.Context, c Credentials) (Principal, error)
}

// An Action is what someone wants to do with a repository, or with the registry as
// a whole.
type Action string

// The actions. Pull, Push and Delete are named as in the scopes of the token
// specification. Push is more than Create, and whoever may push may create.
const (
	Pull   Action = "pull"
	Create Action = "create" // push content and new tags
	Push   Action = "push"   // that, and point tags that exist to something else
	Delete Action = "delete"
)

// The actions that are about the registry as a whole, and about no repository.
// Whoever may do the one may do the other; they differ in a registry that is
// read-only.
const (
	Admin   Action = "admin"   // have it do what only its operator asks for
	Inspect Action = "inspect" // see what concerns nobody but its operator
)

// Whole reports whether a is about the registry as a whole.
func (a Action) Whole() bool { return a == Admin || a == Inspect }

// Writes reports whether a changes anything.
func (a Action) Writes() bool { return a != Pull && a != Inspect }

// An Access is one action on one repository, or on the registry as a whole.
type Access struct {
	Repo   oci.Repo // zero for what is about the registry as a whole
	Action Action
}

// A Policy decides. It must be fast: it is asked for every request and, when
// listing, for every repository. What it does not know it denies.
type Policy interface {
	Decide(p Principal, a Access) Decision

	// Enters decides whether p may talk to the registry at all: GET /v2/ and the
	// list of repositories.
	Enters(p Principal) Decision
}

// A Bounded is a Policy that can say beforehand where to look for what it allows,
// so that a list of repositories need not go through those of all others, nor ask
// about each.
type Bounded interface {
	Policy

	// Within returns where the repositories are on which p may do a.
	Within(p Principal, a Action) Reach
}

// A Reach says which repositories something may be allowed on.
type Reach struct {
	All bool // it is, on every one

	// Prefixes are what the names of the others begin with: in byte order, none the
	// beginning of another. Not all that begin so are allowed.
	Prefixes []string
}

// A Decision is the answer of a Policy. The zero Decision denies.
type Decision struct {
	Verdict Verdict
	Rule    int // which one allows it, counted from 1; 0 if none does
}

// Allowed reports whether it may be done.
func (d Decision) Allowed() bool { return d.Verdict == Allowed }

// A Verdict is what a Decision comes down to.
type Verdict uint8

// The verdicts.
const (
	Denied     Verdict = iota
	NeedsLogIn         // denied to the anonymous, where logging in from the same address may help
	ReadOnly           // only denied because the registry takes no writes at present
	OutOfScope         // only denied because the token isn't for it: another one may be
	Allowed
)

// A DeniedError says that Principal may not do Access. The edge turns it into
// 401 with a challenge, 403 or 405, as Verdict says.
type DeniedError struct {
	Principal Principal
	Access    Access // the zero Access means entering the registry at all
	Verdict   Verdict
}

func (e *DeniedError) Error() string {
	switch {
	case e.Verdict == ReadOnly:
		return "auth: the registry is read-only"
	case e.Access == (Access{}):
		return fmt.Sprintf("auth: %q may not enter from %s", e.Principal.Name, e.Principal.Address)
	case e.Access.Action.Whole():
		return fmt.Sprintf("auth: %q may not administer the registry from %s", e.Principal.Name, e.Principal.Address)
	}
	return fmt.Sprintf("auth: %q may not %s %s from %s", e.Principal.Name, e.Access.Action, e.Access.Repo, e.Principal.Address)
}
