package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"time"
)

// startName is the name of the measurement of starts.
const startName = "start"

// starts measures how long a contestant takes from its start to its first
// answer, empty and with a store, and its memory when nothing is asked of it.
func (s settings) starts(ctx context.Context, f files, list []contestant, r *report) error {
	for _, repos := range []int{0, 5_000} {
		w := workload{name: fmt.Sprintf("%s with %d repositories", startName, repos), unit: "starts"}
		for _, c := range list {
			if c.command == nil || c.name == "floor" { // which does not read what it wrote
				continue
			}
			if err := s.startsOf(ctx, f, c, w, repos, r); err != nil {
				return fmt.Errorf("%s: %s: %w", c.name, w.name, err)
			}
		}
		r.print(os.Stdout, w.name)
	}
	return nil
}

func (s settings) startsOf(ctx context.Context, f files, c contestant, w workload, repos int, r *report) (err error) {
	t, err := c.start(ctx, f, plain)
	if t != nil {
		defer func() {
			if serr := t.stop(); err == nil {
				err = serr
			}
		}()
	}
	if err != nil {
		return err
	}
	img := newImage(1, 1<<10, t.unique())
	if err := fill(t, repos, func(c *conn, i int) error { return img.push(c, fmt.Sprintf("bench/r%06d", i), "v1") }); err != nil {
		return err
	}
	for range s.rounds + 2 {
		if err := t.halt(); err != nil {
			return err
		}
		began := time.Now()
		if err := t.launch(ctx, f, plain); err != nil {
			return err
		}
		took := time.Since(began)
		cpu, _ := t.process.cpu()
		r.add(w, c.name, result{Rate: 1 / took.Seconds(), P50: float64(took.Microseconds()) / 1000, P99: float64(took.Microseconds()) / 1000,
			CPU: float64(cpu.Microseconds()), Memory: t.process.memory("VmRSS")})
	}
	return nil
}

// make writes what the contestants share: a certificate and a password file,
// with Berth's own commands.
func (f files) make(ctx context.Context, berth string) error {
	run := func(args ...string) ([]byte, error) {
		out, err := exec.CommandContext(ctx, berth, args...).Output()
		if err != nil {
			err = fmt.Errorf("%s %s: %w (build it with: make build)", berth, args[0], err)
		}
		return out, err
	}
	if _, err := run("tls", "self-signed", "127.0.0.1", "--dir", f.dir); err != nil {
		return err
	}
	line, err := run("htpasswd", "-Bbn", "-C", "10", user, password)
	if err != nil {
		return err
	}
	return os.WriteFile(f.htpasswd(), line, 0o600)
}
