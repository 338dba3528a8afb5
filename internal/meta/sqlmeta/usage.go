package sqlmeta

import (
	"context"
	"fmt"
	"time"

	"berth/internal/blob"
	"berth/internal/meta"
	"berth/internal/oci"
)

var _ meta.Usage = (*DB)(nil)

// Occupied implements meta.Usage.
func (db *DB) Occupied(ctx context.Context, after string, limit int) ([]oci.Repo, error) {
	return repos(ctx, db.reader, `SELECT r.name FROM repos r WHERE r.name > $1 AND r.trash = 0
		AND (r.listed = 1 OR EXISTS (SELECT 1 FROM repo_blobs m WHERE m.repo_id = r.id)) ORDER BY r.name LIMIT $2`, args{after, limit})
}

// usagePage is how many memberships are looked at in one query: few enough that it
// can be given up between two, and that the log of the database can be folded in.
const usagePage = 10_000

// RepoCounts implements meta.Usage.
func (db *DB) RepoCounts(ctx context.Context, repo oci.Repo) (meta.RepoUsage, error) {
	u, _, err := db.counts(ctx, repo)
	return u, err
}

// counts returns what RepoCounts does, and the number of the repository.
func (db *DB) counts(ctx context.Context, repo oci.Repo) (u meta.RepoUsage, id int64, err error) {
	u.Repo = repo
	if err := db.reader.get(ctx, `SELECT id FROM repos WHERE name = $1`, args{repo.String()}, &id); err != nil {
		return u, 0, notFound(err, "usage", repo)
	}
	err = db.reader.get(ctx, `SELECT (SELECT count(*) FROM tags WHERE repo_id = $1), count(*), coalesce(sum(size), 0)
		FROM manifests WHERE repo_id = $1`, args{id}, &u.Tags, &u.Manifests, &u.ManifestBytes)
	if err != nil {
		return u, 0, fmt.Errorf("count what %s has: %w", repo, err)
	}
	return u, id, nil
}

// RepoUsage implements meta.Usage.
func (db *DB) RepoUsage(ctx context.Context, repo oci.Repo) (meta.RepoUsage, error) {
	u, id, err := db.counts(ctx, repo)
	for after, more := "", true; more && err == nil; {
		after, more, err = db.addBlobs(ctx, &u, id, after)
	}
	if err == nil {
		err = db.reader.get(ctx, sqlTrashBytes, args{repo.String()}, &u.TrashBytes)
	}
	if err != nil {
		return u, fmt.Errorf("usage of %s: %w", repo, err)
	}
	return u, nil
}

// sqlTrashBytes sums up the blobs that only the trash has and that the entries of
// one repository were the first to have.
const sqlTrashBytes = `SELECT coalesce(sum(b.size), 0) FROM trash t CROSS JOIN repos r ON r.trash = t.id AND r.trash <> 0
		CROSS JOIN repo_blobs m ON m.repo_id = r.id CROSS JOIN blobs b ON b.digest = m.digest
	WHERE t.repo = $1 AND NOT EXISTS (SELECT 1 FROM repo_blobs o CROSS JOIN repos x ON x.id = o.repo_id
		WHERE o.digest = m.digest AND o.repo_id <> m.repo_id AND x.trash < r.trash)`

// addBlobs adds a page of the blobs of repository id to u, and returns behind which
// digest the next one begins, and whether there is any.
func (db *DB) addBlobs(ctx context.Context, u *meta.RepoUsage, id int64, after string) (last string, more bool, err error) {
	n := 0
	err = db.reader.each(ctx, `SELECT m.digest, b.size,
			NOT EXISTS (SELECT 1 FROM repo_blobs o CROSS JOIN repos r ON r.id = o.repo_id WHERE o.digest = m.digest AND o.repo_id <> m.repo_id AND r.trash = 0),
			m.candidate = 1 AND NOT EXISTS (SELECT 1 FROM manifest_refs f WHERE f.repo_id = m.repo_id AND f.digest = m.digest)
				AND NOT EXISTS (SELECT 1 FROM links l WHERE l.repo_id = m.repo_id AND l.kind = 1 AND l.name = m.digest AND l.held = 1)
		FROM repo_blobs m CROSS JOIN blobs b ON b.digest = m.digest
		WHERE m.repo_id = $1 AND m.digest > $2 ORDER BY m.digest LIMIT $3`, args{id, after, usagePage}, func(scan func(...any) error) error {
		var size int64
		var unique, waiting bool
		if err := scan(&last, &size, &unique, &waiting); err != nil {
			return err
		}
		n++
		u.Blobs++
		u.BlobBytes += size
		if unique {
			u.UniqueBytes += size
		}
		if waiting {
			u.Waiting++
		}
		if waiting && unique {
			u.WaitingBytes += size
		}
		return nil
	})
	return last, n == usagePage, err
}

// BlobUsages implements meta.Usage.
func (db *DB) BlobUsages(ctx context.Context, after string, limit int) ([]meta.BlobUsage, error) {
	var list []meta.BlobUsage
	err := db.reader.each(ctx, `SELECT b.digest, b.size,
			(SELECT count(*) FROM repo_blobs m CROSS JOIN repos r ON r.id = m.repo_id WHERE m.digest = b.digest AND r.trash = 0),
			EXISTS (SELECT 1 FROM repo_blobs m CROSS JOIN repos r ON r.id = m.repo_id CROSS JOIN repo_blobs o ON o.repo_id = m.repo_id AND o.digest = m.digest
				WHERE m.digest = b.digest AND r.trash = 0 AND (o.candidate = 0
				OR EXISTS (SELECT 1 FROM manifest_refs f WHERE f.repo_id = m.repo_id AND f.digest = m.digest)
				OR EXISTS (SELECT 1 FROM links l WHERE l.repo_id = m.repo_id AND l.kind = 1 AND l.name = m.digest AND l.held = 1)))
		FROM blobs b WHERE b.digest > $1 ORDER BY b.digest LIMIT $2`, args{after, limit}, func(scan func(...any) error) error {
		var u meta.BlobUsage
		var digest string
		var needed bool
		err := scan(&digest, &u.Size, &u.Repos, &needed)
		if err == nil {
			u.Digest, err = oci.ParseDigest(digest)
		}
		switch {
		case u.Repos == 0:
			u.Claim = meta.Trashed
		case !needed:
			u.Claim = meta.Waiting
		}
		list = append(list, u)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("usage of blobs: %w", err)
	}
	return list, nil
}

// UploadUsages implements meta.Usage.
func (db *DB) UploadUsages(ctx context.Context, after meta.UploadID, limit int) ([]meta.UploadUsage, error) {
	var list []meta.UploadUsage
	now := db.clock.ticks()
	for _, r := range db.ledger.behind(after, limit) {
		list = append(list, meta.UploadUsage{ID: r.ID, Repo: r.Repo, Size: r.Size, Idle: max(0, time.Duration(now-r.saved))})
	}
	return list, ctx.Err()
}

// GarbageKeys implements meta.Usage.
func (db *DB) GarbageKeys(ctx context.Context, after blob.Key, limit int) ([]meta.GarbageKey, error) {
	var list []meta.GarbageKey
	now := db.clock.ticks()
	err := db.reader.each(ctx, `SELECT key, due FROM garbage WHERE key > $1 ORDER BY key LIMIT $2`, args{string(after), limit}, func(scan func(...any) error) error {
		var g meta.GarbageKey
		var due int64
		err := scan(&g.Key, &due)
		g.In = max(0, time.Duration(due-now))
		list = append(list, g)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list garbage: %w", err)
	}
	return list, nil
}
