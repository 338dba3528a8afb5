package sqlmeta

import (
	"context"
	"time"

	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
)

// The two ways to find a manifest.
const (
	sqlManifestByDigest = `SELECT m.digest, m.media_type, m.subject, m.pushed_us, m.body FROM repos r JOIN manifests m ON m.repo_id = r.id
		WHERE r.name = $1 AND m.digest = $2`
	sqlManifestByTag = `SELECT m.digest, m.media_type, m.subject, m.pushed_us, m.body FROM repos r JOIN tags t ON t.repo_id = r.id
		JOIN manifests m ON m.id = t.manifest_id WHERE r.name = $1 AND t.name = $2`
)

// FindManifest implements meta.Manifests.
func (db *DB) FindManifest(ctx context.Context, repo oci.Repo, ref oci.Ref) (meta.Manifest, error) {
	text := sqlManifestByTag
	if ref.Tag.IsZero() {
		text = sqlManifestByDigest
	}
	var m meta.Manifest
	var digest, subject string
	var pushed int64
	err := db.reader.get(ctx, text, args{repo.String(), ref.String()}, &digest, &m.MediaType, &subject, &pushed, &m.Body)
	if err != nil {
		return meta.Manifest{}, notFound(err, "manifest "+ref.String(), repo)
	}
	m.Pushed = time.UnixMicro(pushed).UTC()
	if m.Digest, err = oci.ParseDigest(digest); err == nil && subject != "" {
		m.Subject, err = oci.ParseDigest(subject)
	}
	return m, err
}

// DeleteManifest implements meta.Manifests.
func (db *DB) DeleteManifest(ctx context.Context, repo oci.Repo, d oci.Digest, by event.Actor) error {
	return db.write(ctx, durable, func(ctx context.Context, t *tx) error {
		var id, repoID int64
		err := t.get(ctx, `SELECT m.id, r.id FROM repos r JOIN manifests m ON m.repo_id = r.id WHERE r.name = $1 AND m.digest = $2`,
			args{repo.String(), d.String()}, &id, &repoID)
		if err != nil {
			return notFound(err, "manifest "+d.String(), repo)
		}
		if err := t.unneeded(ctx, repoID, d); err != nil {
			return err
		}
		return t.removeManifest(ctx, tagChange{repo: repoID, in: repo, cause: meta.ByDelete, by: by}, id, event.Event{Action: event.Delete, Repo: repo, Digest: d, By: by})
	})
}

// removeManifest removes manifest id, the e.Digest of a repository, with the tags
// that point to it, begins the grace of its parts anew and leaves a tombstone.
func (t *tx) removeManifest(ctx context.Context, why tagChange, id int64, e event.Event) error {
	tags, err := t.dropManifest(ctx, why, id, e.Digest)
	if err != nil {
		return err
	}
	return t.recordRemoval(ctx, e, tags)
}

// dropManifest is removeManifest without the event. It returns the tags.
func (t *tx) dropManifest(ctx context.Context, why tagChange, id int64, d oci.Digest) ([]oci.Tag, error) {
	repo := why.repo
	if err := t.unwritten(ctx, repo, meta.LinkName{Kind: meta.RevisionLink, Name: d.String()}); err != nil {
		return nil, err
	}
	tags, err := t.untag(ctx, why, d, id)
	if err != nil {
		return nil, err
	}
	if err := t.release(ctx, repo, id); err != nil {
		return nil, err
	}
	if _, err := t.exec(ctx, `DELETE FROM manifests WHERE id = $1`, id); err != nil {
		return nil, err
	}
	_, err = t.exec(ctx, `UPDATE repos SET listed = 0 WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM manifests WHERE repo_id = $1)`, repo)
	if err != nil {
		return nil, err
	}
	return tags, t.lose(ctx, repo, d.String())
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
func (t *tx) release(ctx context.Context, repo, manifest int64) error {
	_, err := t.exec(ctx, `UPDATE repo_blobs SET touched = $3, candidate = 1
		WHERE repo_id = $1 AND digest IN (SELECT digest FROM manifest_refs WHERE manifest_id = $2)`, repo, manifest, t.ticks())
	if err != nil {
		return err
	}
	_, err = t.exec(ctx, `DELETE FROM manifest_refs WHERE manifest_id = $1`, manifest)
	return err
}

// DeleteTag implements meta.Manifests.
func (db *DB) DeleteTag(ctx context.Context, repo oci.Repo, tag oci.Tag, by event.Actor) error {
	return db.write(ctx, durable, func(ctx context.Context, t *tx) error {
		id, err := t.findRepo(ctx, repo)
		if err != nil {
			return notFound(err, "tag "+tag.String(), repo)
		}
		d, err := t.removeTag(ctx, tagChange{repo: id, in: repo, cause: meta.ByDelete, by: by}, tag)
		if err != nil {
			return notFound(err, "tag "+tag.String(), repo)
		}
		return t.record(ctx, event.Event{Action: event.Delete, Kind: event.Tag, Repo: repo, Tag: tag, Digest: d, By: by})
	})
}
