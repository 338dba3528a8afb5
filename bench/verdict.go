package main

import (
	"fmt"
	"io"
	"strings"
)

// A verdict says whether a goal was reached.
type verdict struct {
	goal
	unit        string
	ours, other float64
	state       state
}

type state string

const (
	met        state = "met"
	missed     state = "missed"
	unmeasured state = "not measured"
)

// ratio is ours to the other's.
func (v verdict) ratio() float64 { return v.ours / v.other }

// judge compares what was measured with the goals.
func (r *report) judge() []verdict {
	var list []verdict
	for _, g := range goals() {
		v := verdict{goal: g, state: unmeasured}
		of := g.of
		if of == "" {
			of = g.workload
		}
		v.ours, v.unit = r.value(g.workload, us, g.value)
		v.other, _ = r.value(of, g.rival, g.value)
		if v.ours > 0 && v.other > 0 {
			v.state = missed
			if q := v.ratio(); g.atLeast > 0 && q >= g.atLeast || g.atMost > 0 && q <= g.atMost {
				v.state = met
			}
		}
		list = append(list, v)
	}
	return list
}

// value is the median of what a contestant did, 0 if it was not measured.
func (r *report) value(workload, contestant string, m metric) (v float64, unit string) {
	found := r.find(workload)
	if found == nil || len(found.Rounds[contestant]) == 0 {
		return 0, ""
	}
	mid, _, _ := medians(found.Rounds[contestant])
	return m.of(mid), found.Unit
}

// target is the bound of a goal.
func (g goal) target() string {
	if g.atLeast > 0 {
		return fmt.Sprintf("≥ %g ×", g.atLeast)
	}
	return fmt.Sprintf("≤ %g ×", g.atMost)
}

// against says whom Berth is compared with.
func (g goal) against() string {
	switch {
	case g.of == "":
		return g.rival
	case g.rival == us:
		return "itself: " + g.of
	}
	return g.rival + ": " + g.of
}

func (g goal) kind() string {
	if g.gate {
		return "gate"
	}
	return ""
}

// verdictRows are those of a table, with the names of its columns. What was not
// measured has none.
func verdictRows(list []verdict) [][]string {
	rows := [][]string{{"workload", "", "berth", "against", "", "ratio", "target", "", ""}}
	for _, v := range list {
		if v.state == unmeasured {
			continue
		}
		rows = append(rows, []string{v.workload, string(v.value), v.value.text(v.ours, v.unit), v.against(), v.value.text(v.other, v.unit),
			ratio(v.ours, v.other), v.target(), string(v.state), v.kind()})
	}
	return rows
}

// printVerdicts writes which goals were reached.
func printVerdicts(w io.Writer, list []verdict) {
	count := make(map[state]int)
	var gates []string
	for _, v := range list {
		count[v.state]++
		if v.gate && v.state == missed {
			gates = append(gates, v.workload+": "+string(v.value)+" against "+v.against())
		}
	}
	if count[met]+count[missed] > 0 {
		fmt.Fprintf(w, "\nTargets\n")
		table(w, verdictRows(list))
	}
	fmt.Fprintf(w, "\n%d targets met, %d missed, %d not measured.\n", count[met], count[missed], count[unmeasured])
	if len(gates) > 0 {
		fmt.Fprintf(w, "Gates missed:\n\t%s\n", strings.Join(gates, "\n\t"))
	}
}

// missedGates is an error if one of the goals that are gates was missed, or was
// not measured although its workload was.
func missedGates(list []verdict, chosen []workload) error {
	run := make(map[string]bool)
	for _, w := range chosen {
		run[w.name] = true
	}
	var bad []string
	for _, v := range list {
		if v.gate && (v.state == missed || v.state == unmeasured && run[v.workload] && (v.of == "" || run[v.of])) {
			bad = append(bad, fmt.Sprintf("%s (%s)", v.workload, v.state))
		}
	}
	if len(bad) > 0 {
		return fmt.Errorf("gates: %s", strings.Join(bad, ", "))
	}
	return nil
}
