package sqlmeta

import (
	"context"
	"errors"

	"berth/internal/blob"
	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
)

func isNotFound(err error) bool { return errors.Is(err, meta.ErrNotFound) }

// findRepo returns the number of a repository, else meta.ErrNotFound.
func (t *tx) findRepo(ctx context.Context, repo oci.Repo) (int64, error) {
	var id int64
	err := t.get(ctx, `SELECT id FROM repos WHERE name = $1`, args{repo.String()}, &id)
	return id, err
}

// ensureRepo returns the number of a repository, which it makes if need be.
func (t *tx) ensureRepo(ctx context.Context, repo oci.Repo) (int64, error) {
	id, err := t.findRepo(ctx, repo)
	if !isNotFound(err) {
		return id, err
	}
	return t.makeRepo(ctx, repo)
}

// makeRepo makes a repository that is not there.
func (t *tx) makeRepo(ctx context.Context, repo oci.Repo) (int64, error) {
	return t.insert(ctx, `INSERT INTO repos (name, listed, created_us) VALUES ($1, 0, $2)`, repo.String(), t.wall())
}

const sqlContent = `SELECT key, size, damaged FROM blobs WHERE digest = $1`

func (t *tx) content(ctx context.Context, d oci.Digest) (meta.Blob, error) {
	return content(ctx, t, d, sqlContent+t.s.dialect.share)
}

func content(ctx context.Context, q querier, d oci.Digest, text string) (meta.Blob, error) {
	b := meta.Blob{Digest: d, Left: meta.Forever}
	err := q.get(ctx, text, args{d.String()}, &b.Key, &b.Size, &b.Damaged)
	if err != nil {
		return meta.Blob{}, err
	}
	return b, nil
}

// Holders implements meta.Blobs.
func (db *DB) Holders(ctx context.Context, d oci.Digest, limit int) ([]oci.Repo, error) {
	return repos(ctx, db.reader, `SELECT r.name FROM repo_blobs m JOIN repos r ON r.id = m.repo_id WHERE m.digest = $1 AND r.trash = 0 LIMIT $2`,
		args{d.String(), limit})
}

// join makes blob d a member of a repository, begins its grace anew and clears
// its tombstone.
func (t *tx) join(ctx context.Context, repo int64, d oci.Digest) error {
	if err := t.enter(ctx, repo, d); err != nil {
		return err
	}
	return t.regain(ctx, repo, d)
}

// enter is join where there is no tombstone.
func (t *tx) enter(ctx context.Context, repo int64, d oci.Digest) error {
	_, err := t.exec(ctx, `INSERT INTO repo_blobs (repo_id, digest, touched, candidate) VALUES ($1, $2, $3, 1)
		ON CONFLICT (repo_id, digest) DO UPDATE SET touched = excluded.touched, candidate = 1`, repo, d.String(), t.ticks())
	if err != nil {
		return err
	}
	return t.unwritten(ctx, repo, meta.LinkName{Kind: meta.LayerLink, Name: d.String()})
}

// regain clears the tombstone of d.
func (t *tx) regain(ctx context.Context, repo int64, d oci.Digest) error {
	_, err := t.exec(ctx, `DELETE FROM losses WHERE repo_id = $1 AND digest = $2`, repo, d.String())
	return err
}

// lose leaves a tombstone of d.
func (t *tx) lose(ctx context.Context, repo int64, d string) error {
	_, err := t.exec(ctx, `INSERT INTO losses (repo_id, digest, lost) VALUES ($1, $2, $3)
		ON CONFLICT (repo_id, digest) DO UPDATE SET lost = excluded.lost`, repo, d, t.ticks())
	return err
}

// condemn makes key garbage from the tick due on, unless a blob still has it.
func (t *tx) condemn(ctx context.Context, key string, due int64) error {
	_, err := t.exec(ctx, `INSERT INTO garbage (key, due) SELECT CAST($1 AS TEXT), CAST($2 AS BIGINT)
		WHERE NOT EXISTS (SELECT 1 FROM blobs WHERE key = $1) ON CONFLICT (key) DO NOTHING`, key, due)
	return err
}

// part is leave with a tombstone.
func (t *tx) part(ctx context.Context, repo int64, d string) error {
	if err := t.lose(ctx, repo, d); err != nil {
		return err
	}
	if err := t.unwritten(ctx, repo, meta.LinkName{Kind: meta.LayerLink, Name: d}); err != nil {
		return err
	}
	return t.leave(ctx, repo, d)
}

// leave ends the membership of d. With the last one the blob's record goes too
// and its key becomes garbage.
func (t *tx) leave(ctx context.Context, repo int64, d string) error {
	if _, err := t.exec(ctx, `DELETE FROM repo_blobs WHERE repo_id = $1 AND digest = $2`, repo, d); err != nil {
		return err
	}
	var key string
	err := t.get(ctx, `DELETE FROM blobs WHERE digest = $1 AND NOT EXISTS (SELECT 1 FROM repo_blobs WHERE digest = $1) RETURNING key`,
		args{d}, &key)
	if isNotFound(err) {
		return nil // others have it
	}
	if err != nil {
		return err
	}
	return t.condemn(ctx, key, t.ticks()+int64(t.delay))
}

const sqlMember = `SELECT 1 FROM repo_blobs WHERE repo_id = $1 AND digest = $2`

// LinkBlob implements meta.Blobs.
func (db *DB) LinkBlob(ctx context.Context, from, to oci.Repo, d oci.Digest, by event.Actor) error {
	return db.write(ctx, durable, func(ctx context.Context, t *tx) error {
		size, repo, lost, err := t.linking(ctx, from, to, d)
		if err != nil {
			return notFound(err, "blob "+d.String(), from)
		}
		if repo == 0 {
			repo, err = t.makeRepo(ctx, to)
		}
		if err == nil {
			err = t.enter(ctx, repo, d)
		}
		if err == nil && lost {
			err = t.regain(ctx, repo, d)
		}
		if err != nil {
			return err
		}
		return t.record(ctx, event.Event{Action: event.Mount, Kind: event.Blob, Repo: to, From: from, Digest: d, Size: size, By: by})
	})
}

// linking returns the size of an undamaged blob that a repository has, the number of
// the one that is to have it, 0 if there is none, and whether that had it and lost
// it.
func (t *tx) linking(ctx context.Context, from, to oci.Repo, d oci.Digest) (size, repo int64, lost bool, err error) {
	source, known := t.hotRepo(from)
	repo, there := t.hotRepo(to)
	if known && there {
		if size, known = t.hotMember(source, d); known {
			err = t.get(ctx, `SELECT EXISTS (SELECT 1 FROM losses WHERE repo_id = $1 AND digest = $2)`, args{repo, d.String()}, &lost)
			return size, repo, lost, err
		}
	}
	err = t.get(ctx, `SELECT b.size, COALESCE((SELECT id FROM repos WHERE name = $3), 0),
		EXISTS (SELECT 1 FROM repos o JOIN losses l ON l.repo_id = o.id WHERE o.name = $3 AND l.digest = $2)
		FROM repos r JOIN repo_blobs m ON m.repo_id = r.id JOIN blobs b ON b.digest = m.digest
		WHERE r.name = $1 AND m.digest = $2 AND b.damaged = 0`+t.s.dialect.share, args{from.String(), d.String(), to.String()}, &size, &repo, &lost)
	return size, repo, lost, err
}

// UnlinkBlob implements meta.Blobs.
func (db *DB) UnlinkBlob(ctx context.Context, repo oci.Repo, d oci.Digest, by event.Actor) error {
	return db.write(ctx, durable, func(ctx context.Context, t *tx) error {
		id, err := t.findRepo(ctx, repo)
		if err == nil {
			var one int
			err = t.get(ctx, sqlMember, args{id, d.String()}, &one)
		}
		if err != nil {
			return notFound(err, "blob "+d.String(), repo)
		}
		if err := t.unneeded(ctx, id, d); err != nil {
			return err
		}
		b := &bin{t: t, repo: id, name: repo, kind: meta.TrashBlob, digest: d, reason: meta.ReasonDeleted, by: by}
		if err := b.takeBlob(ctx, d); err != nil {
			return err
		}
		return t.record(ctx, event.Event{Action: event.Delete, Kind: event.Blob, Repo: repo, Digest: d, By: by})
	})
}

// unneeded returns an *meta.InUseError when a manifest of the repository needs d.
func (t *tx) unneeded(ctx context.Context, repo int64, d oci.Digest) error {
	var holder string
	err := t.get(ctx, `SELECT m.digest FROM manifest_refs f JOIN manifests m ON m.id = f.manifest_id
		WHERE f.repo_id = $1 AND f.digest = $2 LIMIT 1`, args{repo, d.String()}, &holder)
	if isNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return inUse(holder)
}

func inUse(holder string) error {
	h, err := oci.ParseDigest(holder)
	if err != nil {
		return err
	}
	return &meta.InUseError{Holder: h}
}

// TouchBlob implements meta.Blobs.
func (db *DB) TouchBlob(ctx context.Context, repo oci.Repo, d oci.Digest) error {
	return db.write(ctx, relaxed, func(ctx context.Context, t *tx) error {
		n, err := t.exec(ctx, `UPDATE repo_blobs SET touched = $3
			WHERE repo_id = (SELECT id FROM repos WHERE name = $1) AND digest = $2`, repo.String(), d.String(), t.ticks())
		if err == nil && n == 0 {
			err = notFound(meta.ErrNotFound, "blob "+d.String(), repo)
		}
		return err
	})
}

// MarkDamaged implements meta.Blobs.
func (db *DB) MarkDamaged(ctx context.Context, d oci.Digest, key blob.Key) error {
	return db.write(ctx, durable, func(ctx context.Context, t *tx) error {
		_, err := t.exec(ctx, `UPDATE blobs SET damaged = 1 WHERE digest = $1 AND key = $2 AND damaged = 0`, d.String(), string(key))
		return err
	})
}
