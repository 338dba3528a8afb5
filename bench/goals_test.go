package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// reportOf is a report in which some contestants did some workloads, all rounds alike.
func reportOf(t *testing.T, values map[string]map[string]result) *report {
	t.Helper()
	r := newReport([]contestant{{name: us}, {name: least}, {name: dist}}, settings{rounds: 2})
	for _, g := range goals() {
		if r.find(g.workload) != nil || values[g.workload] == nil {
			continue
		}
		w := workload{name: g.workload, unit: "things"}
		r.begin(w)
		for who, res := range values[g.workload] {
			r.add(w, who, res)
			r.add(w, who, res)
		}
	}
	return r
}

func TestVerdicts(t *testing.T) {
	get := "manifest GET by tag c16"
	r := reportOf(t, map[string]map[string]result{
		get:                        {us: {Rate: 100, CPU: 13, Samples: 500}, least: {Rate: 120, CPU: 10, Samples: 500}, dist: {Rate: 10, CPU: 100, Samples: 500}},
		in(passwords, get):         {us: {Rate: 90, CPU: 13}, dist: {Rate: 0.09, CPU: 1}},
		"pull of small images c16": {us: {Rate: 100, CPU: 10}},
		"CI-like mix c32":          {us: {Rate: 100, P99: 5, Samples: 50}, least: {Rate: 100, P99: 5, Samples: 500}},
	})
	got := make(map[string]state)
	for _, v := range r.judge() {
		got[v.workload+", "+string(v.value)+", "+v.against()] = v.state
	}
	for key, want := range map[string]state{
		get + ", CPU, distribution":                                       missed, // 0.13 of it
		get + ", CPU, floor":                                              met,    // just
		get + ", rate, distribution":                                      met,
		get + ", rate, floor":                                             met,
		get + " htpasswd, rate, distribution":                             met, // just
		get + " htpasswd, rate, floor: " + get:                            met,
		get + " htpasswd, rate, itself: " + get:                           met,
		"pull of small images c16, rate, floor":                           unmeasured, // the other did not
		"CI-like mix c32, p99, floor":                                     unmeasured, // too few samples
		"CI-like mix c32, rate, floor":                                    met,
		"large pull c4, CPU, floor":                                       unmeasured,
		"a tag that moves of 10000, CPU, itself: a tag that moves of 100": unmeasured,
	} {
		if got[key] != want {
			t.Errorf("%s: got %q, want %q", key, got[key], want)
		}
	}
	var out strings.Builder
	printVerdicts(&out, r.judge())
	for _, want := range []string{"missed  gate", "Gates missed:\n\t" + get + ": CPU against distribution\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the verdicts lack %q:\n%s", want, &out)
		}
	}
}

func TestMissedGates(t *testing.T) {
	gate := goal{workload: "a", gate: true}
	elsewhere := goal{workload: "a", of: "b", gate: true}
	for _, c := range []struct {
		list   []verdict
		chosen []string
		fails  bool
	}{
		{[]verdict{{goal: gate, state: met}}, []string{"a"}, false},
		{[]verdict{{goal: gate, state: missed}}, []string{"a"}, true},
		{[]verdict{{goal: goal{workload: "a"}, state: missed}}, []string{"a"}, false}, // is no gate
		{[]verdict{{goal: gate, state: unmeasured}}, []string{"a"}, true},             // it should have been
		{[]verdict{{goal: gate, state: unmeasured}}, []string{"b"}, false},
		{[]verdict{{goal: elsewhere, state: unmeasured}}, []string{"a"}, false},
		{[]verdict{{goal: elsewhere, state: unmeasured}}, []string{"a", "b"}, true},
	} {
		var chosen []workload
		for _, name := range c.chosen {
			chosen = append(chosen, workload{name: name})
		}
		if err := missedGates(c.list, chosen); (err != nil) != c.fails {
			t.Errorf("%+v with %s: got %v", c.list, c.chosen, err)
		}
	}
}

// TestGoals are about workloads that are measured, and say one thing each.
func TestGoals(t *testing.T) {
	measured := make(map[string]bool)
	for _, w := range workloads(realistic()) {
		if measured[w.name] {
			t.Errorf("two workloads are called %q", w.name)
		}
		measured[w.name] = true
	}
	for _, g := range goals() {
		if !measured[g.workload] || g.of != "" && !measured[g.of] {
			t.Errorf("the target of %q, against %q, is about no workload", g.workload, g.of)
		}
		if (g.atLeast > 0) == (g.atMost > 0) {
			t.Errorf("the target of %q has not one bound", g.workload)
		}
	}
}

// TestDocumented compares the pages with the newest results.
func TestDocumented(t *testing.T) {
	const root = ".."
	for _, p := range pages() {
		text, err := os.ReadFile(filepath.Join(root, p.file))
		if err != nil {
			t.Fatal(err)
		}
		want, err := p.with(text, filepath.Join(root, resultsFolder))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(text, want) {
			t.Errorf("%s is not as the newest results are: go run ./bench --document", p.file)
		}
	}
}

// TestQuotes holds that what the READMEs show is measured.
func TestQuotes(t *testing.T) {
	for _, q := range quotes() {
		if !slices.ContainsFunc(workloads(realistic()), func(w workload) bool { return w.name == q.workload }) {
			t.Errorf("%q is about no workload", q.workload)
		}
	}
}

func TestPage(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "results")
	root := t.TempDir()
	path := filepath.Join(root, "page.md")
	p := page{"page.md", (*report).markdown}
	if err := os.WriteFile(path, []byte("before\n"+pageBegin+"stale\n"+pageEnd+"after\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	check := func(want ...string) {
		t.Helper()
		for range 2 { // the second time changes nothing
			if err := p.write(folder, root); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range append(want, "before\n"+pageBegin, pageEnd+"after\n") {
			if !strings.Contains(string(got), text) {
				t.Errorf("the page lacks %q:\n%s", text, got)
			}
		}
		if strings.Contains(string(got), "stale") {
			t.Error("what was there before is left")
		}
	}
	check("Nothing has been measured yet.")

	r := reportOf(t, map[string]map[string]result{"tags only c16": {us: {Rate: 110, CPU: 5}, dist: {Rate: 10, CPU: 50}}})
	r.fail(workload{name: "tags only c16"}, least, os.ErrDeadlineExceeded)
	r.Machine.Time = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, r.Complete = range []bool{true, false} { // the newer one is not
		if err := r.write(folder); err != nil {
			t.Fatal(err)
		}
		r.Machine.Time = r.Machine.Time.Add(time.Hour)
	}
	check("2026-01-02T030405Z.json", "1 of 1 are met.", "| tags only c16 | rate | 110 things/s | distribution | 10.0 things/s | 11 × | ≥ 11 × | met |",
		"<details><summary>tags only c16</summary>", "floor failed: i/o timeout")
}

func TestFootnotes(t *testing.T) {
	var b strings.Builder
	writeVerdicts(&b, []verdict{
		{goal: goal{workload: "a", value: rate, rival: dist, atLeast: 2, note: "first note", why: "not said of what is met"}, ours: 4, other: 1, state: met},
		{goal: goal{workload: "b", value: rate, rival: dist, atLeast: 2, note: "first note", why: "reason", gate: true}, ours: 1, other: 1, state: missed},
	})
	for _, want := range []string{"1 of 2 are met.", "| a |", "| **b** |", "| distribution <sup>1</sup> |", "| **missed** <sup>2</sup> |", "<sup>1</sup> First note.", "<sup>2</sup> Reason."} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not there:\n%s", want, &b)
		}
	}
	if strings.Contains(b.String(), "not said") || strings.Contains(b.String(), "<sup>3") {
		t.Errorf("too much is said:\n%s", &b)
	}
}
