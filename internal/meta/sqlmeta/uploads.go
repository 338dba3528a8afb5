package sqlmeta

import (
	"context"
	"fmt"
	"time"

	"berth/internal/blob"
	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
)

// CreateUpload implements meta.Uploads.
func (db *DB) CreateUpload(ctx context.Context, u meta.Upload) error {
	return db.write(ctx, relaxed, func(ctx context.Context, t *tx) error {
		repo, err := t.ensureRepo(ctx, u.Repo)
		if err != nil {
			return err
		}
		_, err = t.exec(ctx, `INSERT INTO uploads (id, repo_id, owner, key, size, algorithm, hash, state, version, started_us, saved)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
			string(u.ID), repo, u.By, string(u.Key), u.Size, string(u.Algorithm), u.Hash, u.State, u.Version, u.Started.UnixMicro(), t.ticks())
		return err
	})
}

// An openUpload is what a mutation needs to know of a stored upload.
type openUpload struct {
	repo    int64
	key     string
	version int64
}

func (t *tx) upload(ctx context.Context, u meta.Upload) (openUpload, error) {
	var o openUpload
	err := t.get(ctx, `SELECT u.repo_id, u.key, u.version FROM uploads u JOIN repos r ON r.id = u.repo_id WHERE u.id = $1 AND r.name = $2`,
		args{string(u.ID), u.Repo.String()}, &o.repo, &o.key, &o.version)
	return o, notFound(err, "upload "+string(u.ID), u.Repo)
}

// SaveUpload implements meta.Uploads. A key that u gives up becomes garbage.
func (db *DB) SaveUpload(ctx context.Context, u meta.Upload) error {
	return db.write(ctx, relaxed, func(ctx context.Context, t *tx) error {
		old, err := t.upload(ctx, u)
		if err != nil {
			return err
		}
		if old.version != u.Version {
			return fmt.Errorf("upload %s: %w", u.ID, meta.ErrConflict)
		}
		_, err = t.exec(ctx, `UPDATE uploads SET owner = $2, key = $3, size = $4, algorithm = $5, hash = $6, state = $7, version = version + 1, saved = $8
			WHERE id = $1`, string(u.ID), u.By, string(u.Key), u.Size, string(u.Algorithm), u.Hash, u.State, t.ticks())
		if err != nil || old.key == string(u.Key) {
			return err
		}
		return t.condemn(ctx, old.key, t.ticks())
	})
}

// CommitUpload implements meta.Uploads.
func (db *DB) CommitUpload(ctx context.Context, u meta.Upload, b meta.Blob, by event.Actor) (meta.Blob, error) {
	var has meta.Blob
	err := db.write(ctx, durable, func(ctx context.Context, t *tx) error {
		old, err := t.ending(ctx, u, b.Digest)
		if err != nil {
			return err
		}
		if has, err = t.keepBlob(ctx, b, old.has); err != nil {
			return err
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
			if err := t.condemn(ctx, old.key, t.ticks()); err != nil {
				return err
			}
		}
		if _, err = t.exec(ctx, `DELETE FROM uploads WHERE id = $1`, string(u.ID)); err != nil {
			return err
		}
		return t.record(ctx, event.Event{Action: event.Push, Kind: event.Blob, Repo: u.Repo, Digest: b.Digest, Size: has.Size, By: by})
	})
	if err != nil {
		return meta.Blob{}, err
	}
	return has, nil
}

// An endingUpload is what there is when an upload ends as a blob.
type endingUpload struct {
	repo int64
	key  string
	has  meta.Blob // the record of the blob; without a key if there is none
	lost bool      // the repository has a tombstone of it
}

// ending finds out in one query what the end of an upload needs to know.
func (t *tx) ending(ctx context.Context, u meta.Upload, d oci.Digest) (endingUpload, error) {
	o := endingUpload{has: meta.Blob{Digest: d, Left: meta.Forever}}
	err := t.get(ctx, `SELECT u.repo_id, u.key, EXISTS (SELECT 1 FROM losses l WHERE l.repo_id = u.repo_id AND l.digest = $3),
		COALESCE(b.key, ''), COALESCE(b.size, 0), COALESCE(b.damaged, 0)
		FROM uploads u JOIN repos r ON r.id = u.repo_id LEFT JOIN blobs b ON b.digest = $3 WHERE u.id = $1 AND r.name = $2`,
		args{string(u.ID), u.Repo.String(), d.String()}, &o.repo, &o.key, &o.lost, &o.has.Key, &o.has.Size, &o.has.Damaged)
	return o, notFound(err, "upload "+string(u.ID), u.Repo)
}

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
	_, err := t.exec(ctx, `INSERT INTO blobs (digest, key, size, damaged, created_us) VALUES ($1, $2, $3, 0, $4)
		ON CONFLICT (digest) DO UPDATE SET key = excluded.key, size = excluded.size, damaged = 0, created_us = excluded.created_us`,
		b.Digest.String(), string(b.Key), b.Size, t.wall())
	if err == nil && known && has.Key != b.Key {
		err = t.condemn(ctx, string(has.Key), t.ticks()+int64(t.delay))
	}
	return meta.Blob{Digest: b.Digest, Key: b.Key, Size: b.Size}, err
}

// DropUpload implements meta.Uploads.
func (db *DB) DropUpload(ctx context.Context, u meta.Upload) error {
	return db.write(ctx, durable, func(ctx context.Context, t *tx) error {
		old, err := t.upload(ctx, u)
		if isNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		return t.dropUpload(ctx, string(u.ID), old.key)
	})
}

func (t *tx) dropUpload(ctx context.Context, id, key string) error {
	if _, err := t.exec(ctx, `DELETE FROM uploads WHERE id = $1`, id); err != nil {
		return err
	}
	return t.condemn(ctx, key, t.ticks())
}

// ExpireUploads implements meta.Garbage.
func (db *DB) ExpireUploads(ctx context.Context, idle time.Duration, limit int) (int, error) {
	old, err := db.exists(ctx, `SELECT 1 FROM uploads WHERE saved <= $1`, db.ago(idle))
	if err != nil || !old {
		return 0, err
	}
	n := 0
	err = db.write(ctx, durable, func(ctx context.Context, t *tx) error {
		type upload struct{ id, key string }
		var list []upload
		err := t.each(ctx, `SELECT id, key FROM uploads WHERE saved <= $1 ORDER BY saved LIMIT $2`, args{t.ticks() - int64(idle), limit},
			func(scan func(...any) error) error {
				var u upload
				defer func() { list = append(list, u) }()
				return scan(&u.id, &u.key)
			})
		for i := 0; err == nil && i < len(list); i++ {
			err = t.dropUpload(ctx, list[i].id, list[i].key)
		}
		n = len(list)
		return err
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// KnownKey implements meta.Garbage.
func (db *DB) KnownKey(ctx context.Context, key blob.Key) (bool, error) {
	var known bool
	err := db.reader.get(ctx, `SELECT EXISTS (SELECT 1 FROM uploads WHERE key = $1) OR EXISTS (SELECT 1 FROM blobs WHERE key = $1)
		OR EXISTS (SELECT 1 FROM garbage WHERE key = $1)`, args{string(key)}, &known)
	return known, err
}
