package auth

import (
	"errors"
	"slices"
	"time"

	"berth/internal/oci"
)

var (
	// ErrInvalid says that a token is none that may be believed.
	ErrInvalid = errors.New("auth: the token is not valid")

	// ErrExpired says that a token has been good, and not long ago.
	ErrExpired = errors.New("auth: the token has expired")
)

// Overtime is how long behind its end a token lets its holder continue an
// upload of theirs: layers may take longer to push than a token lives.
const Overtime = 24 * time.Hour

// Claims are what a token says.
type Claims struct {
	Principal Principal
	Grants    Grants
	Issued    time.Time
	Expires   time.Time
}

// Grants are what a token lets its holder do, at most: the policy is asked
// again with every request.
type Grants struct {
	Repos   []RepoGrant
	Catalog bool // may list repositories
	Admin   bool // may administer the registry
}

// A RepoGrant is what may be done with one repository.
type RepoGrant struct {
	Repo    oci.Repo
	Actions []Action
}

// Allows reports whether a is among the grants. A grant to push is one to
// create, too.
func (g Grants) Allows(a Access) bool {
	if a.Action.Whole() {
		return g.Admin
	}
	return slices.ContainsFunc(g.Repos, func(r RepoGrant) bool {
		return r.Repo == a.Repo && (slices.Contains(r.Actions, a.Action) ||
			a.Action == Create && slices.Contains(r.Actions, Push))
	})
}

// Add adds a to the grants.
func (g *Grants) Add(a Access) {
	for i := range g.Repos {
		if g.Repos[i].Repo == a.Repo {
			if !slices.Contains(g.Repos[i].Actions, a.Action) {
				g.Repos[i].Actions = append(g.Repos[i].Actions, a.Action)
			}
			return
		}
	}
	g.Repos = append(g.Repos, RepoGrant{Repo: a.Repo, Actions: []Action{a.Action}})
}
