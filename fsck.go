package berth

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"berth/internal/fsck"
	"berth/internal/oci"
)

// A fsckLine is what a check tells: first what it finds, one by one, and in the
// end the sum of it.
type fsckLine struct {
	Finding *fsck.Finding `json:"finding,omitempty"`
	Sum     *fsck.Summary `json:"sum,omitempty"`
}

// check is an action: records and storage are compared. Its parameters are
// read_data, how many percent of the blobs are read whole; repo, which may be there
// several times and limits the check; repair, rebuild and empty_quarantine, which
// are set when they are not empty.
func (s *Server) check(ctx context.Context, parameters url.Values, tell func(any) error) error {
	o, err := checkOptions(parameters)
	if err != nil {
		return err
	}
	if err := s.awaitAdopted(ctx, func(any) error { return nil }); err != nil {
		return err
	}
	o.Tell = func(f fsck.Finding) error { return tell(fsckLine{Finding: &f}) }
	o.Progress = func(p fsck.Progress) error {
		return tell(progress{What: p.What, Done: p.Done, Total: p.Total, Bytes: p.Bytes})
	}
	c := fsck.Checker{Records: s.meta, Mender: s.meta, Blobs: s.blobs, Now: s.now}
	sum, err := c.Run(ctx, o)
	if err != nil {
		return err
	}
	return tell(fsckLine{Sum: &sum})
}

// openScrub sets up the reading of everything in the background.
func (s *Server) openScrub() {
	window := gcWindow(s.cfg.Scrub.Window)
	s.scrubber = &fsck.Scrubber{
		Records: s.meta, Blobs: s.blobs, Every: s.cfg.Scrub.Every, Rate: int64(s.cfg.Scrub.Rate), Now: s.now, Log: s.log,
		Open: func(now time.Time) bool { return window.Contains(now.Local()) },
	}
}

// openScrubMetrics adds what there is to know of damage and of looking for it.
func (s *Server) openScrubMetrics() error {
	counter := func(name, help string, pick func(fsck.Stats) int64) error {
		return s.metrics.CounterFunc(name, help, func() float64 { return float64(pick(s.scrubber.Stats())) })
	}
	damaged := func(pick func(blobs, manifests int64) int64) func() float64 {
		return func() float64 {
			blobs, manifests, err := s.meta.CountDamaged(context.Background())
			if err != nil {
				return -1
			}
			return float64(pick(blobs, manifests))
		}
	}
	return errors.Join(
		s.metrics.GaugeFunc("berth_damaged_blobs", "Blobs that are known to be damaged and have not been pushed again.", damaged(func(b, _ int64) int64 { return b })),
		s.metrics.GaugeFunc("berth_damaged_manifests", "Manifests that are known to be damaged and have not been pushed again.", damaged(func(_, m int64) int64 { return m })),
		counter("berth_scrub_bytes_total", "Bytes that were read in the background, to look for damage.", func(s fsck.Stats) int64 { return s.Bytes }),
		counter("berth_scrub_objects_total", "Blobs and manifests that were read so.", func(s fsck.Stats) int64 { return s.Objects }),
		counter("berth_scrub_damaged_total", "Of these, those that were found damaged.", func(s fsck.Stats) int64 { return s.Damaged }),
		counter("berth_scrub_unreadable_total", "Of these, those that could not be read, which proves no damage.", func(s fsck.Stats) int64 { return s.Unreadable }),
		s.metrics.GaugeFunc("berth_scrub_finished_timestamp_seconds", "When everything had been read the last time; 0: never.",
			func() float64 { return float64(s.scrubber.Stats().Finished) }),
	)
}

// damagePart is what health calls content that is known to be damaged.
const damagePart = "damage"

// watchDamage lets health tell of damaged content. The rest is served, so it is a
// warning and no more.
func (s *Server) watchDamage(ctx context.Context) {
	blobs, manifests, err := s.meta.CountDamaged(ctx)
	if err != nil {
		return // of the database itself watchDatabase tells
	}
	var reason string
	if blobs+manifests > 0 {
		reason = fmt.Sprintf("%d blobs and %d manifests are damaged and not served: berth fsck lists them, pushing them again heals them", blobs, manifests)
	}
	s.health.SetWarning(damagePart, reason)
}

// checkOptions reads the parameters of a check.
func checkOptions(parameters url.Values) (o fsck.Options, err error) {
	if p := parameters.Get("read_data"); p != "" {
		if o.ReadData, err = strconv.Atoi(p); err != nil || o.ReadData < 0 || o.ReadData > 100 {
			return o, fmt.Errorf("read_data: %q is no number of percent", p)
		}
	}
	if parameters.Get("repair") != "" {
		o.Repair = fsck.RepairSafely
	}
	if parameters.Get("rebuild") != "" {
		o.Repair = fsck.RepairKeeping
	}
	o.EmptyQuarantine = parameters.Get("empty_quarantine") != ""
	for _, name := range parameters["repo"] {
		repo, err := oci.ParseRepo(name)
		if err != nil {
			return o, err
		}
		o.Repos = append(o.Repos, repo)
	}
	return o, nil
}
