package token

import (
	"strings"

	"berth/internal/auth"
	"berth/internal/oci"
)

// Grant returns what of the scopes p may have now. What it doesn't understand
// it doesn't grant. The error is ErrTooMany or nil.
//
// Each text holds scopes separated by spaces, such as
// "repository:library/alpine:pull,push" or "registry:catalog:*".
func Grant(scopes []string, p auth.Principal, policy auth.Policy) (auth.Grants, error) {
	var g auth.Grants
	seen := 0
	for _, text := range scopes {
		for s := range strings.FieldsSeq(text) {
			if seen++; seen > MaxScopes {
				return auth.Grants{}, ErrTooMany
			}
			add(&g, s, p, policy)
		}
	}
	return g, nil
}

// add grants what p may have of one scope. It is read from both ends: the type
// stands before the first colon, the actions behind the last one, and a name
// may hold colons, though none that is a repository of ours does.
func add(g *auth.Grants, scope string, p auth.Principal, policy auth.Policy) {
	if scope == CatalogScope {
		g.Catalog = true // what the list shows is for the policy to say
		return
	}
	if scope == AdminScope {
		g.Admin = g.Admin || policy.Decide(p, auth.Access{Action: auth.Inspect}).Allowed()
		return
	}
	name, ok := strings.CutPrefix(scope, "repository:")
	if !ok {
		return
	}
	colon := strings.LastIndexByte(name, ':')
	if colon < 0 {
		return
	}
	repo, err := oci.ParseRepo(name[:colon])
	if err != nil {
		return
	}
	for action := range strings.SplitSeq(name[colon+1:], ",") {
		for _, a := range actions(action) {
			if access := (auth.Access{Repo: repo, Action: a}); !g.Allows(access) && policy.Decide(p, access).Allowed() {
				g.Add(access)
			}
		}
	}
}

// actions returns what an action of a scope stands for. The specification knows
// no scope for creating alone, so whoever asks to push gets as much of it as
// there is. The star is how skopeo asks for whatever deleting takes: everything
// that the user has anyway.
func actions(s string) []auth.Action {
	switch a := auth.Action(s); a {
	case auth.Pull, auth.Delete:
		return []auth.Action{a}
	case auth.Push:
		return []auth.Action{auth.Push, auth.Create}
	case "*":
		return []auth.Action{auth.Pull, auth.Push, auth.Create, auth.Delete}
	}
	return nil
}

// CatalogScope is the scope to ask for to list repositories.
const CatalogScope = "registry:catalog:*"

// AdminScope is the scope to ask for to administer the registry.
const AdminScope = "registry:admin:*"

// Scope returns the scope to ask for when a is needed, as it stands in a
// challenge. Whoever pushes will read what is there already, too.
func Scope(a auth.Access) string {
	if a.Action.Whole() {
		return AdminScope
	}
	actions := string(a.Action)
	if a.Action == auth.Push || a.Action == auth.Create {
		actions = "pull,push"
	}
	return "repository:" + a.Repo.String() + ":" + actions
}
