package sqlmeta

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
)

var (
	_ meta.Trash     = (*DB)(nil)
	_ meta.Discarder = (*DB)(nil)
)

// A bin takes what one mutation deletes from one repository: into one entry of
// the trash, or nowhere if nothing is kept.
type bin struct {
	t      *tx
	repo   int64
	name   oci.Repo
	kind   meta.TrashKind
	digest oci.Digest // of what is deleted, if that is one thing
	reason meta.TrashReason
	by     event.Actor

	tags   []oci.Tag // that went with the digest before there was an entry
	entry  int64     // 0 until there is something in it
	hidden int64     // the repository that has what it holds; 0 until there is one
}

// change says for the history of tags what is going on.
func (b *bin) change() tagChange {
	c := tagChange{repo: b.repo, in: b.name, by: b.by}
	switch b.reason {
	case meta.ReasonDeleted:
		c.cause = meta.ByDelete
	case meta.ReasonRetention:
		c.cause = meta.ByRetention
	case meta.ReasonUntagged:
		c.cause = meta.ByUntagged
	}
	return c
}

// keeps reports whether anything is kept of what is deleted.
func (b *bin) keeps() bool { return b.t.keep > 0 }

// open makes the entry, if that has not been done.
func (b *bin) open(ctx context.Context) error {
	if b.entry != 0 {
		return nil
	}
	dropped := 0
	if !b.keeps() {
		dropped = 1
	}
	id, err := b.t.insert(ctx, `INSERT INTO trash (kind, reason, repo, digest, deleted, deleted_us, by_name, by_addr, by_via, dropped, tags)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
		string(b.kind), string(b.reason), b.name.String(), digestText(b.digest), b.t.ticks(), b.t.wall(), b.by.Name, b.by.Addr, b.by.Via, dropped, joinTags(b.tags))
	b.entry = id
	return err
}

// hiddenName is the name of the repository that has what an entry holds. No
// oci.Repo is like it.
func hiddenName(entry int64) string { return "~" + strconv.FormatInt(entry, 10) }

// hide makes the repository that has what the entry holds, if that has not been
// done.
func (b *bin) hide(ctx context.Context) error {
	if b.hidden != 0 {
		return nil
	}
	if err := b.open(ctx); err != nil {
		return err
	}
	id, err := b.t.insert(ctx, `INSERT INTO repos (name, listed, created_us, trash, removed) VALUES ($1, 0, $2, $3, 0)`,
		hiddenName(b.entry), b.t.wall(), b.entry)
	b.hidden = id
	return err
}

// takeTags notes that tags which pointed to d went: in the entry itself, if it is
// made now and of that digest.
func (b *bin) takeTags(ctx context.Context, d oci.Digest, tags ...oci.Tag) error {
	if !b.keeps() {
		return nil
	}
	if b.entry == 0 && d == b.digest {
		b.tags, tags = tags, nil
	}
	if err := b.open(ctx); err != nil {
		return err
	}
	for _, tag := range tags {
		_, err := b.t.exec(ctx, `INSERT INTO trash_tags (entry, name, digest) VALUES ($1, $2, $3) ON CONFLICT (entry, name) DO NOTHING`,
			b.entry, tag.String(), d.String())
		if err != nil {
			return err
		}
	}
	return nil
}

// joinTags is what split takes apart.
func joinTags(tags []oci.Tag) string {
	names := make([]string, len(tags))
	for i, tag := range tags {
		names[i] = tag.String()
	}
	return strings.Join(names, " ")
}

// takeManifest removes a manifest with the tags that point to it, begins the grace
// of its parts anew, leaves a tombstone and records all that.
func (b *bin) takeManifest(ctx context.Context, m doomed) error {
	move := b.t.discard
	if b.keeps() {
		move = func(ctx context.Context, id int64) error {
			if err := b.takeTags(ctx, m.digest, m.tags...); err != nil {
				return err
			}
			return b.moveManifest(ctx, id)
		}
	}
	if err := b.t.dropManifest(ctx, b.change(), m, move); err != nil {
		return err
	}
	action := event.Delete
	if b.reason != meta.ReasonDeleted {
		action = event.Collect
	}
	return b.t.recordRemoval(ctx, event.Event{Action: action, Repo: b.name, Digest: m.digest, By: b.by}, m.tags)
}

// moveManifest gives the manifest to the hidden repository, which becomes a
// holder of its parts.
func (b *bin) moveManifest(ctx context.Context, id int64) error {
	if err := b.hide(ctx); err != nil {
		return err
	}
	_, err := b.t.exec(ctx, `INSERT INTO repo_blobs (repo_id, digest, touched, candidate)
		SELECT CAST($2 AS BIGINT), m.digest, m.touched, 0 FROM manifest_refs f CROSS JOIN repo_blobs m ON m.repo_id = f.repo_id AND m.digest = f.digest
		WHERE f.manifest_id = $1 ON CONFLICT (repo_id, digest) DO NOTHING`, id, b.hidden)
	if err != nil {
		return err
	}
	if err := b.t.renew(ctx, id); err != nil {
		return err
	}
	return b.t.moveManifest(ctx, id, b.hidden)
}

// moveManifest makes a manifest one of another repository, with its references.
func (t *tx) moveManifest(ctx context.Context, id, to int64) error {
	_, err := t.exec(ctx, `UPDATE manifest_refs SET repo_id = $2 WHERE manifest_id = $1`, id, to)
	if err == nil {
		_, err = t.exec(ctx, `UPDATE manifests SET repo_id = $2 WHERE id = $1`, id, to)
	}
	return err
}

// takeBlob ends the membership of d and leaves a tombstone.
func (b *bin) takeBlob(ctx context.Context, d oci.Digest) error {
	if b.keeps() {
		if err := b.hide(ctx); err != nil {
			return err
		}
		// It is no candidate, so that it stays: see the rules.
		_, err := b.t.exec(ctx, `INSERT INTO repo_blobs (repo_id, digest, touched, candidate) VALUES ($1, $2, $3, 0)`, b.hidden, d.String(), b.t.ticks())
		if err != nil {
			return err
		}
	}
	return b.t.part(ctx, b.repo, d.String())
}

// Discard implements meta.Discarder.
func (db *DB) Discard(ctx context.Context, d meta.Discard) (meta.Discarded, error) {
	var done meta.Discarded
	err := db.write(ctx, durable, func(ctx context.Context, t *tx) (err error) {
		done, err = t.discardAll(ctx, d)
		return err
	})
	if err != nil {
		return meta.Discarded{}, err
	}
	return done, nil
}

func (t *tx) discardAll(ctx context.Context, d meta.Discard) (meta.Discarded, error) {
	var done meta.Discarded
	repo, err := t.findRepo(ctx, d.Repo)
	if isNotFound(err) {
		return done, nil
	}
	b := &bin{t: t, repo: repo, name: d.Repo, kind: meta.TrashTag, reason: d.Reason, by: d.By}
	if len(d.Manifests) > 0 {
		b.kind = meta.TrashManifest
	}
	switch {
	case len(d.Manifests) == 1:
		b.digest = d.Manifests[0]
	case len(d.Manifests) == 0 && len(d.Tags) == 1:
		b.digest = d.Tags[0].Digest
	}
	for i := 0; err == nil && i < len(d.Tags); i++ {
		var gone bool
		if gone, err = b.discardTag(ctx, d.Tags[i]); gone {
			done.Tags = append(done.Tags, d.Tags[i])
		}
	}
	if err == nil {
		done.Manifests, err = b.discardManifests(ctx, d.Manifests)
	}
	if err == nil && d.Whole && (len(done.Tags) < len(d.Tags) || len(done.Manifests) < len(d.Manifests)) {
		err = fmt.Errorf("let go of a family in %s: a part of it must stay: %w", d.Repo, meta.ErrConflict)
	}
	done.Entry = b.entry
	return done, err
}

// discardTag removes a tag if it still points to what it did and may go.
func (b *bin) discardTag(ctx context.Context, tag meta.Tag) (bool, error) {
	now, err := b.t.tag(ctx, b.repo, tag.Name)
	if isNotFound(err) || err == nil && (now != tag.Digest || b.t.immutable(b.name, tag.Name)) {
		return false, nil
	}
	if err == nil {
		_, err = b.t.removeTag(ctx, b.change(), tag.Name)
	}
	if err != nil {
		return false, err
	}
	return true, b.tagGone(ctx, tag)
}

// tagGone does what it means that a tag was removed.
func (b *bin) tagGone(ctx context.Context, tag meta.Tag) error {
	if err := b.takeTags(ctx, tag.Digest, tag.Name); err != nil {
		return err
	}
	action := event.Delete
	if b.reason != meta.ReasonDeleted {
		action = event.Collect
	}
	return b.t.record(ctx, event.Event{Action: action, Kind: event.Tag, Repo: b.name, Tag: tag.Name, Digest: tag.Digest, By: b.by})
}

// discardManifests removes those that no tag points to and no manifest that stays
// needs: what needs others goes before them, in whatever order they are named.
func (b *bin) discardManifests(ctx context.Context, open []oci.Digest) (gone []oci.Digest, err error) {
	for {
		var left []oci.Digest
		for _, d := range open {
			m := doomed{digest: d}
			err := b.t.get(ctx, `SELECT id, `+sqlAlone+` FROM manifests m WHERE repo_id = $1 AND digest = $2
				AND NOT EXISTS (SELECT 1 FROM tags WHERE manifest_id = m.id)
				AND NOT EXISTS (SELECT 1 FROM manifest_refs WHERE repo_id = $1 AND digest = $2)`, args{b.repo, d.String()}, &m.id, &m.alone)
			if isNotFound(err) {
				left = append(left, d)
				continue
			}
			if err == nil {
				err = b.takeManifest(ctx, m)
			}
			if err != nil {
				return nil, err
			}
			gone = append(gone, d)
		}
		if len(left) == len(open) || len(left) == 0 {
			return gone, nil
		}
		open = left
	}
}
