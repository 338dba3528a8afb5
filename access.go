package berth

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

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

// An AccessQuestion asks whether somebody may do something.
type AccessQuestion struct {
	User       string // a name; "-" is who has not logged in
	Address    string // of the client; "-" is one without, such as on a socket
	Action     string // pull, create, push, delete or admin
	Repository string // empty or - with admin
}

// An AccessAnswer answers an AccessQuestion by the rules of a configuration.
type AccessAnswer struct {
	Allowed bool
	Rule    int      // which rule allows it, or would if the registry were not read-only, counted from 0; -1 if none does
	Why     string   // in a sentence
	Rules   []string // what each rule says to the question
	Notes   []string // what besides the rules has a say, in sentences
}

// AccessRules returns the access rules that are in force with cfg, each on one
// line: those of its list or, if it has none, those that its log-in stands for.
func AccessRules(cfg config.Config) []string {
	var list []string
	for _, r := range accessRules(cfg) {
		list = append(list, r.String())
	}
	return list
}

// ExplainAccess decides as a server with cfg would, and says why. Its errors are
// about the question.
func ExplainAccess(cfg config.Config, q AccessQuestion) (AccessAnswer, error) {
	p, a, err := q.parse()
	if err != nil {
		return AccessAnswer{}, err
	}
	policy := newPolicy(cfg)
	d := policy.Decide(p, a)
	answer := AccessAnswer{Allowed: d.Allowed(), Rule: d.Rule - 1}
	switch d.Verdict {
	case auth.Allowed:
		answer.Why = "a rule allows it"
	case auth.ReadOnly:
		answer.Why = "the registry is read-only, so it answers 405; a rule would allow it otherwise"
	case auth.NeedsLogIn:
		answer.Why = "no rule allows it without log-in, so the registry answers 401 and asks for one"
	default:
		answer.Why = "no rule allows it, so the registry answers 403"
	}
	for _, lack := range policy.Explain(p, a) {
		answer.Rules = append(answer.Rules, lack.Describe(p, a))
	}
	if a.Action != auth.Pull {
		answer.Notes = immutableNotes(cfg, a.Repo)
	}
	return answer, nil
}

// immutableNotes says which tags of repo stay whatever the rules allow.
func immutableNotes(cfg config.Config, repo oci.Repo) (notes []string) {
	for i, s := range cfg.Tags.Immutable {
		repos, err := parseAll(s.Repositories, oci.ParsePattern)
		if err != nil || len(repos) > 0 && !slices.ContainsFunc(repos, func(p oci.Pattern) bool { return p.Match(repo) }) {
			continue
		}
		which := "its tags"
		if len(s.Tags) > 0 {
			which = "its tags " + strings.Join(s.Tags, ", ")
		}
		notes = append(notes, fmt.Sprintf("tags.immutable[%d]: once pushed, %s can neither be moved nor deleted by anybody", i, which))
	}
	return notes
}

// parse reads the question.
func (q AccessQuestion) parse() (p auth.Principal, a auth.Access, err error) {
	if q.User == "" {
		return p, a, errors.New(`the user is empty: write a name, or - for who is not logged in`)
	}
	if q.User != "-" {
		p.Name = q.User
	}
	if q.Address != "-" {
		if p.Address, err = netip.ParseAddr(q.Address); err != nil {
			return p, a, fmt.Errorf("%q is no address: write one such as 10.0.0.7, or - for a client without", q.Address)
		}
		p.Address = p.Address.Unmap()
	}
	switch a.Action = auth.Action(q.Action); a.Action {
	case auth.Pull, auth.Create, auth.Push, auth.Delete:
	case auth.Admin:
		if q.Repository != "" && q.Repository != "-" {
			return p, a, errors.New("admin is about the registry as a whole: leave the repository out")
		}
		return p, a, nil
	default:
		return p, a, fmt.Errorf("%q is no action: write pull, push, create, delete or admin", q.Action)
	}
	if a.Repo, err = oci.ParseRepo(q.Repository); err != nil {
		if e, ok := errors.AsType[*oci.Error](err); ok {
			err = errors.New(e.Message)
		}
		return p, a, fmt.Errorf("%w (write the repository without host and tag)", err)
	}
	return p, a, nil
}
