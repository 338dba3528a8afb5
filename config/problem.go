package config

import (
	"fmt"
	"strings"

	"berth/internal/yamltree"
)

// Problem is one mistake in a configuration.
type Problem struct {
	Path   string // the key, such as http.listen[0]; empty if the mistake has none
	Origin string // where it was set, such as berth.yml:7 or BERTH_HTTP_LISTEN; empty if unknown
	Text   string // what is wrong, and how to mend it

	related []string // further keys that the rule has looked at
}

// Error returns the problem in one line: key, origin, text.
func (p Problem) Error() string {
	switch {
	case p.Path == "" && p.Origin == "":
		return p.Text
	case p.Path == "":
		return p.Origin + ": " + p.Text
	case p.Origin == "":
		return p.Path + ": " + p.Text
	}
	return p.Path + " (" + p.Origin + "): " + p.Text
}

// Problems is all the mistakes of a configuration. It is never an empty error:
// functions return nil where there are none.
type Problems []Problem

// Error returns all problems, one per line.
func (ps Problems) Error() string {
	if len(ps) == 1 {
		return "the configuration has a problem: " + ps[0].Error()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "the configuration has %d problems:", len(ps))
	for _, p := range ps {
		b.WriteString("\n  ")
		b.WriteString(p.Error())
	}
	return b.String()
}

// Unwrap returns the problems one by one, for errors.Is and errors.As.
func (ps Problems) Unwrap() []error {
	errs := make([]error, len(ps))
	for i, p := range ps {
		errs[i] = p
	}
	return errs
}

// err returns ps as an error, nil if there are none.
func (ps Problems) err() error {
	if len(ps) == 0 {
		return nil
	}
	return ps
}

// yamlProblem puts an error of the YAML parser into a problem of the file or
// variable called name.
func yamlProblem(name string, err error) Problem {
	line, text := yamltree.Explain(err)
	if line > 0 {
		name = fmt.Sprintf("%s:%d", name, line)
	}
	return Problem{Origin: name, Text: text}
}
