// Command bench measures registries against each other: Berth, the floor of this
// folder, distribution, and any that runs already. They take turns, round by
// round, so that what the machine does meanwhile happens to all of them, and
// what they answer is checked. What counts are the ratios within one run and the
// CPU that the server needs for an operation; rates are as good as the machine.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"berth/bench/floor"
)

func main() {
	var err error
	if len(os.Args) >= 4 && os.Args[1] == "floor" {
		err = serveFloor(os.Args[2:])
	} else {
		err = bench()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// serveFloor runs the floor: its directory, its address, and for TLS the
// certificate and the key.
func serveFloor(args []string) error {
	s, err := floor.Open(args[0])
	if err != nil {
		return err
	}
	server := &http.Server{Addr: args[1], Handler: s, ReadHeaderTimeout: time.Minute}
	if len(args) == 4 {
		return server.ListenAndServeTLS(args[2], args[3])
	}
	return server.ListenAndServe()
}

// settings are what the flags say.
type settings struct {
	berth, distribution string
	before              string
	against             string
	urls                []string
	only                string
	rounds              int
	each                time.Duration
	long                bool
	out, profiles       string
	document, check     bool
	list                bool
}

func parse() (settings, error) {
	var s settings
	tools := os.Getenv("BERTH_TOOLS")
	flag.StringVar(&s.berth, "berth", "bin/berth", "the `program` of Berth")
	flag.StringVar(&s.distribution, "distribution", filepath.Join(tools, "bin", "registry"), "the `program` of distribution")
	flag.StringVar(&s.before, "before", "", "measure this `program` of Berth, too: the one before a change")
	flag.StringVar(&s.against, "contestants", "berth,floor,distribution", "which of them are measured")
	flag.Func("url", "measure a registry that runs already, too: `name=http://user:password@host:port`", func(v string) error {
		if !strings.Contains(v, "=") {
			return errors.New("write it as name=http://host:port")
		}
		s.urls = append(s.urls, v)
		return nil
	})
	flag.StringVar(&s.only, "only", "", "measure workloads whose name matches this `expression`")
	flag.IntVar(&s.rounds, "rounds", 3, "how often each is measured")
	flag.DurationVar(&s.each, "time", 800*time.Millisecond, "how long one measurement takes; those of the most interest take longer")
	flag.BoolVar(&s.long, "long", false, "measure stores of 100,000 tags and repositories, too")
	flag.StringVar(&s.out, "out", "", "write the results into this `folder`, as JSON")
	flag.StringVar(&s.profiles, "profile", "", "after each workload write what Berth spends its CPU on into this `folder`")
	flag.BoolVar(&s.check, "check", false, "fail if one of the targets that are gates is missed")
	flag.BoolVar(&s.document, "document", false, "measure nothing: write the newest results into docs/performance.md")
	flag.BoolVar(&s.list, "list", false, "measure nothing: name the workloads")
	flag.Parse()
	if flag.NArg() > 0 || s.rounds < 1 || s.each <= 0 {
		return s, errors.New("see bench --help")
	}
	return s, nil
}

func bench() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	s, err := parse()
	if err != nil {
		return err
	}
	if s.document {
		for _, p := range pages() {
			if err := p.write(resultsFolder, "."); err != nil {
				return err
			}
		}
		return nil
	}
	chosen, err := s.chosen()
	if err != nil {
		return err
	}
	if s.list {
		for _, w := range chosen {
			fmt.Println(w.name)
		}
		return nil
	}
	dir, err := os.MkdirTemp("", "berth-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	apart(dir)
	return s.measure(ctx, files{dir}, chosen)
}

// measure runs the chosen workloads, and says at the end which targets were met.
func (s settings) measure(ctx context.Context, f files, chosen []workload) error {
	if err := f.make(ctx, s.berth); err != nil {
		return err
	}
	list, err := s.contestants(f)
	if err != nil {
		return err
	}
	r := newReport(list, s)
	session := session{files: f, list: list, rounds: s.rounds, each: s.each, out: os.Stdout, stock: newStock(), report: r, profiles: s.profiles, progress: func() error {
		if s.out == "" {
			return nil
		}
		return r.write(s.out)
	}}
	err = session.all(ctx, chosen)
	if err == nil {
		r.Complete = s.only == ""
		err = session.progress()
	}
	verdicts := r.judge()
	printVerdicts(os.Stdout, verdicts)
	if err == nil && s.check {
		err = missedGates(verdicts, chosen)
	}
	return err
}

// chosen are the workloads that are measured.
func (s settings) chosen() ([]workload, error) {
	only, err := regexp.Compile(s.only)
	if err != nil {
		return nil, fmt.Errorf("--only: %w", err)
	}
	var list []workload
	for _, w := range workloads(realistic()) {
		if (s.long || !w.long) && only.MatchString(w.name) {
			list = append(list, w)
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("--only %s: there is no such workload; see --list", s.only)
	}
	return list, nil
}

// contestants are those that take part.
func (s settings) contestants(f files) ([]contestant, error) {
	var list []contestant
	for _, c := range contestants(f, s.berth, s.distribution) {
		if slices.Contains(strings.Split(s.against, ","), c.name) {
			list = append(list, c)
		}
	}
	if s.before != "" {
		list = append(list, berthAs("before", s.before, f))
	}
	for _, text := range s.urls {
		name, address, _ := strings.Cut(text, "=")
		list = append(list, contestant{name: name, url: address, modes: []mode{plain}})
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("--contestants %s: write some of berth,floor,distribution", s.against)
	}
	return list, nil
}
