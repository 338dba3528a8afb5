package auth

import (
	"testing"

	"berth/internal/oci"
)

// TestLimit holds that a token's limit only ever takes away, and which refusal
// it makes.
func TestLimit(t *testing.T) {
	repo := func(s string) oci.Repo {
		r, err := oci.ParseRepo(s)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	var limit Grants
	limit.Add(Access{Repo: repo("a"), Action: Pull})
	limit.Add(Access{Repo: repo("b"), Action: Pull})
	limit.Add(Access{Repo: repo("b"), Action: Push})
	limit.Add(Access{Repo: repo("b"), Action: Push})
	if n := len(limit.Repos[1].Actions); n != 2 {
		t.Errorf("got %d actions, want 2: %v", n, limit)
	}
	rules := []Rule{{Users: []string{Everyone}, Allow: []Action{Pull}}, {Users: []string{"alice"}, Allow: []Action{Push}}}
	policy, closed := NewRules(RuleBook{Rules: rules}), NewRules(RuleBook{Rules: rules, ReadOnly: true})
	alice, nameless := Principal{Name: "alice", Via: ViaToken, Limit: &limit}, Principal{Via: ViaToken, Limit: &limit}
	tests := []struct {
		name   string
		policy *Rules
		who    Principal
		repo   string
		action Action
		want   Verdict
	}{
		{"by both", policy, alice, "a", Pull, Allowed},
		{"push is create", policy, alice, "b", Create, Allowed},
		{"by the rules alone", policy, alice, "a", Push, OutOfScope},
		{"by the rules alone, elsewhere", policy, alice, "c", Pull, OutOfScope},
		{"by the token alone", policy, nameless, "b", Push, Denied},
		{"without a name", policy, nameless, "a", Pull, Allowed},
		{"by neither", policy, alice, "c", Delete, Denied},
		{"read-only before the scope", closed, alice, "a", Push, ReadOnly},
		{"without a limit", policy, Principal{Name: "alice"}, "c", Push, Allowed},
		{"not logged in", policy, Principal{}, "a", Pull, NeedsLogIn},
		{"not logged in, but limited", policy, Principal{Limit: &limit}, "a", Pull, NeedsLogIn},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.policy.Decide(tt.who, Access{Repo: repo(tt.repo), Action: tt.action}).Verdict; got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestLister(t *testing.T) {
	for _, catalog := range []bool{false, true} {
		limit := &Grants{Catalog: catalog}
		got := Principal{Name: "alice", Limit: limit}.Lister()
		if whole := got.Limit == nil; whole != catalog || got.Name != "alice" {
			t.Errorf("with a token for the list %v: got %+v", catalog, got)
		}
	}
}
