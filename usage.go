package berth

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"berth/internal/meta"
	"berth/internal/oci"
	"berth/internal/usage"
)

// meter returns what finds out what takes the space.
func (s *Server) meter() *usage.Meter {
	return &usage.Meter{Records: s.meta, Objects: s.blobs, Disk: s.disk, Retention: s.wouldRetain, Now: s.now}
}

// disk tells of the space under the data directory and the database. What can't be
// found out is 0: the rest is worth knowing all the same.
func (s *Server) disk(context.Context) usage.Disk {
	d := usage.Disk{Reserve: int64(s.cfg.Storage.Reserve), Database: s.databaseBytes()}
	if free, total, err := s.blobs.Space(); err == nil {
		d.Free, d.Total = free, total
	}
	files, _ := os.ReadDir(s.snapshots.Dir)
	for _, f := range files {
		d.Copies += fileSize(filepath.Join(s.snapshots.Dir, f.Name()))
	}
	return d
}

// databaseBytes is how large the database is with its log and its file of records.
func (s *Server) databaseBytes() int64 {
	return fileSize(s.cfg.Database.Path) + fileSize(s.cfg.Database.Path+"-wal") + fileSize(s.cfg.Database.Path+"-redo")
}

func fileSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// A measuring keeps the last report on what takes the space, and makes new ones: at
// start, when it is asked to, and every hour if something has changed.
type measuring struct {
	meter   *usage.Meter
	changes func() int64 // grows with everything that changes records

	last   atomic.Pointer[usage.Report]
	ask    chan struct{}
	eager  bool          // somebody waits for what is being measured
	rested time.Time     // when rest returned
	slots  chan struct{} // looks at single repositories: a large one takes a moment
}

// How often the space is measured, how many layers a report lists, and how many
// repositories are measured at the same time for those who ask.
const (
	measureEvery  = time.Hour
	reportLayers  = 20
	measureAtOnce = 2
)

func (s *Server) newMeasuring() *measuring {
	m := &measuring{meter: s.meter(), changes: s.meta.Changes, ask: make(chan struct{}, 1), slots: make(chan struct{}, measureAtOnce)}
	m.meter.Rest = m.rest
	return m
}

// While nobody waits for it, measuring takes a tenth of the time of one processor:
// with 100,000 repositories it is seconds of work, right after the start.
const (
	workFor   = 2 * time.Millisecond
	restTimes = 9
)

// rest is called while it is being measured. What somebody waits for, or for what
// comes after it, goes on without a rest.
func (m *measuring) rest(ctx context.Context) error {
	worked := time.Since(m.rested)
	if worked < workFor || m.eager || len(m.ask) > 0 {
		return ctx.Err()
	}
	wait := time.NewTimer(min(restTimes*worked, time.Second))
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ctx.Done():
	}
	m.rested = time.Now()
	return ctx.Err()
}

// Last implements api.Usage.
func (m *measuring) Last() (usage.Report, bool) {
	if r := m.last.Load(); r != nil {
		return *r, true
	}
	return usage.Report{}, false
}

// Measure implements api.Usage.
func (m *measuring) Measure() {
	select {
	case m.ask <- struct{}{}:
	default: // one is to come anyway
	}
}

// Repository implements api.Usage.
func (m *measuring) Repository(ctx context.Context, repo oci.Repo) (usage.Repository, error) {
	if err := m.enter(ctx); err != nil {
		return usage.Repository{}, err
	}
	defer m.leave()
	return m.meter.Repository(ctx, repo)
}

// Repositories implements api.Usage.
func (m *measuring) Repositories(ctx context.Context, after string, limit int, visible func(oci.Repo) bool) ([]usage.Repository, string, error) {
	if err := m.enter(ctx); err != nil {
		return nil, "", err
	}
	defer m.leave()
	return m.meter.Repositories(ctx, after, limit, visible)
}

func (m *measuring) enter(ctx context.Context) error {
	select {
	case m.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *measuring) leave() { <-m.slots }

// keepMeasuring measures until ctx ends.
func (s *Server) keepMeasuring(ctx context.Context) error {
	m := s.measuring
	tick := time.NewTicker(measureEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		seen := m.changes()
		m.rested = time.Now()
		r, err := m.meter.Registry(ctx, reportLayers)
		if s.warn(ctx, "measure what takes the space", err); err == nil {
			m.last.Store(&r)
		}
		m.eager = false
		for due := false; !due; {
			select {
			case <-ctx.Done():
				return nil
			case <-m.ask:
				due, m.eager = true, true
			case <-tick.C:
				due = m.changes() != seen
			}
		}
	}
	return nil
}

// A dfLine is what the action df tells: repositories one by one, and in the end
// the whole.
type dfLine struct {
	Repository *usage.Repository `json:"repository,omitempty"`
	Layers     []usage.Layer     `json:"layers,omitempty"`    // of the repository that was asked for
	Retention  *usage.Retained   `json:"retention,omitempty"` // of that repository
	Registry   *usage.Report     `json:"registry,omitempty"`
}

// maxLayers is how many layers can be asked for.
const maxLayers = 1000

// df is an action: it tells what takes the space. Its parameters are repository,
// empty for all, and layers, how many of the largest are listed.
func (s *Server) df(ctx context.Context, parameters url.Values, tell func(any) error) error {
	layers, err := strconv.Atoi(parameters.Get("layers"))
	if err != nil || layers < 0 || layers > maxLayers {
		return fmt.Errorf("%q is no number of layers: write one from 0 to %d", parameters.Get("layers"), maxLayers)
	}
	m := s.meter()
	if name := parameters.Get("repository"); name != "" {
		repo, err := oci.ParseRepo(name)
		if err != nil {
			return err
		}
		line := dfLine{Repository: &usage.Repository{}}
		if *line.Repository, err = m.Repository(ctx, repo); err != nil {
			return unknownRepo(repo, err)
		}
		if line.Layers, err = m.Layers(ctx, repo, layers); err != nil {
			return err
		}
		if line.Retention, err = m.Retention(ctx, repo); err != nil {
			return err
		}
		return tell(line)
	}
	everything := func(oci.Repo) bool { return true }
	for after, more := "", true; more; more = after != "" {
		var list []usage.Repository
		if list, after, err = m.Repositories(ctx, after, 100, everything); err != nil {
			return err
		}
		for i := range list {
			if err := tell(dfLine{Repository: &list[i]}); err != nil {
				return err
			}
		}
	}
	report, err := m.Registry(ctx, layers)
	if err != nil {
		return err
	}
	return tell(dfLine{Registry: &report})
}

// unknownRepo words that there is no such repository, and leaves other errors as
// they are.
func unknownRepo(repo oci.Repo, err error) error {
	if errors.Is(err, meta.ErrNotFound) {
		return fmt.Errorf("there is no repository %s: `berth ls` lists those there are", repo)
	}
	return err
}

// openUsageMetrics adds what is known of the space without measuring it: a scrape
// must cost nothing.
func (s *Server) openUsageMetrics() error {
	measured := func(pick func(usage.Report) int64) func() float64 {
		return func() float64 {
			r, ok := s.measuring.Last()
			if !ok {
				return math.NaN()
			}
			return float64(pick(r))
		}
	}
	return errors.Join(
		s.metrics.GaugeFunc("berth_storage_reserve_bytes", "Free space below which pushes are refused.", func() float64 { return float64(s.cfg.Storage.Reserve) }),
		s.metrics.GaugeFunc("berth_database_bytes", "Size of the database with its log.", func() float64 { return float64(s.databaseBytes()) }),
		s.metrics.GaugeFunc("berth_blobs_bytes", "Bytes of all blobs when they were last measured.", measured(func(r usage.Report) int64 { return r.Blobs.Bytes })),
		s.metrics.GaugeFunc("berth_reclaimable_bytes", "Bytes that become free by themselves, when they were last measured.", measured(usage.Report.Reclaimable)),
	)
}
