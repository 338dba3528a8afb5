package auth

import (
	"fmt"
	"strings"
	"testing"
)

func TestCredentialsDoNotPrintThePassword(t *testing.T) {
	c := Credentials{User: "alice", Password: "hunter2"}
	for _, verb := range []string{"%v", "%+v", "%s"} {
		if got := fmt.Sprintf(verb, c); strings.Contains(got, "hunter2") {
			t.Errorf(verb+" prints the password", c)
		}
	}
}
