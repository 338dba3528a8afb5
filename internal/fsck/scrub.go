package fsck

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"berth/internal/blob"
	"berth/internal/meta"
	"berth/internal/oci"
)

// ScrubRecords is what a Scrubber needs of the records.
type ScrubRecords interface {
	meta.Audit
	meta.AuditManifests
	meta.Scrubbing

	// MarkDamaged is that of meta.Blobs.
	MarkDamaged(ctx context.Context, d oci.Digest, key blob.Key) error
}

// A Scrubber reads everything that is stored, slowly, round after round, so that
// damage is found while there still is somebody who can push the content again.
// Its fields must be set before use.
type Scrubber struct {
	Records ScrubRecords
	Blobs   Store
	Every   time.Duration            // from one round to the next; 0 never reads
	Rate    int64                    // bytes a second
	Open    func(now time.Time) bool // whether this is the time to begin with a blob
	Now     func() time.Time         // the wall clock
	Log     *slog.Logger

	bytes, read, bad, unread, finished atomic.Int64

	next  time.Time            // when the next piece may be read
	saved time.Time            // when the state was saved last
	later map[string]time.Time // digests that could not be read, and when they were tried
	buf   []byte
}

// Stats says what a Scrubber has done since the process began.
type Stats struct {
	Bytes, Objects, Damaged, Unreadable int64

	// Finished is when the last whole round ended, in seconds since 1970; 0 if
	// there was none.
	Finished int64
}

// Stats returns what was done so far.
func (s *Scrubber) Stats() Stats {
	return Stats{Bytes: s.bytes.Load(), Objects: s.read.Load(), Damaged: s.bad.Load(), Unreadable: s.unread.Load(), Finished: s.finished.Load()}
}

const (
	scrubLook  = time.Minute      // how often a Scrubber looks whether there is something to do
	scrubSave  = 10 * time.Second // how often it saves how far it is
	scrubLater = time.Hour        // after which what could not be read is tried again
	maxLater   = 1000             // how many of those are remembered
)

// errShut says that the window has closed.
var errShut = errors.New("fsck: not now")

// Run reads until ctx ends, and returns nil then. Errors are logged: the next
// look tries again.
func (s *Scrubber) Run(ctx context.Context) error {
	s.later, s.buf = map[string]time.Time{}, make([]byte, bufferSize)
	tick := time.NewTicker(scrubLook)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		err := s.look(ctx)
		if err != nil && ctx.Err() == nil && !errors.Is(err, errShut) {
			s.Log.Error("read all content", "error", err)
		}
	}
}

// look does what is to be done now.
func (s *Scrubber) look(ctx context.Context) error {
	if err := s.recheckManifests(ctx); err != nil {
		return err
	}
	st, err := s.Records.ScrubState(ctx)
	if err != nil {
		return err
	}
	if !st.Finished.IsZero() {
		s.finished.Store(st.Finished.Unix())
	}
	if s.Every == 0 {
		return nil
	}
	if err := s.retry(ctx); err != nil {
		return err
	}
	now := s.Now()
	if !st.Running() {
		due := st.Began.IsZero() || st.Began.After(now) || now.Sub(st.Began) >= s.Every
		if !due || !s.Open(now) {
			return nil
		}
		st = meta.ScrubState{Began: now, Finished: st.Finished}
		if !st.Running() { // the wall clock was put back
			st.Finished = time.Time{}
		}
	}
	err = s.round(ctx, &st)
	// How far it came is worth keeping even though the process is to end.
	return errors.Join(err, s.Records.SaveScrub(context.WithoutCancel(ctx), st))
}

// manifestCursor begins cursors that are numbers of manifests.
const manifestCursor = "manifest:"

// round goes on with a round.
func (s *Scrubber) round(ctx context.Context, st *meta.ScrubState) error {
	if !strings.HasPrefix(st.Cursor, manifestCursor) {
		if err := s.readBlobs(ctx, st); err != nil {
			return err
		}
		st.Cursor = manifestCursor + "0"
	}
	if err := s.readManifests(ctx, st); err != nil {
		return err
	}
	st.Cursor, st.Finished = "", s.Now()
	if !st.Finished.After(st.Began) {
		st.Finished = st.Began
	}
	s.finished.Store(st.Finished.Unix())
	s.Log.Info("all content was read", "bytes", st.Bytes, "damaged", st.Bad, "unreadable", st.Unread, "took", st.Finished.Sub(st.Began).Round(time.Second).String())
	return nil
}

// readBlobs reads the blobs behind the cursor. One that was begun is read to its
// end, also when the window closes: the largest would never be done otherwise.
func (s *Scrubber) readBlobs(ctx context.Context, st *meta.ScrubState) error {
	for {
		list, err := s.Records.AuditBlobs(ctx, st.Cursor, page)
		if err != nil || len(list) == 0 {
			return err
		}
		for _, b := range list {
			if !s.Open(s.Now()) {
				return errShut
			}
			if err := s.blob(ctx, st, b); err != nil {
				return err
			}
			st.Cursor = b.Digest
			if err := s.save(ctx, *st); err != nil {
				return err
			}
		}
	}
}

// save saves the state every now and then.
func (s *Scrubber) save(ctx context.Context, st meta.ScrubState) error {
	if now := s.Now(); now.Sub(s.saved).Abs() >= scrubSave {
		s.saved = now
		return s.Records.SaveScrub(ctx, st)
	}
	return nil
}

// blob reads one blob.
func (s *Scrubber) blob(ctx context.Context, st *meta.ScrubState, b meta.AuditBlob) error {
	d, err := oci.ParseDigest(b.Digest)
	if err != nil || b.Damaged {
		return nil // known; a check tells
	}
	err = verifyTwice(ctx, s.Blobs, b.Key, d, s.buf, func(n int) error {
		st.Bytes += int64(n)
		return s.pace(ctx, n)
	})
	s.read.Add(1)
	switch {
	case err == nil:
		delete(s.later, b.Digest)
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, errWrong) || isMissing(err):
		delete(s.later, b.Digest)
		return s.damaged(ctx, st, b, d, err)
	}
	st.Unread++
	s.unread.Add(1)
	if _, known := s.later[b.Digest]; known || len(s.later) < maxLater {
		s.later[b.Digest] = s.Now()
	}
	s.Log.Warn("a blob could not be read, which does not prove that it is damaged; it will be tried again", "digest", b.Digest, "key", string(b.Key), "error", err)
	return nil
}

// damaged puts a blob out of service whose object was found wrong, if its record
// still is of that object. The record goes first; see run.repairBlob.
func (s *Scrubber) damaged(ctx context.Context, st *meta.ScrubState, b meta.AuditBlob, d oci.Digest, why error) error {
	same := func(marked bool) (bool, error) {
		now, err := s.Records.FindAuditBlob(ctx, b.Digest)
		if errors.Is(err, meta.ErrNotFound) {
			return false, nil
		}
		return err == nil && now.Key == b.Key && now.Damaged == marked, err
	}
	if ok, err := same(false); !ok || err != nil {
		return err
	}
	if err := s.Records.MarkDamaged(ctx, d, b.Key); err != nil {
		return err
	}
	if ok, err := same(true); !ok || err != nil {
		return err
	}
	st.Bad++
	s.bad.Add(1)
	what := "a stored blob has other bytes than were pushed"
	if isMissing(why) {
		what = "a stored blob is missing"
	}
	holders, err := s.Records.AuditHolders(ctx, b.Digest, maxHolders)
	if err != nil {
		return err
	}
	var names []string
	for _, h := range holders {
		names = append(names, h.Name)
	}
	moved, err := s.Blobs.Quarantine(ctx, b.Key)
	s.Log.Error(what+"; it is not served any more, push it again to heal it", "digest", b.Digest, "key", string(b.Key),
		"repositories", names, "quarantined", moved)
	return err
}

// pace waits until the next piece may be read, after n bytes.
func (s *Scrubber) pace(ctx context.Context, n int) error {
	s.bytes.Add(int64(n))
	now := time.Now()
	if s.next.Before(now) {
		s.next = now
	}
	s.next = s.next.Add(time.Duration(float64(n) / float64(s.Rate) * float64(time.Second)))
	timer := time.NewTimer(s.next.Sub(now))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// retry tries again what could not be read a while ago.
func (s *Scrubber) retry(ctx context.Context) error {
	now := s.Now()
	for digest, tried := range s.later {
		if now.Sub(tried).Abs() < scrubLater || !s.Open(now) {
			continue
		}
		b, err := s.Records.FindAuditBlob(ctx, digest)
		if errors.Is(err, meta.ErrNotFound) {
			delete(s.later, digest)
			continue
		}
		if err != nil {
			return err
		}
		if err := s.blob(ctx, &meta.ScrubState{}, b); err != nil {
			return err
		}
	}
	return nil
}

// readManifests hashes the manifests behind the cursor.
func (s *Scrubber) readManifests(ctx context.Context, st *meta.ScrubState) error {
	after, err := strconv.ParseInt(strings.TrimPrefix(st.Cursor, manifestCursor), 10, 64)
	if err != nil {
		return fmt.Errorf("continue behind %q: %w", st.Cursor, err)
	}
	for {
		if !s.Open(s.Now()) {
			return errShut
		}
		list, err := s.Records.AuditManifests(ctx, after, manifestPage)
		if err != nil || len(list) == 0 {
			return err
		}
		n := 0
		for _, m := range list {
			after, n = m.ID, n+len(m.Body)
			s.read.Add(1)
			if !hasDigest(m) {
				if err := s.damagedManifest(ctx, st, m); err != nil {
					return err
				}
			}
		}
		st.Bytes += int64(n)
		st.Cursor = manifestCursor + strconv.FormatInt(after, 10)
		if err := s.pace(ctx, n); err != nil {
			return err
		}
		if err := s.save(ctx, *st); err != nil {
			return err
		}
	}
}

// damagedManifest records that a manifest is not what its digest says. Nobody is
// served it in any case.
func (s *Scrubber) damagedManifest(ctx context.Context, st *meta.ScrubState, m meta.AuditManifest) error {
	st.Bad++
	s.bad.Add(1)
	s.Log.Error("a stored manifest has other bytes than were pushed; push it again to heal it", "repository", m.Repo.Name, "digest", m.Digest)
	return s.Records.NoteManifest(ctx, m.ID)
}

// recheckManifests strikes off manifests that were damaged and have been pushed
// again.
func (s *Scrubber) recheckManifests(ctx context.Context) error {
	list, err := s.Records.NotedManifests(ctx, page)
	for i := 0; err == nil && i < len(list); i++ {
		m, _, ferr := s.Records.FindAuditManifest(ctx, list[i])
		switch {
		case errors.Is(ferr, meta.ErrNotFound) || ferr == nil && hasDigest(m):
			err = s.Records.ForgetManifest(ctx, list[i])
		default:
			err = ferr
		}
	}
	return err
}
