package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"
)

// A report is what was measured.
type report struct {
	Machine  machine    `json:"machine"`
	Measured []measured `json:"measured"`

	order []string // of contestants
}

// A machine is where it was measured.
type machine struct {
	Time   time.Time `json:"time"`
	CPU    string    `json:"cpu"`
	Cores  int       `json:"cores"`
	Kernel string    `json:"kernel"`
	Go     string    `json:"go"`
}

// measured are the rounds of one workload.
type measured struct {
	Workload string              `json:"workload"`
	Unit     string              `json:"unit"`
	Rounds   map[string][]result `json:"rounds"` // by contestant
}

func newReport(list []contestant) *report {
	r := &report{Machine: machine{Time: time.Now().UTC().Truncate(time.Second), CPU: model(), Cores: runtime.NumCPU(), Kernel: kernel(), Go: runtime.Version()}}
	for _, c := range list {
		r.order = append(r.order, c.name)
	}
	return r
}

// model is the name of the processor.
func model() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(b)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

func kernel() string {
	b, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return cmp.Or(strings.TrimSpace(string(b)), runtime.GOOS)
}

func (r *report) add(w workload, contestant string, res result) {
	if len(r.Measured) == 0 || r.Measured[len(r.Measured)-1].Workload != w.name {
		r.Measured = append(r.Measured, measured{Workload: w.name, Unit: w.unit, Rounds: map[string][]result{}})
	}
	m := r.Measured[len(r.Measured)-1]
	m.Rounds[contestant] = append(m.Rounds[contestant], res)
}

// medians of the rounds of one contestant.
func medians(rounds []result) (mid result, spread float64) {
	of := func(value func(result) float64) (float64, float64) {
		var list []float64
		for _, r := range rounds {
			list = append(list, value(r))
		}
		return median(list)
	}
	mid.Rate, spread = of(func(r result) float64 { return r.Rate })
	mid.CPU, _ = of(func(r result) float64 { return r.CPU })
	mid.P50, _ = of(func(r result) float64 { return r.P50 })
	mid.P99, _ = of(func(r result) float64 { return r.P99 })
	memory, _ := of(func(r result) float64 { return float64(r.Memory) })
	mid.Memory = int64(memory)
	return mid, spread
}

// print writes the table of one workload. Ratios are of the first contestant to
// each of the others.
func (r *report) print(w io.Writer, workload string) {
	for _, m := range r.Measured {
		if m.Workload != workload {
			continue
		}
		fmt.Fprintf(w, "\n%s\n", m.Workload)
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintf(t, "\t%s/s\t±\tCPU µs\tp50 ms\tp99 ms\tpeak MiB\t%s: rate\tCPU\t\n", m.Unit, r.order[0])
		first, _ := medians(m.Rounds[r.order[0]])
		for _, name := range r.order {
			rounds := m.Rounds[name]
			if len(rounds) == 0 {
				continue
			}
			mid, spread := medians(rounds)
			fmt.Fprintf(t, "%s\t%s\t%.0f%%\t%.1f\t%.2f\t%.2f\t%.1f\t%s\t%s\t\n", name, number(mid.Rate), 100*spread, mid.CPU, mid.P50, mid.P99,
				float64(mid.Memory)/(1<<20), ratio(first.Rate, mid.Rate), ratio(first.CPU, mid.CPU))
		}
		t.Flush()
	}
}

func number(v float64) string {
	if v >= 100 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func ratio(a, b float64) string {
	if a == 0 || b == 0 {
		return "-"
	}
	return fmt.Sprintf("%.3g ×", a/b)
}

// write keeps the report in a file named for its day.
func (r *report) write(folder string) error {
	b, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, r.Machine.Time.Format("2006-01-02T150405Z")+".json"), append(b, '\n'), 0o644)
}
