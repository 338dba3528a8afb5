package config

import (
	"strings"
	"testing"
	"time"
)

// TestConceal holds that what is shown tells no secret, and that the rest stays.
func TestConceal(t *testing.T) {
	l := &Loaded{Config: Default(), origins: map[string]string{}}
	secret := map[string][]string{"Authorization": {"Bearer s3cret"}, "X-Two": {"s3cret1", "s3cret2"}}
	l.Config.Notifications.Endpoints = []Endpoint{{
		Name: "builds", URL: "https://user:s3cret@hooks.example/path?token=s3cret", Headers: secret,
		Timeout: time.Second, Backoff: time.Second, Threshold: 1,
	}}
	l.Config.Health.HTTP = []HTTPCheck{{URL: "http://s3cret@health.example/?s3cret", Headers: secret}}
	shown := show(t, l.Conceal())
	if strings.Contains(shown, "s3cret") {
		t.Errorf("it tells a secret:\n%s", shown)
	}
	for _, want := range []string{"builds", "https://HIDDEN@hooks.example/path?HIDDEN", "Authorization: [HIDDEN]", "X-Two: [HIDDEN, HIDDEN]", "health.example"} {
		if !strings.Contains(shown, want) {
			t.Errorf("%q is not in what is shown:\n%s", want, shown)
		}
	}
	if whole := show(t, l); strings.Count(whole, "s3cret") != 10 {
		t.Errorf("the configuration itself was changed:\n%s", whole)
	}
}
