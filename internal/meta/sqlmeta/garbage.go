package sqlmeta

import (
	"context"
	"math"
	"time"

	"berth/internal/blob"
	"berth/internal/event"
	"berth/internal/oci"
)

// CollectBlobs implements meta.Garbage.
//
// A manifest that is put beside it is safe: both are in transactions, one after
// the other. Either the collector sees the manifest's reference and lets go, or
// the put finds the membership gone and the tombstone in its place.
func (db *DB) CollectBlobs(ctx context.Context, grace time.Duration, limit int) (looked, ended int, err error) {
	due, err := db.exists(ctx, `SELECT 1 FROM repo_blobs WHERE candidate = 1 AND touched <= $1`, rested(db.clock.ticks(), grace))
	if err != nil || !due {
		return 0, 0, err
	}
	err = db.write(ctx, durable, func(ctx context.Context, t *tx) error {
		looked, ended = 0, 0
		due, err := t.candidates(ctx, grace, limit)
		if err != nil {
			return err
		}
		for _, c := range due {
			gone, err := t.collect(ctx, c)
			if err != nil {
				return err
			}
			looked++
			if gone {
				ended++
			}
		}
		return nil
	})
	if err != nil {
		return 0, 0, err
	}
	return looked, ended, nil
}

// exists reports whether a query finds anything. With it a collector that has
// nothing to do writes nothing, which would keep the disk and the snapshots busy.
func (db *DB) exists(ctx context.Context, query string, arg any) (bool, error) {
	var found bool
	err := db.reader.get(ctx, `SELECT EXISTS (`+query+`)`, args{arg}, &found)
	return found, err
}

// ago returns the tick that was age before now.
func (db *DB) ago(age time.Duration) int64 { return db.clock.ticks() - int64(age) }

// rested returns the tick up to which something must have been touched last, to
// have rested for grace at tick now. Without grace that is any: after a kill, which
// sets the clock back to when it was saved, there are touches ahead of it.
func rested(now int64, grace time.Duration) int64 {
	if grace <= 0 {
		return math.MaxInt64
	}
	return now - int64(grace)
}

// A member names a membership.
type member struct {
	repo   int64
	digest string
}

// candidates finds memberships whose grace is over, the oldest first.
func (t *tx) candidates(ctx context.Context, grace time.Duration, limit int) ([]member, error) {
	var due []member
	err := t.each(ctx, `SELECT repo_id, digest FROM repo_blobs WHERE candidate = 1 AND touched <= $1 ORDER BY touched LIMIT $2`,
		args{rested(t.ticks(), grace), limit}, func(scan func(...any) error) error {
			var c member
			err := scan(&c.repo, &c.digest)
			due = append(due, c)
			return err
		})
	return due, err
}

// sqlHeld reports whether the bytes of blob $2 that repository $1 has are
// registry:2's own. They stay until living together with it has ended.
const sqlHeld = `EXISTS (SELECT 1 FROM links WHERE repo_id = $1 AND kind = 1 AND name = $2 AND held = 1)`

// collect ends the membership if nothing refers to it, and reports whether it
// did. Else it is no candidate until it loses a reference.
func (t *tx) collect(ctx context.Context, c member) (bool, error) {
	var needed bool
	err := t.get(ctx, `SELECT EXISTS (SELECT 1 FROM manifest_refs WHERE repo_id = $1 AND digest = $2) OR `+sqlHeld, args{c.repo, c.digest}, &needed)
	if err != nil {
		return false, err
	}
	if needed {
		_, err := t.exec(ctx, `UPDATE repo_blobs SET candidate = 0 WHERE repo_id = $1 AND digest = $2`, c.repo, c.digest)
		return false, err
	}
	if err := t.part(ctx, c.repo, c.digest); err != nil {
		return false, err
	}
	return true, t.recordCollection(ctx, c)
}

// recordCollection records that a membership ended because nothing needed it.
func (t *tx) recordCollection(ctx context.Context, c member) error {
	if !t.outbox.wants(event.Collect) {
		return nil
	}
	e := event.Event{Action: event.Collect, Kind: event.Blob}
	var name string
	err := t.get(ctx, `SELECT coalesce(e.repo, r.name) FROM repos r LEFT JOIN trash e ON e.id = r.trash WHERE r.id = $1`, args{c.repo}, &name)
	if err == nil {
		e.Repo, err = oci.ParseRepo(name)
	}
	if err == nil {
		e.Digest, err = oci.ParseDigest(c.digest)
	}
	if err != nil {
		return err
	}
	return t.record(ctx, e)
}

// Condemned implements meta.Garbage.
func (db *DB) Condemned(ctx context.Context, ahead time.Duration, limit int) ([]blob.Key, error) {
	var keys []blob.Key
	err := db.reader.each(ctx, `SELECT key FROM garbage WHERE due <= $1 ORDER BY due LIMIT $2`, args{db.clock.ticks() + int64(ahead), limit},
		func(scan func(...any) error) error {
			var key blob.Key
			err := scan(&key)
			keys = append(keys, key)
			return err
		})
	if err != nil {
		return nil, err
	}
	return keys, nil
}

// Forget implements meta.Garbage.
func (db *DB) Forget(ctx context.Context, keys []blob.Key) error {
	if len(keys) == 0 {
		return nil
	}
	db.ledger.settle() // from now on nothing else may say that an upload went there
	return db.write(ctx, durable, func(ctx context.Context, t *tx) error {
		for _, key := range keys {
			if _, err := t.exec(ctx, `DELETE FROM garbage WHERE key = $1`, string(key)); err != nil {
				return err
			}
		}
		return nil
	})
}

// ForgetLosses implements meta.Garbage.
func (db *DB) ForgetLosses(ctx context.Context, age time.Duration, limit int) (int, error) {
	old, err := db.exists(ctx, `SELECT 1 FROM losses WHERE lost <= $1`, db.ago(age))
	if err != nil || !old {
		return 0, err
	}
	var n int64
	err = db.write(ctx, durable, func(ctx context.Context, t *tx) (err error) {
		n, err = t.exec(ctx, `DELETE FROM losses WHERE (repo_id, digest) IN
			(SELECT repo_id, digest FROM losses WHERE lost <= $1 ORDER BY lost LIMIT $2)`, t.ticks()-int64(age), limit)
		return err
	})
	if err != nil {
		return 0, err
	}
	return int(n), nil
}
