package berth

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"time"

	"berth/internal/meta/sqlmeta"
)

// openDatabase opens the database, or brings it back from a snapshot if it is
// gone. What that costs is said: nobody should find out by a missing tag.
func (s *Server) openDatabase(ctx context.Context, now func() time.Time) error {
	s.snapshots = sqlmeta.Snapshots{Dir: filepath.Join(s.cfg.Data, ownDir, snapshotsDir), Keep: s.cfg.Database.Snapshots.Keep}
	immutable, err := immutableTags(s.cfg.Tags.Immutable)
	if err != nil {
		return err
	}
	db, found, err := sqlmeta.OpenOrRestore(ctx, sqlmeta.Options{
		Path: s.cfg.Database.Path, Grace: s.cfg.GC.Grace, Delay: s.cfg.GC.Delay, Trash: s.cfg.Trash.Keep, Immutable: immutable, Now: now,
		Memory: int64(s.cfg.Cache.Memory), MaxUploads: s.cfg.Uploads.MaxOpen,
	}, s.snapshots)
	if err != nil {
		return err
	}
	s.meta = db
	s.closers.add(func(context.Context) error { return s.meta.Close() })
	switch {
	case found.From != "":
		s.log.Warn(fmt.Sprintf("the database was lost and was restored from a snapshot that is %s old: what was pushed, tagged or deleted since is not known",
			found.Age.Round(time.Second)), "snapshot", found.From, "taken", found.Taken.Format(time.RFC3339))
		if found.Cause != nil {
			s.log.Warn("what was wrong with the database; it was put aside", "error", found.Cause, "file", found.Aside)
		}
	case found.Moved:
		s.log.Info("the data directory was copied or moved here; its database was checked and is good")
	}
	return nil
}

// How often the clock that grace is counted on is written down, and how long the
// database must be left alone before its log is folded into it.
const (
	clockEvery = time.Minute
	idleAfter  = 2 * time.Second
	day        = 24 * time.Hour // after which sessions that never expire are no longer held in memory
)

// keepDatabase does what the database needs beside requests until ctx ends, and
// takes a last snapshot then.
func (s *Server) keepDatabase(ctx context.Context) error {
	clock := time.NewTicker(clockEvery)
	defer clock.Stop()
	idle := time.NewTicker(idleAfter)
	defer idle.Stop()
	due := time.NewTicker(max(s.cfg.Database.Snapshots.Every, time.Second))
	defer due.Stop()
	quiet, calm := quietness{db: s.meta}, calmness{db: s.meta}
	for {
		select {
		case <-ctx.Done():
			s.takeSnapshot(context.WithoutCancel(ctx))
			return nil
		case <-clock.C:
			s.warn(ctx, "save the clock", s.meta.SaveClock(ctx))
			s.core.ForgetSessions(cmp.Or(s.cfg.Uploads.Expire, day))
		case <-idle.C:
			s.watchDatabase()
			s.watchDamage(ctx)
			// The database file alone is complete when it is left alone, so that
			// even a copy of the folder that takes files at different times is a
			// good one. Where space is short, what the log takes is needed.
			if quiet.begins() || s.spaceIsShort() {
				s.warn(ctx, "fold the log into the database", s.meta.Idle(ctx))
			}
			if calm.begins() {
				s.warn(ctx, "give back the memory of the database", s.meta.Relax(ctx))
			}
		case <-due.C:
			if s.cfg.Database.Snapshots.Every > 0 {
				s.takeSnapshot(ctx)
			}
		}
	}
}

// learnAgain is how long is waited when the database could not be read.
const learnAgain = time.Minute

// learn sees to it that what surely is unknown is known from memory, until ctx ends.
func (s *Server) learn(ctx context.Context) error {
	for {
		var again <-chan time.Time
		if err := s.meta.Learn(ctx); err != nil {
			s.warn(ctx, "read what the database has, to tell from memory what it has not", err)
			again = time.After(learnAgain)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.meta.Learnable():
		case <-again:
		}
	}
}

// spaceIsShort reports whether pushes are refused for lack of space.
func (s *Server) spaceIsShort() bool {
	free, total, err := s.blobs.Space()
	return err == nil && total > 0 && free < int64(s.cfg.Storage.Reserve)
}

// takeSnapshot takes a snapshot if anything has changed since the last one.
func (s *Server) takeSnapshot(ctx context.Context) {
	if !s.meta.Changed() {
		return
	}
	_, err := s.snapshots.Take(ctx, s.meta)
	s.warn(ctx, "take a snapshot of the database", err)
}

func (s *Server) warn(ctx context.Context, what string, err error) {
	if err != nil && ctx.Err() == nil {
		s.log.Error(what, "error", err)
	}
}

// quietness notices when a database that was busy is left alone.
type quietness struct {
	db     *sqlmeta.DB
	seen   int64 // transactions when last looked
	folded int64 // transactions when it was last found quiet
}

// begins reports whether nothing was written since the last call, for the first
// time since something was.
func (q *quietness) begins() bool {
	n := q.db.Stats().Commits
	quiet := n == q.seen && n != q.folded
	q.seen = n
	if quiet {
		q.folded = n
	}
	return quiet
}

// A calmness notices when a database that was busy is nearly left alone: the little
// that the registry asks by itself every now and then does not count.
type calmness struct {
	db   *sqlmeta.DB
	seen int64 // queries and transactions when last looked
	calm bool
}

// little is how many queries and transactions in idleAfter are none to speak of.
const little = 20

// begins reports whether little was asked and written since the last call, for the
// first time since much was.
func (c *calmness) begins() bool {
	was, stats := c.calm, c.db.Stats()
	n := stats.Queries + stats.Commits
	c.calm = n-c.seen < little
	c.seen = n
	return c.calm && !was
}
