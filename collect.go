package berth

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"berth/config"
	"berth/internal/gc"
	"berth/internal/oci"
)

// A collectLine is what a collection that the operator asked for tells: first
// something that goes, one by one, and in the end the sum of it.
type collectLine struct {
	Kind       string        `json:"kind,omitempty"` // manifest, blob, upload, or later: a blob that follows its manifest after the grace
	Repository string        `json:"repository,omitempty"`
	Digest     string        `json:"digest,omitempty"`
	Size       int64         `json:"size,omitempty"`
	Why        string        `json:"why,omitempty"`
	Sum        *gc.Swept     `json:"sum,omitempty"`
	Trash      *gc.Sum       `json:"trash,omitempty"` // with Sum: what can be restored, and what it keeps that nothing else does
	Keep       time.Duration `json:"keep,omitempty"`  // with Trash: how long
	Grace      time.Duration `json:"grace,omitempty"` // with Sum: how long what lost its manifest is kept
	Delay      time.Duration `json:"delay,omitempty"` // with Sum: how long files stay that may still be read
}

// collect is an action: one collection now. Its parameters are dry_run and
// untagged, which are set when they are not empty, and grace, a time that takes
// the place of the configured one.
func (s *Server) collect(ctx context.Context, parameters url.Values, tell func(any) error) error {
	grace, err := s.askedGrace(parameters)
	if err != nil {
		return err
	}
	sweeper := &gc.Sweeper{Collector: s.collector, Records: s.meta, Now: s.now}
	sum, err := sweeper.Sweep(ctx, gc.SweepOptions{
		DryRun:   parameters.Get("dry_run") != "",
		Untagged: parameters.Get("untagged") != "",
		Grace:    grace,
		Progress: func(doing string, done int) error { return tell(progress{What: doing, Done: int64(done)}) },
		Tell: func(i gc.Item) error {
			line := collectLine{Kind: string(i.Kind), Repository: i.Repo.String(), Size: i.Size, Why: i.Why}
			if !i.Digest.IsZero() {
				line.Digest = i.Digest.String()
			}
			return tell(line)
		},
	})
	if err != nil {
		return err
	}
	trash, err := s.trashed(ctx)
	if err != nil {
		return err
	}
	return tell(collectLine{Sum: &sum, Trash: &trash, Keep: s.cfg.Trash.Keep, Grace: grace, Delay: min(s.cfg.GC.Delay, grace)})
}

// trashed sums up what lies in the trash.
func (s *Server) trashed(ctx context.Context) (sum gc.Sum, err error) {
	const page = 100
	for before := int64(0); ; {
		list, err := s.meta.TrashEntries(ctx, oci.Repo{}, before, page)
		for _, e := range list {
			sum.Count++
			sum.Bytes += e.Alone
			before = e.ID
		}
		if err != nil || len(list) < page {
			return sum, err
		}
	}
}

// collectorStatus is an action: what the collector does, did and is going to do.
func (s *Server) collectorStatus(_ context.Context, _ url.Values, tell func(any) error) error {
	return tell(collectorLine{s.collector.Status(), string(s.cfg.GC.Window)})
}

// A collectorLine is what collectorStatus tells.
type collectorLine struct {
	gc.Status
	Window string `json:"window,omitempty"`
}

// openCollectorMetrics adds what there is to know about collections.
func (s *Server) openCollectorMetrics() error {
	total := func(name, help string, pick func(gc.Totals) int64) error {
		return s.metrics.CounterFunc(name, help, func() float64 { return float64(pick(s.collector.Status().Totals)) })
	}
	last := func(pick func(gc.Run) float64) func() float64 {
		return func() float64 {
			if r := s.collector.Status().Last; r != nil {
				return pick(*r)
			}
			return 0
		}
	}
	return errors.Join(
		total("berth_gc_objects_total", "Objects that garbage collection has deleted.", func(t gc.Totals) int64 { return int64(t.Objects) }),
		total("berth_gc_freed_bytes_total", "Bytes that those took up.", func(t gc.Totals) int64 { return t.Bytes }),
		total("berth_gc_blobs_total", "Blobs that left a repository because nothing in it needed them.", func(t gc.Totals) int64 { return int64(t.Blobs) }),
		total("berth_gc_uploads_total", "Uploads that were given up because nobody went on with them.", func(t gc.Totals) int64 { return int64(t.Uploads) }),
		total("berth_gc_runs_total", "Collections.", func(t gc.Totals) int64 { return t.Runs }),
		total("berth_gc_failures_total", "Collections in which something went wrong.", func(t gc.Totals) int64 { return t.Failed }),
		s.metrics.GaugeFunc("berth_gc_running", "1 while a collection runs.", func() float64 {
			if s.collector.Status().Running {
				return 1
			}
			return 0
		}),
		s.metrics.GaugeFunc("berth_gc_last_run_timestamp_seconds", "When the last collection began; 0 before the first one.",
			last(func(r gc.Run) float64 { return float64(r.Began.UnixMilli()) / 1000 })),
		s.metrics.GaugeFunc("berth_gc_last_run_seconds", "How long the last collection took.", last(func(r gc.Run) float64 { return r.Took.Seconds() })),
	)
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
	d, err := config.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("grace: %q is no time: write one such as 1h, or 0s for none at all", text)
	}
	return d, nil
}
