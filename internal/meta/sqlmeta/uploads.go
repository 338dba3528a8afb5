package sqlmeta

import (
	"context"
	"errors"
	"fmt"
	"time"

	"berth/internal/blob"
	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
)

// CreateUpload implements meta.Uploads.
func (db *DB) CreateUpload(ctx context.Context, u meta.Upload) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := db.ledger.begin(u)
	if errors.Is(err, meta.ErrTooManyUploads) {
		return db.createInTheirPlace(ctx, u)
	}
	return err
}

// When there is no room for another upload, at most roomAtOnce of those give way of
// which nothing has come for emptyFor. A client that means it goes on at once.
const (
	emptyFor   = time.Minute
	roomAtOnce = 1000
)

// createInTheirPlace is CreateUpload where others have to give way first.
func (db *DB) createInTheirPlace(ctx context.Context, u meta.Upload) error {
	db.room.Lock() // others who wait may find room afterwards
	defer db.room.Unlock()
	err := db.ledger.begin(u)
	if !errors.Is(err, meta.ErrTooManyUploads) {
		return err
	}
	list := db.ledger.claimEmpty(db.ago(emptyFor), roomAtOnce)
	if len(list) == 0 {
		return err
	}
	if err := db.dropUploads(ctx, list...); err != nil {
		return fmt.Errorf("give up uploads that nothing came of: %w", err)
	}
	return db.ledger.begin(u)
}

// FindUpload implements meta.Uploads.
func (db *DB) FindUpload(_ context.Context, repo oci.Repo, id meta.UploadID) (meta.Upload, error) {
	return db.ledger.find(repo, id)
}

// SaveUpload implements meta.Uploads.
func (db *DB) SaveUpload(ctx context.Context, u meta.Upload) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return db.ledger.save(u)
}

// end ends uploads that were claimed in a transaction: all of them or none. Who
// calls it says to the ledger that they are over.
func (db *DB) end(ctx context.Context, run mutation, list ...*running) error {
	ended := false // also when run panics
	defer func() {
		if !ended {
			db.ledger.unclaim(list...)
		}
	}()
	if err := db.write(ctx, durable, run); err != nil {
		return err
	}
	ended = true
	return nil
}

// CommitUpload implements meta.Uploads.
func (db *DB) CommitUpload(ctx context.Context, u meta.Upload, b meta.Blob, by event.Actor) (meta.Blob, error) {
	r, err := db.ledger.claim(u.Repo, u.ID)
	if err != nil {
		return meta.Blob{}, err
	}
	if b.Key != "" {
		db.ledger.endsAs(r, b.Key)
	}
	var has meta.Blob
	err = db.end(ctx, func(ctx context.Context, t *tx) error {
		old, err := t.ending(ctx, u.Repo, b.Digest)
		if err != nil {
			return err
		}
		if has, err = t.keepBlob(ctx, b, old.has); err != nil {
			return err
		}
		if old.repo == 0 {
			if old.repo, err = t.ensureRepo(ctx, u.Repo); err != nil {
				return err
			}
		}
		if err := t.enter(ctx, old.repo, b.Digest); err != nil {
			return err
		}
		if old.lost {
			if err := t.regain(ctx, old.repo, b.Digest); err != nil {
				return err
			}
		}
		has.Left = t.grace
		if b.Key == "" { // the upload's bytes were never finished
			if err := t.condemn(ctx, string(r.Key), t.ticks()); err != nil {
				return err
			}
		}
		return t.record(ctx, event.Event{Action: event.Push, Kind: event.Blob, Repo: u.Repo, Digest: b.Digest, Size: has.Size, By: by})
	}, r)
	if err != nil {
		return meta.Blob{}, err
	}
	if b.Key != "" {
		db.ledger.committed(r)
	} else {
		db.ledger.over(r)
	}
	return has, nil
}

// An ending is what there is when an upload ends as a blob.
type ending struct {
	repo int64     // 0: there is no such repository yet
	has  meta.Blob // the record of the blob; without a key if there is none
	lost bool      // the repository has a tombstone of it
}

// ending finds out what the end of an upload needs to know: from memory, or in one query.
func (t *tx) ending(ctx context.Context, repo oci.Repo, d oci.Digest) (ending, error) {
	o := ending{has: meta.Blob{Digest: d, Left: meta.Forever}}
	if id, ok := t.hotRepo(repo); ok && t.changes.unknown.Lacks(ofDigest(d.String())) {
		o.repo = id
		return o, nil
	}
	err := t.get(ctx, `SELECT COALESCE((SELECT id FROM repos WHERE name = $1), 0),
		EXISTS (SELECT 1 FROM repos r JOIN losses l ON l.repo_id = r.id WHERE r.name = $1 AND l.digest = $2),
		COALESCE(b.key, ''), COALESCE(b.size, 0), COALESCE(b.damaged, 0) FROM (SELECT 1) AS one LEFT JOIN blobs b ON b.digest = $2`,
		args{repo.String(), d.String()}, &o.repo, &o.lost, &o.has.Key, &o.has.Size, &o.has.Damaged)
	return o, err
}

const (
	sqlNewBlob     = `INSERT INTO blobs (digest, key, size, damaged, created_us) VALUES ($1, $2, $3, 0, $4)`
	sqlReplaceBlob = sqlNewBlob + ` ON CONFLICT (digest) DO UPDATE SET key = excluded.key, size = excluded.size, damaged = 0, created_us = excluded.created_us`
)

// keepBlob sees to it that there is an undamaged record of b, and returns it. has
// is the record that there is. The key that is not needed becomes garbage: b's at
// once, since nobody has seen it, a damaged one's when its readers have finished.
func (t *tx) keepBlob(ctx context.Context, b, has meta.Blob) (meta.Blob, error) {
	known := has.Key != ""
	switch {
	case known && !has.Damaged && has.Size == b.Size: // of another size, the record is wrong
		if b.Key == "" || b.Key == has.Key {
			return has, nil
		}
		return has, t.condemn(ctx, string(b.Key), t.ticks())
	case b.Key == "":
		return meta.Blob{}, fmt.Errorf("blob %s has gone meanwhile: %w", b.Digest, meta.ErrConflict)
	}
	text := sqlReplaceBlob
	if !known { // if there is one all the same, this fails
		text = sqlNewBlob
	}
	_, err := t.exec(ctx, text, b.Digest.String(), string(b.Key), b.Size, t.wall())
	if err == nil && known && has.Key != b.Key {
		err = t.condemn(ctx, string(has.Key), t.ticks()+int64(t.delay))
	}
	return meta.Blob{Digest: b.Digest, Key: b.Key, Size: b.Size}, err
}

// DropUpload implements meta.Uploads.
func (db *DB) DropUpload(ctx context.Context, u meta.Upload) error {
	r, err := db.ledger.claim(u.Repo, u.ID)
	if isNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return db.dropUploads(ctx, r)
}

// dropUploads ends uploads that were claimed and makes their keys garbage.
func (db *DB) dropUploads(ctx context.Context, list ...*running) error {
	err := db.end(ctx, func(ctx context.Context, t *tx) error {
		for _, r := range list {
			if err := t.condemn(ctx, string(r.Key), t.ticks()); err != nil {
				return err
			}
		}
		return nil
	}, list...)
	if err == nil {
		db.ledger.over(list...)
	}
	return err
}

// ExpireUploads implements meta.Garbage.
func (db *DB) ExpireUploads(ctx context.Context, idle time.Duration, limit int) (int, error) {
	list := db.ledger.claimIdle(db.ago(idle), limit)
	if len(list) == 0 {
		return 0, nil
	}
	if err := db.dropUploads(ctx, list...); err != nil {
		return 0, err
	}
	return len(list), nil
}

// KnownKey implements meta.Garbage.
func (db *DB) KnownKey(ctx context.Context, key blob.Key) (bool, error) {
	if db.ledger.has(key) { // it is asked first: what it ends is recorded before
		return true, nil
	}
	return db.keyIsRecorded(ctx, key)
}

// keyIsRecorded reports whether key is that of a blob, or garbage.
func (db *DB) keyIsRecorded(ctx context.Context, key blob.Key) (bool, error) {
	var known bool
	err := db.reader.get(ctx, `SELECT EXISTS (SELECT 1 FROM blobs WHERE key = $1) OR EXISTS (SELECT 1 FROM garbage WHERE key = $1)`, args{string(key)}, &known)
	return known, err
}

// openLedger reads which uploads run. Those that an older program recorded in
// the database are moved to the file first.
func (db *DB) openLedger(ctx context.Context) error {
	db.ledger = newLedger(db.path+ledgerExt, db.clock.ticks)
	db.ledger.most = db.opts.MaxUploads
	var older []*running
	err := db.reader.each(ctx, `SELECT u.id, r.name, u.owner, u.key, u.size, u.algorithm, u.hash, u.state, u.version, u.started_us, u.saved
		FROM uploads u CROSS JOIN repos r ON r.id = u.repo_id WHERE u.id > ''`, nil, func(scan func(...any) error) error {
		var r running
		var name string
		var started int64
		err := scan(&r.ID, &name, &r.By, &r.Key, &r.Size, &r.Algorithm, &r.Hash, &r.State, &r.Version, &started, &r.saved)
		if err == nil {
			r.Repo, err = oci.ParseRepo(name)
		}
		r.Started = time.UnixMicro(started).UTC()
		older = append(older, &r)
		return err
	})
	var whole bool
	if err == nil {
		whole, err = db.ledger.load(older, func(key blob.Key) (bool, error) { return db.keyIsRecorded(ctx, key) })
	}
	if err != nil || len(older) == 0 || !whole {
		return err
	}
	return db.writer.do(ctx, durable, func(ctx context.Context, t *tx) error {
		_, err := t.exec(ctx, `DELETE FROM uploads`)
		return err
	})
}
