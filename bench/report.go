package main

import (
	"cmp"
	"encoding/json"
	"errors"
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
	Programs []program  `json:"programs"` // the contestants, in their order
	Flags    flags      `json:"flags"`
	Complete bool       `json:"complete"` // every workload was measured
	Measured []measured `json:"measured"`
}

// A machine is where it was measured.
type machine struct {
	Time   time.Time `json:"time"`
	CPU    string    `json:"cpu"`
	Cores  int       `json:"cores"`
	Memory int64     `json:"memory_bytes"`
	Kernel string    `json:"kernel"`
	Go     string    `json:"go"`
}

// flags are how it was measured.
type flags struct {
	Rounds int    `json:"rounds"`
	Time   string `json:"time"`
	Long   bool   `json:"long"`
	Only   string `json:"only,omitempty"`
}

// measured are the rounds of one workload.
type measured struct {
	Workload string              `json:"workload"`
	Unit     string              `json:"unit"`
	Took     float64             `json:"took_s"`           // altogether
	Rounds   map[string][]result `json:"rounds"`           // by contestant
	Failed   map[string]string   `json:"failed,omitempty"` // by contestant
}

func newReport(list []contestant, s settings) *report {
	r := &report{
		Machine: machine{
			Time: time.Now().UTC().Truncate(time.Second), CPU: model(), Cores: runtime.NumCPU(), Memory: memory(), Kernel: kernel(), Go: runtime.Version(),
		},
		Flags: flags{s.rounds, s.each.String(), s.long, s.only},
	}
	for _, c := range list {
		r.Programs = append(r.Programs, c.about())
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

// memory is what the machine has.
func memory() int64 {
	b, _ := os.ReadFile("/proc/meminfo")
	var kib int64
	_, _ = fmt.Sscanf(string(b), "MemTotal: %d", &kib)
	return kib << 10
}

func (r *report) begin(w workload) {
	r.Measured = append(r.Measured, measured{Workload: w.name, Unit: w.unit, Rounds: make(map[string][]result)})
}

func (r *report) end(w workload, took time.Duration) {
	r.find(w.name).Took = took.Round(10 * time.Millisecond).Seconds()
}

func (r *report) add(w workload, contestant string, res result) {
	m := r.find(w.name)
	m.Rounds[contestant] = append(m.Rounds[contestant], res)
}

// fail notes that a contestant could not do a workload. What it did of it does
// not count.
func (r *report) fail(w workload, contestant string, err error) {
	m := r.find(w.name)
	if m.Failed == nil {
		m.Failed = make(map[string]string)
	}
	m.Failed[contestant] = err.Error()
	delete(m.Rounds, contestant)
}

// find returns what was measured of a workload, or nil.
func (r *report) find(workload string) *measured {
	for i := range r.Measured {
		if r.Measured[i].Workload == workload {
			return &r.Measured[i]
		}
	}
	return nil
}

// medians of the rounds of one contestant, and how far apart its rates lie, and
// its CPU.
func medians(rounds []result) (mid result, rates, cpus float64) {
	of := func(value func(result) float64) (float64, float64) {
		var list []float64
		for _, r := range rounds {
			list = append(list, value(r))
		}
		return median(list)
	}
	mid.Rate, rates = of(func(r result) float64 { return r.Rate })
	mid.CPU, cpus = of(func(r result) float64 { return r.CPU })
	mid.P50, _ = of(func(r result) float64 { return r.P50 })
	mid.P99, _ = of(func(r result) float64 { return r.P99 })
	samples, _ := of(func(r result) float64 { return float64(r.Samples) })
	memory, _ := of(func(r result) float64 { return float64(r.Memory) })
	mid.Samples, mid.Memory = int(samples), int64(memory)
	return mid, rates, cpus
}

// rows of the table of one workload, the first of which has the names of the
// columns. The ratios are those of the first contestant to each of the others.
func (r *report) rows(m measured) [][]string {
	first := r.Programs[0].Name
	rows := [][]string{{"", m.Unit + "/s", "±", "CPU µs", "±", "p50 ms", "p99 ms", "peak MiB", first + ": rate", "CPU"}}
	ours, _, _ := medians(m.Rounds[first])
	for _, p := range r.Programs {
		if m.Failed[p.Name] != "" {
			rows = append(rows, []string{p.Name, "failed", "", "", "", "", "", "", "", ""})
		}
		rounds := m.Rounds[p.Name]
		if len(rounds) == 0 {
			continue
		}
		mid, rates, cpus := medians(rounds)
		p99 := "" // there is none of few
		if mid.Samples >= enough {
			p99 = number(mid.P99)
		}
		rows = append(rows, []string{
			p.Name, number(mid.Rate), percent(rates), number(mid.CPU), percent(cpus), number(mid.P50), p99, number(float64(mid.Memory) / (1 << 20)),
			ratio(ours.Rate, mid.Rate), ratio(ours.CPU, mid.CPU),
		})
	}
	return rows
}

// enough is how many samples there must be for the time that 99 of 100 stay below.
const enough = 100

// print writes the table of one workload.
func (r *report) print(w io.Writer, workload string) {
	m := r.find(workload)
	fmt.Fprintf(w, "\n%s (%.0f s)\n", m.Workload, m.Took)
	table(w, r.rows(*m))
	for name, text := range m.Failed {
		fmt.Fprintf(w, "%s FAILED: %s\n", name, text)
	}
}

func table(w io.Writer, rows [][]string) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, row := range rows {
		fmt.Fprintln(t, strings.Join(row, "\t")+"\t")
	}
	t.Flush()
}

// number has three digits at least where there is something to tell.
func number(v float64) string {
	switch {
	case v == 0:
		return "–"
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// percent is empty where nothing differs, as with a single round.
func percent(v float64) string {
	if v == 0 {
		return ""
	}
	return fmt.Sprintf("%.0f%%", 100*v)
}

func ratio(a, b float64) string {
	if a == 0 || b == 0 {
		return "–"
	}
	if q := a / b; q < 1000 {
		return fmt.Sprintf("%.3g ×", q)
	}
	return fmt.Sprintf("%.0f ×", a/b)
}

// write keeps the report in a file named for its time. It is whole or not there.
func (r *report) write(folder string) error {
	b, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	path := filepath.Join(folder, r.Machine.Time.Format("2006-01-02T150405Z")+".json")
	if err := os.WriteFile(path+".part", append(b, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".part", path)
}

// newest reads the newest complete report of a folder. There may be none.
func newest(folder string) (name string, r *report, err error) {
	entries, err := os.ReadDir(folder)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", nil, err
	}
	for i := len(entries) - 1; i >= 0; i-- {
		name := entries[i].Name()
		if filepath.Ext(name) != ".json" {
			continue
		}
		b, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			return "", nil, err
		}
		r := new(report)
		if err := json.Unmarshal(b, r); err != nil {
			return "", nil, fmt.Errorf("%s: %w", name, err)
		}
		if r.Complete {
			return name, r, nil
		}
	}
	return "", nil, nil
}
