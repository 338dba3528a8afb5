package token

import (
	"errors"
	"strings"
	"testing"

	"berth/internal/auth"
)

// rules is a Policy of listed rights: "user action repository".
type rules map[string]bool

func (r rules) Decide(p auth.Principal, a auth.Access) auth.Decision {
	if r[p.Name+" "+string(a.Action)+" "+a.Repo.String()] {
		return auth.Decision{Verdict: auth.Allowed}
	}
	return auth.Decision{}
}

func (r rules) Enters(auth.Principal) auth.Decision { return auth.Decision{} }

// everything is a Policy that allows everything.
func everything() auth.Policy { return auth.NewRules(auth.RuleBook{Rules: auth.Open()}) }

// format writes grants as scopes.
func format(g auth.Grants) string {
	var list []string
	if g.Catalog {
		list = append(list, "catalog")
	}
	for _, r := range g.Repos {
		s := r.Repo.String() + ":"
		for i, a := range r.Actions {
			if i > 0 {
				s += ","
			}
			s += string(a)
		}
		list = append(list, s)
	}
	return strings.Join(list, " ")
}

func TestGrant(t *testing.T) {
	policy := rules{
		"alice pull team/x": true, "alice push team/x": true, "alice delete team/x": true, "alice pull team/y": true,
		"bob pull team/x": true, " pull open": true, "robot pull team/x": true, "robot create team/x": true,
		"alice create team/x": true,
	}
	tests := []struct {
		name, user, scope, want string
	}{
		{"nothing asked", "alice", "", ""},
		{"pull", "alice", "repository:team/x:pull", "team/x:pull"},
		{"pull and push", "alice", "repository:team/x:pull,push", "team/x:pull,push"},
		{"of pushing, what there is", "robot", "repository:team/x:pull,push", "team/x:pull,create"},
		{"everything of one who may create", "robot", "repository:team/x:*", "team/x:pull,create"},
		{"create is no action of a scope", "robot", "repository:team/x:create", ""},
		{"order as asked", "alice", "repository:team/x:push,pull", "team/x:push,pull"},
		{"twice", "alice", "repository:team/x:pull,pull repository:team/x:pull", "team/x:pull"},
		{"joined", "alice", "repository:team/x:pull repository:team/x:push", "team/x:pull,push"},
		{"less than asked", "bob", "repository:team/x:pull,push,delete", "team/x:pull"},
		{"everything one has", "alice", "repository:team/x:*", "team/x:pull,push,delete"},
		{"everything one has is little", "bob", "repository:team/x:*", "team/x:pull"},
		{"several", "alice", "repository:team/x:push repository:team/y:pull,push", "team/x:push team/y:pull"},
		{"mixed spaces", "alice", "  repository:team/x:push \t repository:team/y:pull ", "team/x:push team/y:pull"},
		{"some not", "bob", "repository:team/x:pull repository:team/y:pull", "team/x:pull"},
		{"anonymous", "", "repository:open:pull,push", "open:pull"},
		{"anonymous elsewhere", "", "repository:team/x:pull", ""},
		{"catalog", "alice", "registry:catalog:*", "catalog"},
		{"catalog and more", "alice", "registry:catalog:* repository:team/x:pull", "catalog team/x:pull"},
		{"catalog, other action", "alice", "registry:catalog:pull", ""},
		{"registry, other name", "alice", "registry:other:*", ""},
		{"unknown type", "alice", "image:team/x:pull", ""},
		{"type with a class", "alice", "repository(plugin):team/x:pull", ""},
		{"type in upper case", "alice", "Repository:team/x:pull", ""},
		{"no type", "alice", "team/x:pull", ""},
		{"no action", "alice", "repository:team/x", ""},
		{"empty action", "alice", "repository:team/x:", ""},
		{"unknown action", "alice", "repository:team/x:admin", ""},
		{"unknown action beside a known one", "alice", "repository:team/x:admin,pull", "team/x:pull"},
		{"action in upper case", "alice", "repository:team/x:PULL", ""},
		{"spaces between actions", "alice", "repository:team/x:pull, push", "team/x:pull"},
		{"name with a host and port", "alice", "repository:host:5000/team/x:pull", ""},
		{"name with a tag", "alice", "repository:team/x:latest:pull", ""},
		{"wildcard name", "alice", "repository:*:pull", ""},
		{"wildcard part", "alice", "repository:team/*:pull", ""},
		{"prefix", "alice", "repository:team:pull", ""},
		{"longer name", "alice", "repository:team-evil/x:pull", ""},
		{"deeper name", "alice", "repository:team/x/evil:pull", ""},
		{"upper case name", "alice", "repository:Team/X:pull", ""},
		{"escaped name", "alice", "repository:team%2Fx:pull", ""},
		{"dots", "alice", "repository:team/../team/x:pull", ""},
		{"slash behind", "alice", "repository:team/x/:pull", ""},
		{"empty name", "alice", "repository::pull", ""},
		{"only colons", "alice", ":::", ""},
		{"only the type", "alice", "repository:", ""},
		{"commas between scopes", "alice", "repository:team/x:pull,repository:team/y:pull", ""},
		{"other user", "mallory", "repository:team/x:pull", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g, err := Grant([]string{tt.scope}, auth.Principal{Name: tt.user}, policy)
			if err != nil {
				t.Fatal(err)
			}
			if got := format(g); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestGrantSeveralParameters(t *testing.T) {
	g, err := Grant([]string{"repository:a:pull", "repository:b:pull repository:a:push"}, auth.Principal{}, everything())
	if got, want := format(g), "a:pull,push b:pull"; err != nil || got != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}

func TestGrantTooMany(t *testing.T) {
	scopes := strings.Repeat("repository:a:pull ", MaxScopes)
	if _, err := Grant([]string{scopes}, auth.Principal{}, everything()); err != nil {
		t.Errorf("%d scopes: %v", MaxScopes, err)
	}
	if _, err := Grant([]string{scopes, "x"}, auth.Principal{}, everything()); !errors.Is(err, ErrTooMany) {
		t.Errorf("got %v, want ErrTooMany", err)
	}
}

func TestScope(t *testing.T) {
	tests := map[auth.Action]string{
		auth.Pull: "repository:a/b:pull", auth.Create: "repository:a/b:pull,push", auth.Push: "repository:a/b:pull,push", auth.Delete: "repository:a/b:delete",
	}
	for action, want := range tests {
		if got := Scope(auth.Access{Repo: repo(t, "a/b"), Action: action}); got != want {
			t.Errorf("%s: got %q, want %q", action, got, want)
		}
	}
}

func FuzzGrant(f *testing.F) {
	for _, s := range []string{"repository:a/b:pull,push", "repository:a:* registry:catalog:*", "repository:h:5000/a:pull", "::", "repository:a:pull,,push"} {
		f.Add(s)
	}
	policy := rules{" pull a": true}
	f.Fuzz(func(t *testing.T, s string) {
		g, err := Grant([]string{s}, auth.Principal{}, policy)
		if err != nil {
			return
		}
		if got := strings.TrimPrefix(strings.TrimPrefix(format(g), "catalog"), " "); got != "" && got != "a:pull" {
			t.Errorf("%q: got %q", s, got)
		}
		all, err := Grant([]string{s}, auth.Principal{}, everything())
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range all.Repos {
			if !strings.Contains(s, "repository:"+r.Repo.String()+":") {
				t.Errorf("%q grants %s", s, r.Repo)
			}
		}
	})
}
