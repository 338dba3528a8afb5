package htpasswd

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Why a line cannot be used at all.
var (
	errNoColon   = errors.New("there is no colon between a user name and a hash")
	errNoUser    = errors.New("there is no user name before the colon")
	errUserText  = errors.New("the user name is not UTF-8 text: save the file as UTF-8")
	errDuplicate = errors.New("the user has an earlier line, and the first one counts")
)

// A Problem is a line that logs nobody in, and why. It holds nothing of the line.
type Problem struct {
	Line   int // from 1
	Reason string
}

func (p Problem) String() string { return fmt.Sprintf("line %d: %s", p.Line, p.Reason) }

// A user is one line that can log somebody in.
type user struct {
	name   string
	stored string // the hash as it stands in the file
	hash   Hash
}

// A table is what a file says. It does not change once parsed.
type table struct {
	users    map[string]user
	problems []Problem
	weak     []int // numbers of the lines with a weak hash
	work     work  // what one failed log-in costs
}

// parseTable reads the decoded text of a file. No line stops it. Of several
// lines for one user the first counts, as for Apache, even if it can log
// nobody in: a line put in front to lock a user out does so.
func parseTable(text []byte) *table {
	t := &table{users: make(map[string]user)}
	taken := make(map[string]bool)
	n := 0
	for line := range strings.SplitSeq(string(text), "\n") {
		n++
		name, stored, blank, err := splitLine(line)
		if blank {
			continue
		}
		if err == nil && taken[name] {
			err = errDuplicate
		}
		var h Hash
		if err == nil {
			taken[name] = true
			h, err = ParseHash(stored)
		}
		if err != nil {
			t.problems = append(t.problems, Problem{Line: n, Reason: err.Error()})
			continue
		}
		if h.scheme.weak() {
			t.weak = append(t.weak, n)
		}
		t.users[name] = user{name: name, stored: stored, hash: h}
		t.work.cover(h)
	}
	return t
}

// splitLine takes a line apart. As Apache and nginx do, it ignores blanks
// around the line and what stands behind a second colon. blank is true for
// lines without content.
func splitLine(line string) (name, stored string, blank bool, err error) {
	line = strings.TrimSpace(line)
	if line == "" || line[0] == '#' {
		return "", "", true, nil
	}
	name, stored, ok := strings.Cut(line, ":")
	switch {
	case !ok:
		return "", "", false, errNoColon
	case name == "":
		return "", "", false, errNoUser
	case !userText(name):
		return "", "", false, errUserText
	}
	stored, _, _ = strings.Cut(stored, ":")
	return name, strings.TrimSpace(stored), false, nil
}

// userText reports whether name is UTF-8 without control characters.
func userText(name string) bool {
	return !strings.ContainsFunc(name, func(r rune) bool { return unicode.IsControl(r) || r == utf8.RuneError })
}

// maxNamed is how many lines a message names one by one.
const maxNamed = 20

// describe lists problems for a person: each reason once, with its lines.
func describe(problems []Problem) []string {
	lines := make(map[string][]int)
	var reasons []string
	for _, p := range problems {
		if lines[p.Reason] == nil {
			reasons = append(reasons, p.Reason)
		}
		lines[p.Reason] = append(lines[p.Reason], p.Line)
	}
	for i, r := range reasons {
		reasons[i] = fmt.Sprintf("%s: %s", lineList(lines[r]), r)
	}
	return reasons
}

// lineList writes the numbers of lines, shortened where there are very many.
func lineList(lines []int) string {
	word := "lines"
	if len(lines) == 1 {
		word = "line"
	}
	named := make([]string, 0, maxNamed)
	for _, n := range slices.Compact(slices.Clone(lines)) {
		if len(named) == maxNamed {
			return fmt.Sprintf("%s %s and %d more", word, strings.Join(named, ", "), len(lines)-maxNamed)
		}
		named = append(named, fmt.Sprint(n))
	}
	return word + " " + strings.Join(named, ", ")
}
