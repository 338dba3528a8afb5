package auth

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"berth/internal/oci"
)

// rulesOf reads rules, one a line, of words such as these, and a verb each:
// "alice", "@group", "*", "anonymous", "from:10.0.0.0/8", "in:team/**", "+pull".
func rulesOf(t testing.TB, groups map[string][]string, lines string) *Rules {
	t.Helper()
	var list []Rule
	for line := range strings.Lines(lines) {
		if strings.TrimSpace(line) == "" {
			continue
		}
		var r Rule
		for word := range strings.FieldsSeq(line) {
			switch {
			case strings.HasPrefix(word, "@"):
				r.Groups = append(r.Groups, word[1:])
			case strings.HasPrefix(word, "+"):
				r.Allow = append(r.Allow, Action(word[1:]))
			case strings.HasPrefix(word, "from:"):
				r.Addresses = append(r.Addresses, netip.MustParsePrefix(word[5:]))
			case strings.HasPrefix(word, "in:"):
				p, err := oci.ParsePattern(word[3:])
				if err != nil {
					t.Fatal(err)
				}
				r.Repos = append(r.Repos, p)
			case word == "anonymous":
				r.Anonymous = true
			default:
				r.Users = append(r.Users, word)
			}
		}
		list = append(list, r)
	}
	return NewRules(RuleBook{Rules: list, Groups: groups})
}

// question reads "alice 10.0.0.1 push team/app"; "-" is nobody, or nowhere.
func question(t testing.TB, s string) (Principal, Access) {
	t.Helper()
	f := strings.Fields(s)
	if len(f) == 3 { // about the registry as a whole
		f = append(f, "")
	}
	if len(f) != 4 {
		t.Fatalf("%q is no question", s)
	}
	var p Principal
	if f[0] != "-" {
		p.Name = f[0]
	}
	if f[1] != "-" {
		p.Address = netip.MustParseAddr(f[1])
	}
	if f[3] == "" {
		return p, Access{Action: Action(f[2])}
	}
	repo, err := oci.ParseRepo(f[3])
	if err != nil {
		t.Fatal(err)
	}
	return p, Access{Repo: repo, Action: Action(f[2])}
}

func (v Verdict) String() string {
	return [...]string{"denied", "log in", "read-only", "out of scope", "allowed"}[v]
}

func TestRules(t *testing.T) {
	groups := map[string][]string{"devs": {"alice", "bob"}, "empty": nil}
	tests := []struct {
		name, rules string
		asked       map[string]string // question: verdict and rule
	}{
		{"no rules", "", map[string]string{
			"- 10.0.0.1 pull a": "denied 0", "alice 10.0.0.1 pull a": "denied 0",
		}},
		{"names", "alice +pull", map[string]string{
			"alice 10.0.0.1 pull a": "allowed 1", "alice - pull a": "allowed 1", "alice - push a": "denied 0",
			"bob - pull a": "denied 0", "Alice - pull a": "denied 0", "- - pull a": "log in 0",
		}},
		{"groups", "@devs +pull +push\n@empty +delete", map[string]string{
			"alice - push a": "allowed 1", "bob - pull a": "allowed 1", "carol - pull a": "denied 0", "alice - delete a": "denied 0",
			"devs - pull a": "denied 0", "@devs - pull a": "denied 0", "- - pull a": "log in 0",
		}},
		{"everybody who is logged in", "* +pull", map[string]string{
			"alice - pull a": "allowed 1", "* - pull a": "allowed 1", "- - pull a": "log in 0",
		}},
		{"everybody", "anonymous +pull", map[string]string{
			"- - pull a": "allowed 1", "alice - pull a": "allowed 1", "- - push a": "denied 0", "alice - push a": "denied 0",
		}},
		{"create is less than push", "robot +create +pull\nadmin +push", map[string]string{
			"robot - create a": "allowed 1", "robot - push a": "denied 0", "admin - create a": "allowed 2", "admin - push a": "allowed 2",
			"admin - pull a": "denied 0", "robot - delete a": "denied 0",
		}},
		{"addresses", "anonymous from:10.0.0.0/8 from:fd00::/8 +pull", map[string]string{
			"- 10.1.2.3 pull a": "allowed 1", "- fd00::1 pull a": "allowed 1", "- ::ffff:10.1.2.3 pull a": "allowed 1",
			"- fd00::1%eth0 pull a": "allowed 1",
			"- 11.0.0.1 pull a":     "denied 0", "- ::1 pull a": "denied 0", "- - pull a": "denied 0", "alice 11.0.0.1 pull a": "denied 0",
		}},
		{"mapped addresses", "anonymous from:::ffff:10.0.0.0/104 +pull", map[string]string{
			"- 10.1.2.3 pull a": "allowed 1", "- ::ffff:10.1.2.3 pull a": "allowed 1", "- 11.1.2.3 pull a": "denied 0",
		}},
		{"a challenge only where log-in helps", "alice from:10.0.0.0/8 +push", map[string]string{
			"- 10.0.0.1 push a": "log in 0", "- 10.0.0.1 delete b": "log in 0", "- 11.0.0.1 push a": "denied 0", "- - push a": "denied 0",
		}},
		{"repositories", "alice in:team/** in:lib/* +push", map[string]string{
			"alice - push team/app": "allowed 1", "alice - push team/a/b": "allowed 1", "alice - push lib/a": "allowed 1",
			"alice - push team": "denied 0", "alice - push team-evil/app": "denied 0", "alice - push lib/a/b": "denied 0",
		}},
		{"rules add up", "* +pull\nalice in:team/** +push\n@devs from:10.0.0.0/8 in:team/** +delete", map[string]string{
			"alice - pull x": "allowed 1", "alice - push team/x": "allowed 2", "alice 10.0.0.1 delete team/x": "allowed 3",
			"alice 11.0.0.1 delete team/x": "denied 0", "bob - push team/x": "denied 0", "carol 10.0.0.1 delete team/x": "denied 0",
		}},
		{"a rule for nobody", "in:a +pull", map[string]string{"- - pull a": "denied 0", "alice - pull a": "denied 0"}},
		{"administering", "* +pull +push +delete\nalice +admin\n* in:** +admin\n@devs from:10.0.0.0/8 +admin", map[string]string{
			"alice - admin": "allowed 2", "alice - inspect": "allowed 2", "carol - admin": "denied 0", "carol - inspect": "denied 0", "bob - admin": "denied 0",
			"bob 10.0.0.1 inspect": "allowed 4", "- - admin": "log in 0", "alice - admin a": "allowed 2", "alice - delete a": "allowed 1",
		}},
		{"no right to a repository is one to administer", "anonymous +pull +push +delete +create +inspect", map[string]string{"- - admin": "denied 0"}},
		{"an action that is none", "anonymous +all +*", map[string]string{"- - pull a": "denied 0", "- - push a": "denied 0"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := rulesOf(t, groups, tt.rules)
			for asked, want := range tt.asked {
				p, a := question(t, asked)
				d := r.Decide(p, a)
				if got := fmt.Sprintf("%s %d", d.Verdict, d.Rule); got != want {
					t.Errorf("%s: got %q, want %q", asked, got, want)
				}
				for i, lack := range r.Explain(p, a) {
					if first := d.Rule == i+1; first && lack != Nothing || lack == Nothing && (d.Rule == 0 || d.Rule > i+1) {
						t.Errorf("%s: rule %d is explained by %d, and the decision is %+v", asked, i+1, lack, d)
					}
				}
			}
			if d := r.Decide(Principal{Name: "alice"}, Access{}); d.Allowed() {
				t.Error("what is about no repository is allowed")
			}
		})
	}
}

func TestEnters(t *testing.T) {
	tests := []struct {
		rules string
		asked map[string]string
	}{
		{"", map[string]string{"- -": "denied", "alice -": "denied"}},
		{"anonymous +pull", map[string]string{"- -": "allowed", "alice -": "allowed"}},
		{"* +pull", map[string]string{"- -": "log in", "alice -": "allowed"}},
		{"* +push\nanonymous +pull", map[string]string{"- -": "log in", "alice -": "allowed"}},
		{"alice +push", map[string]string{"- -": "log in", "alice -": "allowed", "bob -": "denied"}},
		{"anonymous from:10.0.0.0/8 +pull", map[string]string{"- 10.0.0.1": "allowed", "- 11.0.0.1": "denied", "alice 11.0.0.1": "denied", "- -": "denied"}},
		{"* from:10.0.0.0/8 +push\nanonymous +pull", map[string]string{"- 10.0.0.1": "log in", "- 11.0.0.1": "allowed", "alice 11.0.0.1": "allowed"}},
	}
	for _, tt := range tests {
		r := rulesOf(t, nil, tt.rules)
		for asked, want := range tt.asked {
			p, _ := question(t, asked+" pull a")
			if got := r.Enters(p).Verdict.String(); got != want {
				t.Errorf("%q, %s: got %s, want %s", tt.rules, asked, got, want)
			}
		}
	}
}

// TestReadOnlyRules holds that read-only takes everything but pulls away, and
// tells only those of it who could write otherwise.
func TestReadOnlyRules(t *testing.T) {
	r := NewRules(RuleBook{ReadOnly: true, Rules: append(LoggedInOrPull(), Rule{Users: []string{"x"}})})
	for asked, want := range map[string]string{
		"alice - pull a": "allowed", "alice - push a": "read-only", "alice - create a": "read-only", "alice - delete a": "read-only",
		"- - pull a": "allowed", "- - push a": "log in",
	} {
		p, a := question(t, asked)
		if got := r.Decide(p, a).Verdict.String(); got != want {
			t.Errorf("%s: got %s, want %s", asked, got, want)
		}
	}
}

// TestBuiltInRules is what holds where no rules are written.
func TestBuiltInRules(t *testing.T) {
	const all = "pull create push delete"
	tests := []struct {
		name            string
		rules           []Rule
		alice, nobody   string // what they may do
		enters, invites string // what GET /v2/ says to alice and to nobody
	}{
		{"open", Open(), all, all, "allowed", "allowed"},
		{"logged in", LoggedIn(), all, "", "allowed", "log in"},
		{"logged in, or pull", LoggedInOrPull(), all, "pull", "allowed", "log in"},
	}
	for _, tt := range tests {
		r := NewRules(RuleBook{Rules: tt.rules})
		may := func(user string) string {
			var list []string
			for action := range strings.FieldsSeq(all) {
				p, a := question(t, user+" 192.0.2.1 "+action+" a/b")
				if r.Decide(p, a).Allowed() {
					list = append(list, action)
				}
			}
			return strings.Join(list, " ")
		}
		if got := may("alice"); got != tt.alice {
			t.Errorf("%s: alice may %q, want %q", tt.name, got, tt.alice)
		}
		if got := may("-"); got != tt.nobody {
			t.Errorf("%s: nobody may %q, want %q", tt.name, got, tt.nobody)
		}
		if got := r.Enters(Principal{Name: "alice"}).Verdict.String(); got != tt.enters {
			t.Errorf("%s: alice enters: %s, want %s", tt.name, got, tt.enters)
		}
		if got := r.Enters(Principal{}).Verdict.String(); got != tt.invites {
			t.Errorf("%s: nobody enters: %s, want %s", tt.name, got, tt.invites)
		}
	}
}

// TestRulesAreTheirOwn holds that what a RuleBook was made of can change without
// the rules changing.
func TestRulesAreTheirOwn(t *testing.T) {
	b := RuleBook{Rules: LoggedIn()}
	r := NewRules(b)
	b.Rules[0].Anonymous, b.Rules[0].Users[0], b.Rules[0].Allow[0] = true, "bob", Delete
	p, a := question(t, "- - pull a")
	if r.Decide(p, a).Allowed() {
		t.Error("the rules changed with the book")
	}
	if p.Name = "alice"; !r.Decide(p, a).Allowed() {
		t.Error("the rules changed with the book")
	}
}

// BenchmarkDecide is what each entry of a catalog costs under 20 rules.
func BenchmarkDecide(b *testing.B) {
	var lines strings.Builder
	for i := range 20 {
		fmt.Fprintf(&lines, "user%d from:10.%d.0.0/16 in:team%d/** in:lib/*/x +pull\n", i, i, i)
	}
	r := rulesOf(b, nil, lines.String())
	p, a := question(b, "user19 10.19.0.1 pull team19/web/app")
	b.ReportAllocs()
	for b.Loop() {
		if !r.Decide(p, a).Allowed() {
			b.Fatal("denied")
		}
	}
}

// TestWithin holds that every repository which a rule opens begins with one of
// the names that a list is limited to, and that nobody's list is longer than need
// be.
func TestWithin(t *testing.T) {
	pattern := func(s string) oci.Pattern {
		p, err := oci.ParsePattern(s)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	inside := netip.MustParsePrefix("10.0.0.0/8")
	policy := NewRules(RuleBook{Groups: map[string][]string{"web": {"carol"}}, Rules: []Rule{
		{Users: []string{"alice"}, Repos: []oci.Pattern{pattern("team/b*"), pattern("team/**"), pattern("app"), pattern("app/x"), pattern("team/c")}, Allow: []Action{Pull}},
		{Users: []string{"alice"}, Repos: []oci.Pattern{pattern("other")}, Allow: []Action{Push}},
		{Groups: []string{"web"}, Repos: []oci.Pattern{pattern("web/*/x")}, Allow: []Action{Pull}},
		{Users: []string{"carol"}, Repos: []oci.Pattern{pattern("*/public")}, Addresses: []netip.Prefix{inside}, Allow: []Action{Pull}},
		{Users: []string{"root"}, Allow: []Action{Pull, Push}},
	}})
	if root := (Principal{Name: "root"}); policy.Within(root, Delete).All || NewRules(RuleBook{Rules: LoggedIn(), ReadOnly: true}).Within(root, Push).All {
		t.Error("more is allowed than is")
	}
	for _, tt := range []struct {
		who  Principal
		want string
	}{
		{Principal{Name: "alice"}, `["app" "team/"]`},
		{Principal{Name: "carol"}, `["web/"]`},
		{Principal{Name: "carol", Address: netip.MustParseAddr("10.1.2.3")}, `[""]`},
		{Principal{Name: "root"}, `[""]`},
		{Principal{Name: "dave"}, `[]`},
		{Principal{}, `[]`},
	} {
		got := policy.Within(tt.who, Pull)
		if got.Prefixes == nil || fmt.Sprintf("%q", got.Prefixes) != tt.want || got.All != (tt.who.Name == "root") {
			t.Errorf("%s: got %q, all %v, want %s", tt.who.Name, got.Prefixes, got.All, tt.want)
		}
		tt.who.Limit = &Grants{}
		if policy.Within(tt.who, Pull).All {
			t.Errorf("%s may pull everything with a token that is for nothing", tt.who.Name)
		}
	}
}
