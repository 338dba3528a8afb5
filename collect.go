package berth

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"berth/config"
	"berth/internal/gc"
)

// A collectLine is what a collection that the operator asked for tells: first
// something that goes, one by one, and in the end the sum of it.
type collectLine struct {
	Kind       string        `json:"kind,omitempty"` // manifest, blob, or later: a blob that follows its manifest after the grace
	Repository string        `json:"repository,omitempty"`
	Digest     string        `json:"digest,omitempty"`
	Size       int64         `json:"size,omitempty"`
	Sum        *gc.Swept     `json:"sum,omitempty"`
	Grace      time.Duration `json:"grace,omitempty"` // with Sum: how long what lost its manifest is kept
	Delay      time.Duration `json:"delay,omitempty"` // with Sum: how long files stay that may still be read
}

// collect is an action: one collection now. Its parameters are dry_run and
// untagged, which are set when they are not empty, and grace, a time that takes
// the place of the configured one.
func (s *Server) collect(ctx context.Context, parameters url.Values, tell func(any) error) error {
	sweeper := &gc.Sweeper{Collector: s.collector, Records: s.meta, Now: s.now}
	grace, err := s.askedGrace(parameters)
	if err != nil {
		return err
	}
	sum, err := sweeper.Sweep(ctx, gc.SweepOptions{
		DryRun:   parameters.Get("dry_run") != "",
		Untagged: parameters.Get("untagged") != "",
		Grace:    grace,
		Progress: func(doing string, done int) error { return tell(progress{What: doing, Done: int64(done)}) },
		Tell: func(i gc.Item) error {
			return tell(collectLine{Kind: string(i.Kind), Repository: i.Repo.String(), Digest: i.Digest.String(), Size: i.Size})
		},
	})
	if err != nil {
		return err
	}
	return tell(collectLine{Sum: &sum, Grace: grace, Delay: min(s.cfg.GC.Delay, grace)})
}

// gcWindow turns a window of the configuration into one of the collector.
func gcWindow(w config.Window) gc.Window {
	from, to, _ := w.Bounds()
	return gc.Window{From: from, To: to}
}

// askedGrace returns the grace that the parameters ask for, or the configured one.
func (s *Server) askedGrace(parameters url.Values) (time.Duration, error) {
	text := parameters.Get("grace")
	if text == "" {
		return s.cfg.GC.Grace, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("grace: %q is no time: write one such as 1h, or 0s for none at all", text)
	}
	return d, nil
}
