package config

import (
	"fmt"
	"slices"
	"strings"
)

// ParseRetention reads what a configuration in YAML says of retention, and looks
// at nothing else of it. The error is a [Problems] with every mistake; name is
// what the file is called in it.
func ParseRetention(name string, data []byte) (Retention, error) {
	o, err := ParseFile(name, data)
	if err != nil {
		return Retention{}, fmt.Errorf("%s: %w", name, err)
	}
	isOther := func(path string) bool {
		return path != "" && path != "retention" && !strings.HasPrefix(path, "retention.")
	}
	o.Values = slices.DeleteFunc(o.Values, func(v Value) bool { return isOther(v.Path) })
	o.Problems = slices.DeleteFunc(o.Problems, func(p Problem) bool { return isOther(p.Path) })
	if len(o.Values)+len(o.Problems) == 0 {
		o.Problems = Problems{{Path: "retention.rules", Origin: name, Text: "is missing: write the rules as in a configuration, below retention: and rules:"}}
	}
	l := &Loaded{Config: Default(), origins: map[string]string{}}
	problems := o.apply(&l.Config, l.origins)
	problems = append(problems, l.validate(problems)...)
	if err := problems.err(); err != nil {
		return Retention{}, err
	}
	return l.Config.Retention, nil
}
