package doctor

import (
	"fmt"
	"io"
	"strings"
)

// Print writes the report for a person.
func (r *Report) Print(w io.Writer) error {
	p := &printer{w: w}
	p.line("%s", r.Address)
	if r.Proxy != "" {
		p.line("answered by %s", r.Proxy)
	}
	if r.Registry != "" {
		p.line("the registry is %s", r.Registry)
	}
	p.line("")
	for _, c := range r.Checks {
		p.line("  %-10s  %s%s", mark(c.Outcome), c.Name, after(": ", c.Detail))
	}
	for i, f := range r.Findings {
		p.line("\n%d. %s (%s)", i+1, upper(f.Saw), f.ID)
		p.line("   %s", f.Breaks)
		for _, c := range f.Change {
			p.line("   %-10s  %s", c.Where, c.What)
		}
	}
	p.line("\n%s", r.summary())
	return p.err
}

func (r *Report) summary() string {
	problems, hints, skipped := 0, 0, 0
	for _, f := range r.Findings {
		if f.Level == Problem {
			problems++
		} else {
			hints++
		}
	}
	for _, c := range r.Checks {
		if c.Outcome == NotTested {
			skipped++
		}
	}
	text := "Nothing wrong was found."
	if problems > 0 {
		text = fmt.Sprintf("Problems: %d.", problems)
	}
	if hints > 0 {
		text += fmt.Sprintf(" Hints: %d.", hints)
	}
	if skipped > 0 {
		text += fmt.Sprintf(" Not tested: %d.", skipped)
	}
	return text
}

func mark(o Outcome) string {
	if o == Problem {
		return "PROBLEM"
	}
	return string(o)
}

func after(sep, s string) string {
	if s == "" {
		return ""
	}
	return sep + s
}

func upper(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// A printer remembers the first error.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}
