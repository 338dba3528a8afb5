package berth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"berth/config"
	"berth/internal/meta"
	"berth/internal/registry"
	"berth/internal/registry2/tree"
)

// registry2Part is what health calls living together with a registry:2.
const registry2Part = "registry2"

// openTree finds out whether a registry:2 has used the data directory, and gets
// ready to take over what it left there and to keep it in step.
func (s *Server) openTree(ctx context.Context) error {
	t, err := tree.Open(s.cfg.Data)
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	s.closers.add(func(context.Context) error { return t.Close() })
	s.tree = t
	exists, err := t.Exists()
	if err != nil {
		return fmt.Errorf("data directory %s: %w", s.cfg.Data, err)
	}
	state, err := s.meta.Tree(ctx)
	if err != nil {
		return err
	}
	mode := s.cfg.Registry2.Shadow
	begun := state == meta.TreeAdopting || state == meta.TreeNone && exists
	read := begun || mode == config.ShadowOn || mode == config.ShadowAuto && state == meta.TreeAdopted
	if !read {
		s.tellTree(state, exists)
		return nil
	}
	s.adopter = &tree.Adopter{Tree: t, Data: s.blobs, Records: s.meta, Log: s.log, Shadow: mode != config.ShadowOff}
	s.health.SetProblem(registry2Part, "what registry:2 has is being taken over")
	if !s.adopter.Shadow {
		return nil
	}
	s.meta.StartShadow()
	s.shadow = &tree.Shadow{Tree: t, Contents: s.blobs, Records: s.meta, Log: s.log}
	s.closers.add(s.lastLinks)
	return errors.Join(
		s.metrics.GaugeFunc("berth_registry2_unwritten_links", "Links of registry:2's tree that are not yet as the database says.", func() float64 {
			n, err := s.meta.CountUnwritten(context.Background())
			if err != nil {
				return -1
			}
			return float64(n)
		}),
		s.metrics.CounterFunc("berth_registry2_written_links_total", "Links of registry:2's tree that were written or removed.", func() float64 {
			return float64(s.shadow.Written())
		}),
	)
}

// tellTree says what becomes of a tree that is not read.
func (s *Server) tellTree(state meta.TreeState, exists bool) {
	switch {
	case state == meta.TreeFinishing:
		s.log.Warn("berth adopt --finish was interrupted: run it again")
	case state == meta.TreeFinished && exists:
		s.log.Warn("registry:2 has been used on this data directory after berth adopt --finish: what it wrote is not served",
			"directory", s.cfg.Data)
	}
}

// lastLinks writes what is still to be written, so that a registry:2 that is
// started now finds everything. It must not keep the server from ending.
func (s *Server) lastLinks(ctx context.Context) error {
	if !s.adopter.Done() {
		return nil // whose word counts is not known yet
	}
	ctx, cancel := context.WithTimeout(ctx, max(s.cfg.HTTP.ShutdownGrace, time.Second))
	defer cancel()
	if err := s.shadow.Flush(ctx); err != nil {
		s.log.Warn("registry:2's tree is not quite in step; the next start will see to it", "error", err)
	}
	return nil
}

// gated returns svc as it may be used while registry:2's tree is being read.
func (s *Server) gated(svc registry.Service) registry.Service {
	if s.adopter == nil {
		return svc
	}
	return s.adopter.Gate(svc)
}

// How often the progress of an adoption is told, and when one that failed is
// tried again.
const (
	tellEvery  = 5 * time.Second
	adoptAgain = 10 * time.Second
)

// adopt takes over what registry:2 left, until it is done or ctx ends.
func (s *Server) adopt(ctx context.Context) {
	if s.adopter == nil {
		return
	}
	began := time.Now()
	told, stop := context.WithCancel(ctx)
	defer stop()
	go s.tellProgress(told)
	for {
		err := s.adopter.Run(ctx)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return
		}
		s.log.Error("what registry:2 has could not be taken over; it will be tried again", "error", err)
		s.health.SetProblem(registry2Part, "what registry:2 has could not be taken over: "+err.Error())
		select {
		case <-ctx.Done():
			return
		case <-time.After(adoptAgain):
		}
	}
	s.health.ClearProblem(registry2Part)
	s.tellAdopted(time.Since(began))
}

func (s *Server) tellProgress(ctx context.Context) {
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			r := s.adopter.Report()
			s.log.Info("taking over what registry:2 has", "repositories", r.Repositories, "tags", r.Tags, "manifests", r.Manifests, "layers", r.Layers)
		}
	}
}

// maxLogged is how many problems are logged one by one.
const maxLogged = 20

// tellAdopted logs what was found.
func (s *Server) tellAdopted(took time.Duration) {
	r := s.adopter.Report()
	level := slog.LevelDebug
	if r.Read > 0 || r.Gone > 0 {
		level = slog.LevelInfo
	}
	s.log.Log(context.Background(), level, "registry:2's tree was read", "repositories", r.Repositories, "tags", r.Tags, "manifests", r.Manifests,
		"layers", r.Layers, "new", r.Read, "gone", r.Gone, "damage", r.Damage, "took", took.Round(time.Millisecond).String())
	if r.Damage == 0 {
		return
	}
	s.log.Warn("some of registry:2's tree could not be taken over and was left as it is; `berth adopt --dry-run` lists all of it", "count", r.Damage)
	if r.Read == 0 {
		return // it was told when it was found
	}
	for _, p := range r.Problems[:min(len(r.Problems), maxLogged)] {
		s.log.Warn("not taken over", "path", p.Path, "reason", p.What)
	}
}

// An adoptLine is what the action adopt tells: how far it is, and in the end how
// the tree stands.
type adoptLine struct {
	Report *tree.Report   `json:"report,omitempty"`
	State  meta.TreeState `json:"state,omitempty"`
	None   bool           `json:"none,omitempty"` // there is nothing of registry:2's
}

// adoptNow is an action: what registry:2 left is taken over. With the parameter
// finish, living together with it ends.
func (s *Server) adoptNow(ctx context.Context, parameters url.Values, tell func(any) error) error {
	if err := s.awaitAdopted(ctx, tell); err != nil {
		return err
	}
	if parameters.Get("finish") != "" {
		if err := s.finishTree(ctx); err != nil {
			return err
		}
	}
	state, err := s.meta.Tree(ctx)
	if err != nil {
		return err
	}
	line := adoptLine{State: state, None: state == meta.TreeNone}
	if s.adopter != nil {
		r := s.adopter.Report()
		line.Report = &r
	}
	return tell(line)
}

// awaitAdopted waits for the end of the adoption, and makes it where nobody does.
func (s *Server) awaitAdopted(ctx context.Context, tell func(any) error) error {
	if s.adopter == nil {
		return nil
	}
	done := make(chan error, 1)
	go func() { done <- s.adopter.Run(ctx) }()
	tick := time.NewTicker(time.Second / 2)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-tick.C:
			r := s.adopter.Report()
			r.Problems = nil
			if err := tell(adoptLine{Report: &r}); err != nil {
				return err
			}
		}
	}
}

// finishTree ends living together with registry:2.
func (s *Server) finishTree(ctx context.Context) error {
	if s.cfg.Registry2.Shadow == config.ShadowOn {
		return errors.New("registry2.shadow is on, so the tree is wanted: set it to auto first")
	}
	if s.shadow != nil {
		if err := s.shadow.Flush(ctx); err != nil {
			return err
		}
		s.shadow.Stop()
		s.meta.StopShadow()
	}
	f := tree.Finisher{Tree: s.tree, Owner: s.blobs, Records: s.meta}
	return f.Run(ctx)
}
