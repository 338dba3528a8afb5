package berth

import (
	"context"
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
// untagged, which are set when they are not empty.
func (s *Server) collect(ctx context.Context, parameters url.Values, tell func(any) error) error {
	sweeper := &gc.Sweeper{Collector: s.collector, Records: s.meta, Grace: s.cfg.GC.Grace, Now: s.now}
	sum, err := sweeper.Sweep(ctx, gc.SweepOptions{
		DryRun:   parameters.Get("dry_run") != "",
		Untagged: parameters.Get("untagged") != "",
		Tell: func(i gc.Item) error {
			return tell(collectLine{Kind: string(i.Kind), Repository: i.Repo.String(), Digest: i.Digest.String(), Size: i.Size})
		},
	})
	if err != nil {
		return err
	}
	return tell(collectLine{Sum: &sum, Grace: s.cfg.GC.Grace, Delay: s.cfg.GC.Delay})
}

// gcWindow turns a window of the configuration into one of the collector.
func gcWindow(w config.Window) gc.Window {
	from, to, _ := w.Bounds()
	return gc.Window{From: from, To: to}
}
