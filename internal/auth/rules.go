package auth

import (
	"net/netip"
	"slices"
	"strings"

	"berth/internal/oci"
)

// Everyone among the Users of a Rule is everyone who is logged in.
const Everyone = "*"

// A Rule allows something to somebody. Rules only ever add: what none allows is
// denied. A rule for nobody allows nothing.
type Rule struct {
	Users     []string // their names, or Everyone
	Groups    []string // names of groups
	Anonymous bool     // whoever comes, logged in or not

	Addresses []netip.Prefix // where the client must be; none means anywhere
	Repos     []oci.Pattern  // which repositories; none means all
	Allow     []Action
}

// Open lets everybody do everything with every repository: a registry without any
// log-in. Only a rule that somebody has written lets anybody administer it.
func Open() []Rule {
	return []Rule{{Anonymous: true, Allow: []Action{Pull, Push, Delete}}}
}

// Operator is what stands behind the operator's own socket.
func Operator() []Rule {
	return []Rule{{Anonymous: true, Allow: []Action{Pull, Push, Delete, Admin}}}
}

// LoggedIn lets everyone who is logged in do everything with every repository.
func LoggedIn() []Rule {
	return []Rule{{Users: []string{Everyone}, Allow: []Action{Pull, Push, Delete}}}
}

// LoggedInOrPull is LoggedIn, and everybody may pull.
func LoggedInOrPull() []Rule {
	return append(LoggedIn(), Rule{Anonymous: true, Allow: []Action{Pull}})
}

// A RuleBook is what NewRules makes a Policy of.
type RuleBook struct {
	Rules    []Rule
	Groups   map[string][]string // their members
	ReadOnly bool                // nothing that writes is allowed
}

// Rules are the Policy of a list of rules. They never change and may be used
// concurrently.
type Rules struct {
	rules    []rule
	readOnly bool
}

var _ Bounded = (*Rules)(nil)

// A rule is a Rule made ready to be asked.
type rule struct {
	Rule
	named map[string]bool // users, by name or by group
	all   bool            // everyone who is logged in
}

// NewRules returns the policy of b. It keeps nothing of b.
func NewRules(b RuleBook) *Rules {
	r := &Rules{readOnly: b.ReadOnly}
	for _, one := range b.Rules {
		ready := rule{named: make(map[string]bool), Rule: Rule{
			Users: slices.Clone(one.Users), Groups: slices.Clone(one.Groups), Anonymous: one.Anonymous,
			Repos: slices.Clone(one.Repos), Allow: slices.Clone(one.Allow),
		}}
		for _, user := range one.Users {
			ready.all = ready.all || user == Everyone
			ready.named[user] = user != Everyone
		}
		for _, group := range one.Groups {
			for _, user := range b.Groups[group] {
				ready.named[user] = true
			}
		}
		for _, a := range one.Addresses {
			ready.Addresses = append(ready.Addresses, unmap(a))
		}
		r.rules = append(r.rules, ready)
	}
	return r
}

// unmap makes a network of IPv4-mapped addresses one of IPv4 addresses, which is
// how clients' addresses come.
func unmap(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked()
}

// Decide implements Policy: the first rule that allows a decides.
func (r *Rules) Decide(p Principal, a Access) Decision {
	for i := range r.rules {
		if r.rules[i].lacks(p, a) != Nothing {
			continue
		}
		if r.readOnly && a.Action.Writes() {
			return Decision{Verdict: ReadOnly, Rule: i + 1}
		}
		if p.Limit != nil && !p.Limit.Allows(a) {
			return Decision{Verdict: OutOfScope, Rule: i + 1}
		}
		return Decision{Verdict: Allowed, Rule: i + 1}
	}
	return Decision{Verdict: r.refusal(p)}
}

// Enters implements Policy. Who is logged in enters by any rule. Who is not is
// asked to log in wherever that may help, even if some rule is for the
// anonymous, too: docker decides by the answer to GET /v2/ whether it sends its
// credentials, and a client without any goes on without them.
func (r *Rules) Enters(p Principal) Decision {
	d := Decision{Verdict: r.refusal(p)}
	if d.Verdict == NeedsLogIn {
		return d
	}
	for i := range r.rules {
		if r.rules[i].holdsFor(p) && r.rules[i].holdsAt(p.Address) {
			return Decision{Verdict: Allowed, Rule: i + 1}
		}
	}
	return d
}

// Within implements Bounded.
func (r *Rules) Within(p Principal, a Action) Reach {
	list := []string{}
	for i := range r.rules {
		one := &r.rules[i]
		if !one.holdsFor(p) || !one.holdsAt(p.Address) || !one.allows(a) {
			continue
		}
		if len(one.Repos) == 0 {
			return Reach{All: p.Limit == nil && !(r.readOnly && a.Writes()), Prefixes: []string{""}}
		}
		for _, pattern := range one.Repos {
			list = append(list, pattern.Prefix())
		}
	}
	slices.Sort(list)
	n := 0
	for _, prefix := range list {
		if n == 0 || !strings.HasPrefix(prefix, list[n-1]) {
			list[n] = prefix
			n++
		}
	}
	return Reach{Prefixes: list[:n]}
}

// LetsAnonymous reports whether there is anything for those who don't log in.
func (r *Rules) LetsAnonymous() bool {
	return slices.ContainsFunc(r.rules, func(one rule) bool { return one.Anonymous })
}

// refusal is the verdict when no rule allows something to p. It must not depend
// on what was asked for: who has no right learns nothing of the rules but that
// there are some for this address.
func (r *Rules) refusal(p Principal) Verdict {
	if !p.Anonymous() {
		return Denied
	}
	for i := range r.rules {
		if one := &r.rules[i]; (one.all || len(one.named) > 0) && one.holdsAt(p.Address) {
			return NeedsLogIn
		}
	}
	return Denied
}

// A Lack says why a rule does not allow something: the first of the things that
// it asks for and that were not so.
type Lack uint8

// What may be lacking. Nothing lacks when the rule allows it.
const (
	Nothing Lack = iota
	LacksUser
	LacksAddress
	LacksRepo
	LacksAction
)

// Explain returns, for each rule, why it does not allow a to p, or that it does.
// Decide asks the same question.
func (r *Rules) Explain(p Principal, a Access) []Lack {
	list := make([]Lack, len(r.rules))
	for i := range r.rules {
		list[i] = r.rules[i].lacks(p, a)
	}
	return list
}

func (r *rule) lacks(p Principal, a Access) Lack {
	switch {
	case !r.holdsFor(p):
		return LacksUser
	case !r.holdsAt(p.Address):
		return LacksAddress
	case !a.Action.Whole() && !r.covers(a.Repo), a.Action.Whole() && len(r.Repos) > 0:
		return LacksRepo
	case !r.allows(a.Action):
		return LacksAction
	}
	return Nothing
}

func (r *rule) holdsFor(p Principal) bool {
	return r.Anonymous || !p.Anonymous() && (r.all || r.named[p.Name])
}

// holdsAt reports whether the rule is for clients at a. A client without an
// address is nowhere.
func (r *rule) holdsAt(a netip.Addr) bool {
	if len(r.Addresses) == 0 {
		return true
	}
	a = a.Unmap().WithZone("")
	return a.IsValid() && slices.ContainsFunc(r.Addresses, func(n netip.Prefix) bool { return n.Contains(a) })
}

func (r *rule) covers(repo oci.Repo) bool {
	return !repo.IsZero() && (len(r.Repos) == 0 || slices.ContainsFunc(r.Repos, func(p oci.Pattern) bool { return p.Match(repo) }))
}

func (r *rule) allows(a Action) bool {
	return slices.Contains(r.Allow, a) || a == Create && slices.Contains(r.Allow, Push) || a == Inspect && slices.Contains(r.Allow, Admin)
}
