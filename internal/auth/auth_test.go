package auth

import (
	"fmt"
	"strings"
	"testing"

	"berth/internal/oci"
)

func TestPolicies(t *testing.T) {
	repo, err := oci.ParseRepo("a")
	if err != nil {
		t.Fatal(err)
	}
	anonymous, alice := Principal{}, Principal{Name: "alice"}
	tests := []struct {
		policy                Policy
		who                   Principal
		pull, push, del, ping bool
	}{
		{AllowAll{}, anonymous, true, true, true, true},
		{LogIn{}, anonymous, false, false, false, false},
		{LogIn{}, alice, true, true, true, true},
		{LogIn{AnonymousPull: true}, anonymous, true, false, false, false},
		{LogIn{AnonymousPull: true}, alice, true, true, true, true},
	}
	for _, tt := range tests {
		for action, want := range map[Action]bool{Pull: tt.pull, Push: tt.push, Delete: tt.del} {
			if got := tt.policy.Allows(tt.who, Access{Repo: repo, Action: action}); got != want {
				t.Errorf("%#v: %q may %s: %v, want %v", tt.policy, tt.who.Name, action, got, want)
			}
		}
		if got := tt.policy.Enters(tt.who); got != tt.ping {
			t.Errorf("%#v: %q enters: %v, want %v", tt.policy, tt.who.Name, got, tt.ping)
		}
	}
}

func TestCredentialsDoNotPrintThePassword(t *testing.T) {
	c := Credentials{User: "alice", Password: "hunter2"}
	for _, verb := range []string{"%v", "%+v", "%s"} {
		if got := fmt.Sprintf(verb, c); strings.Contains(got, "hunter2") {
			t.Errorf(verb+" prints the password", c)
		}
	}
}
