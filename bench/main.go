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
	"time"

	"berth/bench/floor"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	if len(os.Args) >= 4 && os.Args[1] == "floor" {
		err = serveFloor(os.Args[2:])
	} else {
		err = bench(ctx)
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
	against             string
	urls                []string
	only                *regexp.Regexp
	rounds              int
	each                time.Duration
	long                bool
	out                 string
}

func parse() (settings, error) {
	s := settings{only: regexp.MustCompile("")}
	tools := os.Getenv("BERTH_TOOLS")
	flag.StringVar(&s.berth, "berth", "bin/berth", "the `program` of Berth")
	flag.StringVar(&s.distribution, "distribution", filepath.Join(tools, "bin", "registry"), "the `program` of distribution")
	flag.StringVar(&s.against, "contestants", "berth,floor,distribution", "which of them are measured")
	flag.Func("url", "measure a registry that runs already, too: `name=http://user:password@host:port`", func(v string) error {
		if !strings.Contains(v, "=") {
			return errors.New("write it as name=http://host:port")
		}
		s.urls = append(s.urls, v)
		return nil
	})
	flag.Func("only", "measure workloads whose name matches this `expression`", func(v string) (err error) {
		s.only, err = regexp.Compile(v)
		return err
	})
	flag.IntVar(&s.rounds, "rounds", 3, "how often each is measured")
	flag.DurationVar(&s.each, "time", 3*time.Second, "how long one measurement takes")
	flag.BoolVar(&s.long, "long", false, "measure stores of 100,000 tags and repositories, too")
	flag.StringVar(&s.out, "out", "", "write the results into this `folder`, as JSON")
	flag.Parse()
	if flag.NArg() > 0 || s.rounds < 1 {
		return s, errors.New("see bench --help")
	}
	return s, nil
}

func bench(ctx context.Context) error {
	s, err := parse()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "berth-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	f := files{dir}
	if err := f.make(ctx, s.berth); err != nil {
		return err
	}
	list, err := s.contestants(f)
	if err != nil {
		return err
	}
	r := newReport(list)
	for _, w := range workloads(realistic()) {
		if w.long && !s.long || !s.only.MatchString(w.name) {
			continue
		}
		if err := s.compare(ctx, f, list, w, r); err != nil {
			return err
		}
		r.print(os.Stdout, w.name)
	}
	if s.only.MatchString(startName) {
		if err := s.starts(ctx, f, list, r); err != nil {
			return err
		}
	}
	if s.out == "" {
		return nil
	}
	return r.write(s.out)
}

// contestants are those that take part.
func (s settings) contestants(f files) ([]contestant, error) {
	var list []contestant
	for _, c := range contestants(f, s.berth, s.distribution) {
		if slices.Contains(strings.Split(s.against, ","), c.name) {
			list = append(list, c)
		}
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

// compare measures one workload on all that can do it, in turns.
func (s settings) compare(ctx context.Context, f files, list []contestant, w workload, r *report) error {
	var running []*target
	defer func() {
		for _, t := range running {
			if err := t.stop(); err != nil {
				fmt.Fprintln(os.Stderr, "bench:", err)
			}
		}
	}()
	for _, c := range list {
		if !slices.Contains(c.modes, w.mode) {
			continue
		}
		t, err := c.start(ctx, f, w.mode)
		if t != nil {
			running = append(running, t)
		}
		if err == nil && w.prepare != nil {
			err = withConn(t, func(conn *conn) error { return w.prepare(t, conn) })
		}
		if err != nil {
			return fmt.Errorf("%s: prepare %s: %w", c.name, w.name, err)
		}
	}
	for round := range s.rounds {
		for i := range running {
			t := running[(i+round)%len(running)]
			res, err := measure(ctx, w, t, s.each)
			if err != nil {
				return fmt.Errorf("%s: %s: %w", t.contestant.name, w.name, err)
			}
			r.add(w, t.contestant.name, res)
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
	return nil
}

func withConn(t *target, f func(*conn) error) error {
	c, err := dial(t)
	if err != nil {
		return err
	}
	defer c.close()
	return f(c)
}
