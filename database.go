package berth

import (
	"context"
	"time"

	"berth/internal/meta/sqlmeta"
)

// openDatabase opens the database, or brings it back from a snapshot if it is
// gone.
func (s *Server) openDatabase(ctx context.Context, now func() time.Time) (err error) {
	s.meta, err = sqlmeta.Open(ctx, sqlmeta.Options{
		Path: s.cfg.Database.Path, Grace: s.cfg.GC.Grace, Delay: s.cfg.GC.Delay, Now: now,
	})
	if err != nil {
		return err
	}
	s.closers.add(func(context.Context) error { return s.meta.Close() })
	return nil
}

// clockEvery is how often the time that counts for grace is written down.
const clockEvery = time.Minute

// keepDatabase does what the database needs beside requests until ctx ends.
func (s *Server) keepDatabase(ctx context.Context) error {
	clock := time.NewTicker(clockEvery)
	defer clock.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-clock.C:
			if err := s.meta.SaveClock(ctx); err != nil && ctx.Err() == nil {
				s.log.Error("save the clock", "error", err)
			}
		}
	}
}
