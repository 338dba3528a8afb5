package berth

import (
	"berth/config"
	"berth/internal/auth"
	"berth/internal/oci"
)

// newPolicy returns what clients may do by cfg, which must be valid.
func newPolicy(cfg config.Config) *auth.Rules {
	return auth.NewRules(auth.RuleBook{Rules: accessRules(cfg), Groups: cfg.Auth.Groups, ReadOnly: cfg.ReadOnly})
}

// accessRules returns the rules of cfg or, if it has none, those that its other
// settings stand for.
func accessRules(cfg config.Config) []auth.Rule {
	switch {
	case len(cfg.Access) > 0:
		list := make([]auth.Rule, 0, len(cfg.Access))
		for _, r := range cfg.Access {
			list = append(list, accessRule(r))
		}
		return list
	case !cfg.Auth.LogIn():
		return auth.Open()
	case cfg.Auth.Anonymous == config.AnonymousPull:
		return auth.LoggedInOrPull()
	}
	return auth.LoggedIn()
}

// accessRule translates one rule. What the configuration must not hold allows
// nothing here.
func accessRule(r config.Rule) auth.Rule {
	rule := auth.Rule{Users: r.Users, Groups: r.Groups, Anonymous: r.Anonymous, Addresses: r.Addresses}
	for _, text := range r.Repositories {
		p, err := oci.ParsePattern(text)
		if err != nil {
			return auth.Rule{}
		}
		rule.Repos = append(rule.Repos, p)
	}
	for _, a := range r.Allow {
		rule.Allow = append(rule.Allow, auth.Action(a))
	}
	return rule
}
