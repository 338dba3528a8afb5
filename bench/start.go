package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"time"
)

// others are measured in ways of their own.
func others(sizes) []workload {
	return []workload{
		starts(0, "empty", supply{}, "/v2/"),
		{name: "program", unit: "programs", store: "empty", rounds: 1, lacks: []string{"floor"}, special: func(_ context.Context, t *target) (result, error) {
			info, err := os.Stat(t.contestant.program)
			if err != nil {
				return result{}, err
			}
			return result{Memory: info.Size(), Samples: 1}, nil
		}},
	}
}

// starts measures how long a contestant takes from its start to its first
// answer, which is something from the store if there is one: some answer before
// they can answer anything.
func starts(repos int, store string, needs supply, path string) workload {
	return workload{
		name: fmt.Sprintf("start with %d repositories", repos), unit: "starts", store: store, needs: needs,
		special: func(ctx context.Context, t *target) (result, error) {
			const times = 5
			if t.contestant.command == nil {
				return result{}, fmt.Errorf("%s runs already", t.contestant.name)
			}
			var took []time.Duration
			var cpu time.Duration
			var memory int64
			for range times {
				if err := t.halt(); err != nil {
					return result{}, err
				}
				began := time.Now()
				if err := t.launch(ctx, t.mode, path); err != nil {
					return result{}, err
				}
				took = append(took, time.Since(began))
				cpu += t.process.cpu()
				memory = max(memory, t.process.memory("VmHWM"))
			}
			mid := quantile(took, 0.5)
			return result{Rate: 1000 / mid, P50: mid, P99: quantile(took, 0.99), Samples: times, CPU: float64(cpu.Microseconds()) / times, Memory: memory}, nil
		},
	}
}

// idle measures the memory of a server that has worked and does nothing now, and
// the CPU that it uses for that in a second.
func idle(repos int) workload {
	w := ofRepos(repos)[0]
	for _, other := range ofRepos(repos) {
		if other.unit == "requests" {
			w = other
		}
	}
	w.clients = 16
	return workload{
		name: fmt.Sprintf("idle with %d repositories", repos), unit: "idle seconds", store: w.store, needs: w.needs, rounds: 1,
		special: func(ctx context.Context, t *target) (result, error) {
			const rest = 12 * time.Second // a heap takes ten to shrink
			if _, err := measure(ctx, w, t, time.Second); err != nil {
				return result{}, err
			}
			before := t.process.cpu()
			if err := pause(ctx, rest); err != nil {
				return result{}, err
			}
			cpu := t.process.cpu() - before
			return result{Samples: 1, CPU: float64(cpu.Microseconds()) / rest.Seconds(), Memory: t.process.memory("VmRSS")}, nil
		},
	}
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

// able says whether a contestant can do w.
func (c contestant) able(w workload) bool {
	return slices.Contains(c.modes, w.mode) && !slices.Contains(w.lacks, c.name)
}
