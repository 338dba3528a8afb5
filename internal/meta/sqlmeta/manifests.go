package sqlmeta

import (
	"context"

	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
)

// The two ways to find a manifest.
const (
	sqlManifestByDigest = `SELECT r.id, coalesce(m.repo_id, 0), coalesce(m.id, 0), coalesce(m.digest, ''), coalesce(m.media_type, ''), coalesce(m.subject, ''), coalesce(m.pushed_us, 0), m.body
		FROM repos r LEFT JOIN manifests m ON m.repo_id = r.id AND m.digest = $2 WHERE r.name = $1`
	sqlManifestByTag = `SELECT r.id, coalesce(m.repo_id, 0), coalesce(m.id, 0), coalesce(m.digest, ''), coalesce(m.media_type, ''), coalesce(m.subject, ''), coalesce(m.pushed_us, 0), m.body
		FROM repos r LEFT JOIN tags t ON t.repo_id = r.id AND t.name = $2 LEFT JOIN manifests m ON m.id = t.manifest_id WHERE r.name = $1`
)

// DeleteManifest implements meta.Manifests.
func (db *DB) DeleteManifest(ctx context.Context, repo oci.Repo, d oci.Digest, by event.Actor) error {
	return db.write(ctx, durable, func(ctx context.Context, t *tx) error {
		m := doomed{digest: d}
		var repoID int64
		var holder, tags string
		err := t.get(ctx, `SELECT m.id, r.id, COALESCE((SELECT h.digest FROM manifest_refs f JOIN manifests h ON h.id = f.manifest_id
				WHERE f.repo_id = r.id AND f.digest = m.digest LIMIT 1), ''),
				COALESCE((SELECT string_agg(name, ' ') FROM tags WHERE manifest_id = m.id), ''), `+sqlAlone+`
			FROM repos r JOIN manifests m ON m.repo_id = r.id WHERE r.name = $1 AND m.digest = $2`, args{repo.String(), d.String()},
			&m.id, &repoID, &holder, &tags, &m.alone)
		if err != nil {
			return notFound(err, "manifest "+d.String(), repo)
		}
		if holder != "" {
			return inUse(holder)
		}
		if m.tags, err = split(tags, oci.ParseTag); err != nil {
			return err
		}
		b := &bin{t: t, repo: repoID, name: repo, kind: meta.TrashManifest, digest: d, reason: meta.ReasonDeleted, by: by}
		return b.takeManifest(ctx, m)
	})
}

// A doomed manifest is about to go from its repository.
type doomed struct {
	id     int64
	digest oci.Digest
	tags   []oci.Tag // that point to it
	alone  bool      // its repository may have no other
}

// sqlAlone reports whether the repository of manifest m has no other.
const sqlAlone = `NOT EXISTS (SELECT 1 FROM manifests o WHERE o.repo_id = m.repo_id AND o.id <> m.id)`

// dropManifest takes a manifest away from its repository with the tags that point
// to it, and leaves a tombstone. What becomes of it, and of the grace of its parts,
// is move's to do: see discard.
func (t *tx) dropManifest(ctx context.Context, why tagChange, m doomed, move func(ctx context.Context, id int64) error) error {
	repo := why.repo
	if err := t.untag(ctx, why, m); err != nil {
		return err
	}
	if err := t.unwritten(ctx, repo, meta.LinkName{Kind: meta.RevisionLink, Name: m.digest.String()}); err != nil {
		return err
	}
	if err := move(ctx, m.id); err != nil {
		return err
	}
	if m.alone {
		_, err := t.exec(ctx, `UPDATE repos SET listed = 0 WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM manifests WHERE repo_id = $1)`, repo)
		if err != nil {
			return err
		}
	}
	return t.lose(ctx, repo, m.digest.String())
}

// discard removes a manifest for good and begins the grace of its parts anew.
func (t *tx) discard(ctx context.Context, id int64) error {
	if err := t.release(ctx, id); err != nil {
		return err
	}
	_, err := t.exec(ctx, `DELETE FROM manifests WHERE id = $1`, id)
	return err
}

// recordRemoval records that a manifest went, and its tags with it.
func (t *tx) recordRemoval(ctx context.Context, e event.Event, tags []oci.Tag) error {
	e.Kind = event.Manifest
	if err := t.record(ctx, e); err != nil {
		return err
	}
	e.Kind = event.Tag
	for _, e.Tag = range tags {
		if err := t.record(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

// release takes away a manifest's references and begins the grace of its parts
// anew.
func (t *tx) release(ctx context.Context, manifest int64) error {
	if err := t.renew(ctx, manifest); err != nil {
		return err
	}
	_, err := t.exec(ctx, `DELETE FROM manifest_refs WHERE manifest_id = $1`, manifest)
	return err
}

// renew begins the grace of a manifest's parts anew, but for those that another
// one of its repository needs: their grace begins when that one goes.
func (t *tx) renew(ctx context.Context, manifest int64) error {
	_, err := t.exec(ctx, `UPDATE repo_blobs SET touched = $2, candidate = 1
		WHERE (repo_id, digest) IN (SELECT f.repo_id, f.digest FROM manifest_refs f WHERE f.manifest_id = $1
			AND NOT EXISTS (SELECT 1 FROM manifest_refs o WHERE o.repo_id = f.repo_id AND o.digest = f.digest AND o.manifest_id <> $1))`,
		manifest, t.ticks())
	return err
}

// DeleteTag implements meta.Manifests.
func (db *DB) DeleteTag(ctx context.Context, repo oci.Repo, tag oci.Tag, by event.Actor) error {
	return db.write(ctx, durable, func(ctx context.Context, t *tx) error {
		id, err := t.findRepo(ctx, repo)
		if err != nil {
			return notFound(err, "tag "+tag.String(), repo)
		}
		b := &bin{t: t, repo: id, name: repo, kind: meta.TrashTag, reason: meta.ReasonDeleted, by: by}
		if b.digest, err = t.removeTag(ctx, b.change(), tag); err != nil {
			return notFound(err, "tag "+tag.String(), repo)
		}
		return b.tagGone(ctx, meta.Tag{Name: tag, Digest: b.digest})
	})
}
