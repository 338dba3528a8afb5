package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// A session takes the contestants through the workloads.
type session struct {
	files    files
	list     []contestant
	rounds   int
	each     time.Duration
	out      io.Writer
	stock    *stock
	report   *report
	profiles string       // a folder for them; empty is none
	progress func() error // keeps the report, after each workload
}

// all measures workloads. What fails is reported, and the others go on; only the
// end of ctx ends it.
func (r *session) all(ctx context.Context, list []workload) error {
	for len(list) > 0 {
		n := 1
		for n < len(list) && list[n].store == list[0].store {
			n++
		}
		if err := r.shared(ctx, list[:n]); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

// shared measures workloads that share their store: each contestant fills one of
// its own, once, and begins every workload with a new process.
func (r *session) shared(ctx context.Context, list []workload) error {
	var targets []*target
	defer func() {
		for _, t := range targets {
			if err := t.clear(); err != nil {
				fmt.Fprintln(r.out, "bench:", err)
			}
		}
	}()
	for _, c := range r.list {
		t, err := c.open(r.files, r.stock)
		if err != nil {
			return err
		}
		t.profiled = r.profiles != ""
		targets = append(targets, t)
	}
	for _, w := range list {
		began := time.Now()
		r.report.begin(w)
		r.compare(ctx, targets, w)
		r.report.end(w, time.Since(began))
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.report.print(r.out, w.name)
		if err := r.progress(); err != nil {
			return err
		}
	}
	return nil
}

// compare measures one workload on all that can do it, in turns.
func (r *session) compare(ctx context.Context, targets []*target, w workload) {
	var running []*target
	drop := func(t *target, err error) {
		for i := range running {
			if running[i] == t {
				running = append(running[:i:i], running[i+1:]...)
				break
			}
		}
		if err = errors.Join(err, t.halt()); err != nil && ctx.Err() == nil {
			r.report.fail(w, t.contestant.name, err)
		}
	}
	for _, t := range targets {
		if !t.contestant.able(w) {
			continue
		}
		if err := t.ready(ctx, w); err != nil {
			drop(t, fmt.Errorf("prepare: %w", err))
			continue
		}
		running = append(running, t)
	}
	rounds := r.rounds
	if w.rounds > 0 {
		rounds = min(rounds, w.rounds)
	}
	for round := range rounds {
		turn := append([]*target(nil), running...)
		for i := range turn {
			t := turn[(i+round)%len(turn)]
			res, err := measure(ctx, w, t, r.each)
			if err != nil {
				drop(t, err)
				continue
			}
			r.report.add(w, t.contestant.name, res)
		}
		if ctx.Err() != nil {
			break
		}
	}
	for len(running) > 0 {
		t := running[0]
		var err error
		if ctx.Err() == nil {
			err = r.profile(ctx, t, w)
		}
		if w.after != nil && err == nil && ctx.Err() == nil {
			err = withConn(t, func(c *conn) error { return w.after(ctx, t, c) })
		}
		drop(t, err)
	}
}

// ready starts a contestant with what a workload needs in its store. That is
// made by another process, which the measured one does not remember.
func (t *target) ready(ctx context.Context, w workload) error {
	made, ok := t.supplies[w.needs.name]
	if !ok && w.needs.name != "" {
		if err := t.launch(ctx, plain, "/v2/"); err != nil {
			return err
		}
		err := withConn(t, func(c *conn) (err error) {
			made, err = w.needs.make(t, c)
			return err
		})
		if err == nil {
			err = t.halt()
		}
		if err != nil {
			return err
		}
		t.supplies[w.needs.name] = made
	}
	t.supplied = made
	if t.dir != "" {
		if err := flush(t.dir); err != nil {
			return err
		}
	}
	return t.launch(ctx, w.mode, "/v2/")
}
