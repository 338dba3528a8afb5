package auth

import (
	"fmt"
	"strconv"
	"strings"
)

// String returns the rule on one line, as it would stand in the list of access
// rules.
func (r Rule) String() string {
	var parts []string
	add := func(key string, words []string) {
		if len(words) > 0 {
			parts = append(parts, key+": ["+strings.Join(words, ", ")+"]")
		}
	}
	add("users", texts(r.Users))
	add("groups", texts(r.Groups))
	if r.Anonymous {
		parts = append(parts, "anonymous: true")
	}
	add("addresses", texts(r.Addresses))
	add("repositories", texts(r.Repos))
	add("allow", texts(r.Allow))
	return "{" + strings.Join(parts, ", ") + "}"
}

// texts writes list as texts of YAML: plainly, where that cannot be read as
// anything else.
func texts[T any](list []T) []string {
	all := make([]string, len(list))
	for i, one := range list {
		s := fmt.Sprint(one)
		if s == "" || strings.ContainsFunc(s, special) || s[0] < 'A' && (s[0] < '0' || s[0] > '9') {
			s = strconv.Quote(s)
		}
		all[i] = s
	}
	return all
}

// special reports whether a text with r in it is better quoted.
func special(r rune) bool {
	return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("._-/@*", r))
}

// Describe says why a rule that lacks l does not allow a to p.
func (l Lack) Describe(p Principal, a Access) string {
	switch l {
	case LacksUser:
		if p.Anonymous() {
			return "is not for those who are not logged in"
		}
		return "is not for " + strconv.QuoteToASCII(p.Name)
	case LacksAddress:
		if !p.Address.IsValid() {
			return "is only for some addresses"
		}
		return "is not for the address " + p.Address.String()
	case LacksRepo:
		if a.Action.Whole() {
			return "is only for some repositories"
		}
		return "is not for the repository " + a.Repo.String()
	case LacksAction:
		return "does not allow " + string(a.Action)
	}
	return "allows it"
}
