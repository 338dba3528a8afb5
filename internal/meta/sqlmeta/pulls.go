package sqlmeta

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"berth/internal/meta"
	"berth/internal/oci"
)

var _ meta.Uses = (*DB)(nil)

// How much of uses is kept in memory, and how much is recorded in one
// transaction.
const (
	maxUses   = 16 << 10 // manifests, some 5 MiB
	usesBatch = 250
)

// A used names a manifest that was used.
type used struct {
	repo   oci.Repo
	digest oci.Digest
}

// useTimes are the last times of each kind, in microseconds since 1970.
type useTimes [meta.Seen + 1]int64

func (t *useTimes) merge(o useTimes) {
	for i := range t {
		t[i] = max(t[i], o[i])
	}
}

// uses is what the process keeps of uses in memory.
type uses struct {
	flush   sync.Mutex // held while they are recorded
	waiting chan struct{}
	dropped atomic.Int64

	mu   sync.Mutex
	last map[used]useTimes
}

func newUses() *uses {
	return &uses{waiting: make(chan struct{}, 1), last: make(map[used]useTimes)}
}

// note keeps times. It reports whether there is so much that it ought to be
// recorded.
func (u *uses) note(key used, at useTimes) (many bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	was, known := u.last[key]
	if !known && len(u.last) >= maxUses {
		u.dropped.Add(1)
		return true
	}
	was.merge(at)
	u.last[key] = was
	return len(u.last) > maxUses/2
}

// take empties the memory.
func (u *uses) take() map[used]useTimes {
	u.mu.Lock()
	defer u.mu.Unlock()
	taken := u.last
	if len(taken) > 0 {
		u.last = make(map[used]useTimes)
	}
	return taken
}

// NoteUse implements meta.Uses.
func (db *DB) NoteUse(repo oci.Repo, d oci.Digest, u meta.Use) {
	var at useTimes
	at[u] = db.opts.Now().UnixMicro()
	if db.uses.note(used{repo, d}, at) {
		select {
		case db.uses.waiting <- struct{}{}:
		default:
		}
	}
}

// UsesWaiting implements meta.Uses.
func (db *DB) UsesWaiting() <-chan struct{} { return db.uses.waiting }

// DroppedUses implements meta.Uses.
func (db *DB) DroppedUses() int64 { return db.uses.dropped.Load() }

// FlushUses implements meta.Uses. What could not be recorded is kept for the next
// time. It is no change for which a snapshot would have to be taken: see
// beginUsesAnew.
func (db *DB) FlushUses(ctx context.Context) error {
	db.uses.flush.Lock()
	defer db.uses.flush.Unlock()
	taken := db.uses.take()
	batch := make([]used, 0, usesBatch)
	var failed error
	record := func() {
		if failed == nil {
			failed = db.writer.do(ctx, relaxed, func(ctx context.Context, t *tx) error { return t.recordUses(ctx, batch, taken) })
		}
		if failed != nil {
			for _, key := range batch {
				db.uses.note(key, taken[key])
			}
		}
		batch = batch[:0]
	}
	for key := range taken {
		if batch = append(batch, key); len(batch) == usesBatch {
			record()
		}
	}
	if len(batch) > 0 {
		record()
	}
	return failed
}

// recordUses moves recorded times forward. A manifest that has gone since has
// none.
func (t *tx) recordUses(ctx context.Context, batch []used, taken map[used]useTimes) error {
	for _, key := range batch {
		at := taken[key]
		_, err := t.exec(ctx, `INSERT INTO pulls (manifest_id, pulled_us, pushed_us, seen_us)
			SELECT m.id, $3, $4, $5 FROM repos r JOIN manifests m ON m.repo_id = r.id WHERE r.name = $1 AND m.digest = $2
			ON CONFLICT (manifest_id) DO UPDATE SET pulled_us = MAX(pulls.pulled_us, excluded.pulled_us),
				pushed_us = MAX(pulls.pushed_us, excluded.pushed_us), seen_us = MAX(pulls.seen_us, excluded.seen_us)`,
			key.repo.String(), key.digest.String(), at[meta.Pulled], at[meta.PushedAgain], at[meta.Seen])
		if err != nil {
			return err
		}
	}
	return nil
}

// pushedAgain records that a manifest which is there was pushed again.
func (t *tx) pushedAgain(ctx context.Context, manifest int64) error {
	_, err := t.exec(ctx, `INSERT INTO pulls (manifest_id, pulled_us, pushed_us, seen_us) VALUES ($1, 0, $2, 0)
		ON CONFLICT (manifest_id) DO UPDATE SET pushed_us = MAX(pulls.pushed_us, excluded.pushed_us)`, manifest, t.wall())
	return err
}

// UsesSince implements meta.Uses.
func (db *DB) UsesSince(ctx context.Context) (time.Time, error) {
	var since int64
	err := db.reader.get(ctx, `SELECT since_us FROM pulls_since WHERE id = 1`, nil, &since)
	return time.UnixMicro(since).UTC(), err
}

// beginUses records from when on uses are noted, if that is not recorded yet.
func (db *DB) beginUses(ctx context.Context) error {
	_, err := db.UsesSince(ctx)
	if isNotFound(err) {
		return db.beginUsesAnew(ctx)
	}
	return err
}

// beginUsesAnew records that uses are noted from now on: a database that was
// brought back from a copy does not know what was pulled since the copy was
// made. If this is lost with the power, the next start finds a later time, and
// nothing goes for that.
func (db *DB) beginUsesAnew(ctx context.Context) error {
	return db.writer.do(ctx, relaxed, func(ctx context.Context, t *tx) error {
		_, err := t.exec(ctx, `INSERT INTO pulls_since (id, since_us) VALUES (1, $1) ON CONFLICT (id) DO UPDATE SET since_us = excluded.since_us`, t.wall())
		return err
	})
}
