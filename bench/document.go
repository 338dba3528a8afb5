package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// resultsFolder is where the results are kept.
const resultsFolder = "bench/results"

// A page sums up the newest of them.
type page struct {
	file string
	text func(r *report, name string) string // name is that of the file with the results
}

// pages are all there are.
func pages() []page {
	return []page{
		{"docs/performance.md", (*report).markdown},
		{"README.md", (*report).english},
		{"README.zh.md", (*report).chinese},
	}
}

// The lines between which a page is generated.
const (
	pageBegin = "<!-- results:begin, written by: go run ./bench --document -->\n"
	pageEnd   = "<!-- results:end -->\n"
)

// write writes the newest complete results of a folder into the page, which is
// beneath root.
func (p page) write(folder, root string) error {
	path := filepath.Join(root, p.file)
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	now, err := p.with(old, folder)
	if err != nil || bytes.Equal(now, old) {
		return err
	}
	return os.WriteFile(path, now, 0o644)
}

// with is the page with the newest complete results of a folder in it.
func (p page) with(old []byte, folder string) ([]byte, error) {
	name, r, err := newest(folder)
	if err != nil {
		return nil, err
	}
	before, rest, ok := bytes.Cut(old, []byte(pageBegin))
	_, after, ok2 := bytes.Cut(rest, []byte(pageEnd))
	if !ok || !ok2 {
		return nil, fmt.Errorf("%s lacks the lines between which results are written: %s", p.file, pageBegin)
	}
	text := "Nothing has been measured yet.\n"
	if r != nil {
		text = p.text(r, name)
	}
	return bytes.Join([][]byte{before, []byte(pageBegin + "\n" + text + "\n" + pageEnd), after}, nil), nil
}

// markdown sums up a report.
func (r *report) markdown(name string) string {
	var b strings.Builder
	m := r.Machine
	fmt.Fprintf(&b, "Measured on %s on %s, %d cores, %.0f GiB, Linux %s, %s: medians of %d rounds ([all of it](../bench/results/%s)).\n\n",
		m.Time.Format("2006-01-02"), m.CPU, m.Cores, float64(m.Memory)/(1<<30), m.Kernel, m.Go, r.Flags.Rounds, name)
	for _, p := range r.Programs {
		fmt.Fprintf(&b, "- %s: %s\n", p.Name, p.Version)
	}
	if v, _ := r.value("manifest GET by tag c16", least, cpu); v > 0 {
		fmt.Fprintf(&b, "\nThe floor takes %s µs of CPU for a manifest here; on the machine that the targets come from it took 13.\n", number(v))
	}
	verdicts := r.judge()
	b.WriteString("\n### Targets\n\n")
	writeVerdicts(&b, verdicts)
	b.WriteString("\n### Everything\n\n")
	for _, m := range r.Measured {
		fmt.Fprintf(&b, "<details><summary>%s</summary>\n\n", m.Workload)
		markdownTable(&b, r.rows(m))
		for _, p := range r.Programs {
			if text := m.Failed[p.Name]; text != "" {
				fmt.Fprintf(&b, "\n%s failed: %s\n", p.Name, strings.Join(strings.Fields(text), " "))
			}
		}
		b.WriteString("\n</details>\n")
	}
	return b.String()
}

// footnotes are numbered; the same text is the same note.
type footnotes []string

// mark returns the mark of a note, which is none of an empty one.
func (f *footnotes) mark(text string) string {
	if text == "" {
		return ""
	}
	at := slices.Index(*f, text)
	if at < 0 {
		at = len(*f)
		*f = append(*f, text)
	}
	return fmt.Sprintf(" <sup>%d</sup>", at+1)
}

// writeVerdicts writes the table of targets, with the notes that belong to it.
func writeVerdicts(b *strings.Builder, list []verdict) {
	rows := [][]string{{"workload", "", "Berth", "against", "", "ratio", "target", ""}}
	var notes footnotes
	count := make(map[state]int)
	for _, v := range list {
		if count[v.state]++; v.state == unmeasured {
			continue
		}
		name, end := v.workload, string(v.state)
		if v.gate {
			name = "**" + name + "**"
		}
		if v.state == missed {
			end = "**" + end + "**" + notes.mark(v.why)
		}
		rows = append(rows, []string{name, string(v.value), v.value.text(v.ours, v.unit), v.against() + notes.mark(v.note), v.value.text(v.other, v.unit),
			ratio(v.ours, v.other), v.target(), end})
	}
	fmt.Fprintf(b, "%d of %d are met. Those whose workload is in bold are gates.\n\n", count[met], count[met]+count[missed])
	markdownTable(b, rows)
	for i, note := range notes {
		if i == 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(b, "<sup>%d</sup> %s%s.\\\n", i+1, strings.ToUpper(note[:1]), note[1:])
	}
}

func markdownTable(b *strings.Builder, rows [][]string) {
	for i, row := range rows {
		fmt.Fprintf(b, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			b.WriteString(strings.Repeat("|---", len(row)) + "|\n")
		}
	}
}
