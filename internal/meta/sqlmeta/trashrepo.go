package sqlmeta

import (
	"context"
	"encoding/json"
	"time"

	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
)

// firstTold is how many manifests are told of in the transaction in which a
// repository goes or comes back.
const firstTold = 100

// DeleteRepo implements meta.Discarder. The repository's row becomes the entry's,
// which costs the same however much it has; only links of registry:2 are moved one
// by one, and uploads are the name's in any case. Its tombstones are what the entry has: see sqlLost.
func (db *DB) DeleteRepo(ctx context.Context, repo oci.Repo, by event.Actor) (int64, error) {
	var entry int64
	err := db.write(ctx, durable, func(ctx context.Context, t *tx) error {
		var id int64
		err := t.get(ctx, `SELECT id FROM repos r WHERE name = $1 AND (EXISTS (SELECT 1 FROM manifests WHERE repo_id = r.id)
			OR EXISTS (SELECT 1 FROM repo_blobs WHERE repo_id = r.id))`, args{repo.String()}, &id)
		if err != nil {
			return notFound(err, "anything", repo)
		}
		if err := t.keepsImmutable(ctx, id, repo); err != nil {
			return err
		}
		b := &bin{t: t, repo: id, name: repo, kind: meta.TrashRepo, reason: meta.ReasonDeleted, by: by}
		if err := b.open(ctx); err != nil {
			return err
		}
		if b.keeps() {
			entry = b.entry
		}
		if err := t.noteRepo(ctx, b.change()); err != nil {
			return err
		}
		if err := b.takeRepo(ctx); err != nil {
			return err
		}
		return t.tellLater(ctx, id, repo, event.Delete, by)
	})
	if err != nil {
		return 0, err
	}
	return entry, nil
}

// CountRepo returns how many manifests and tags a repository has.
func (db *DB) CountRepo(ctx context.Context, repo oci.Repo) (manifests, tags int, err error) {
	err = db.reader.get(ctx, `SELECT (SELECT count(*) FROM repos r JOIN manifests m ON m.repo_id = r.id WHERE r.name = $1),
		(SELECT count(*) FROM repos r JOIN tags t ON t.repo_id = r.id WHERE r.name = $1)`, args{repo.String()}, &manifests, &tags)
	return manifests, tags, err
}

// takeRepo makes the repository the entry's, and puts an empty one in its place.
func (b *bin) takeRepo(ctx context.Context) error {
	_, err := b.t.exec(ctx, `UPDATE repos SET name = $2, trash = $3, listed = 0 WHERE id = $1`, b.repo, hiddenName(b.entry), b.entry)
	if err != nil {
		return err
	}
	var heir int64
	err = b.t.get(ctx, `INSERT INTO repos (name, listed, created_us, trash, removed) VALUES ($1, 0, $2, 0, 1) RETURNING id`,
		args{b.name.String(), b.t.wall()}, &heir)
	if err != nil {
		return err
	}
	if err := b.t.inherit(ctx, b.repo, heir); err != nil {
		return err
	}
	return b.t.unwrittenRepo(ctx, heir)
}

// inherit gives what belongs to a name, and not to what a repository has, to the
// repository that bears the name from now on.
func (t *tx) inherit(ctx context.Context, from, heir int64) error {
	if _, err := t.exec(ctx, `UPDATE links SET repo_id = $2 WHERE repo_id = $1`, from, heir); err != nil {
		return err
	}
	// Whoever is writing one of these links does not know of this: it is noted anew.
	_, err := t.exec(ctx, `UPDATE unwritten SET repo_id = $2, version = version + 1 WHERE repo_id = $1`, from, heir)
	return err
}

// unwrittenRepo notes every link that a repository has, or ought to have.
func (t *tx) unwrittenRepo(ctx context.Context, repo int64) error {
	if !t.shadow.Load() {
		return nil
	}
	for _, text := range []string{
		`SELECT repo_id, kind, name, 1 FROM links WHERE repo_id = $1`,
		`SELECT repo_id, 1, digest, 1 FROM repo_blobs WHERE repo_id = $1`,
		`SELECT repo_id, 2, digest, 1 FROM manifests WHERE repo_id = $1`,
		`SELECT repo_id, 3, name, 1 FROM tags WHERE repo_id = $1`,
	} {
		if _, err := t.exec(ctx, sqlUnwritten+text+sqlAgain, repo); err != nil {
			return err
		}
	}
	return nil
}

// sqlLost reports whether repository $1 had $2 and lost it: there is a tombstone,
// or the trash has a whole repository of that name with it.
const sqlLost = `SELECT EXISTS (SELECT 1 FROM losses WHERE repo_id = $1 AND digest = $2)
	OR EXISTS (SELECT 1 FROM repos r CROSS JOIN trash e ON e.repo = r.name AND e.kind = 'repository' CROSS JOIN repos h ON h.trash = e.id AND h.trash <> 0
		WHERE r.id = $1 AND (EXISTS (SELECT 1 FROM repo_blobs WHERE repo_id = h.id AND digest = $2)
			OR EXISTS (SELECT 1 FROM manifests WHERE repo_id = h.id AND digest = $2)
			OR EXISTS (SELECT 1 FROM losses WHERE repo_id = h.id AND digest = $2)))`

// tellLater sees to it that the events of all manifests of a repository are
// recorded, the first ones at once.
func (t *tx) tellLater(ctx context.Context, repo int64, name oci.Repo, a event.Action, by event.Actor) error {
	if !t.outbox.wants(a) {
		return nil
	}
	actor, err := json.Marshal(by)
	if err != nil {
		return err
	}
	_, err = t.exec(ctx, `INSERT INTO untold (repo_id, name, action, after, time_us, actor) VALUES ($1, $2, $3, '', $4, $5)
		ON CONFLICT (repo_id) DO UPDATE SET name = excluded.name, action = excluded.action, after = '', time_us = excluded.time_us, actor = excluded.actor`,
		repo, name.String(), string(a), t.wall(), string(actor))
	if err != nil {
		return err
	}
	_, err = t.tell(ctx, repo, firstTold)
	return err
}

// RecordRepo implements meta.Discarder.
func (db *DB) RecordRepo(ctx context.Context, limit int) (int, error) {
	left, err := db.exists(ctx, `SELECT 1 FROM untold WHERE repo_id > $1`, 0)
	if err != nil || !left {
		return 0, err
	}
	n := 0
	err = db.write(ctx, durable, func(ctx context.Context, t *tx) error {
		n = 0
		var repo int64
		err := t.get(ctx, `SELECT repo_id FROM untold WHERE repo_id > 0 ORDER BY repo_id LIMIT 1`, nil, &repo)
		if isNotFound(err) {
			return nil
		}
		if err == nil {
			n, err = t.tell(ctx, repo, limit)
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// An untold is what is left to tell of a repository.
type untold struct {
	repo  int64
	after string
	event event.Event
}

// tell records at most limit of the events of a repository that are left to be
// recorded, and returns how many steps that were, 0 if nothing was left.
func (t *tx) tell(ctx context.Context, repo int64, limit int) (int, error) {
	u, err := t.untold(ctx, repo)
	if isNotFound(err) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	type told struct {
		id                int64
		digest, mediaType string
		size              int64
	}
	var list []told
	err = t.each(ctx, `SELECT id, digest, media_type, size FROM manifests WHERE repo_id = $1 AND digest > $2 ORDER BY digest LIMIT $3`,
		args{repo, u.after, limit}, func(scan func(...any) error) error {
			var m told
			defer func() { list = append(list, m) }()
			return scan(&m.id, &m.digest, &m.mediaType, &m.size)
		})
	for i := 0; err == nil && i < len(list); i++ {
		m := list[i]
		e := u.event
		if e.Digest, err = oci.ParseDigest(m.digest); err == nil && e.Action == event.Push {
			e.MediaType, e.Size = m.mediaType, m.size
		}
		if err == nil {
			err = t.tellManifest(ctx, e, m.id)
		}
		u.after = m.digest
	}
	if err != nil {
		return 0, err
	}
	if len(list) < limit {
		_, err = t.exec(ctx, `DELETE FROM untold WHERE repo_id = $1`, repo)
	} else {
		_, err = t.exec(ctx, `UPDATE untold SET after = $2 WHERE repo_id = $1`, repo, u.after)
	}
	return max(1, len(list)), err
}

func (t *tx) untold(ctx context.Context, repo int64) (untold, error) {
	u := untold{repo: repo}
	var name, actor string
	var at int64
	err := t.get(ctx, `SELECT name, action, after, time_us, actor FROM untold WHERE repo_id = $1`, args{repo}, &name, &u.event.Action, &u.after, &at, &actor)
	if err == nil {
		u.event.Repo, err = oci.ParseRepo(name)
	}
	if err == nil {
		u.event.Time = time.UnixMicro(at).UTC()
		err = json.Unmarshal([]byte(actor), &u.event.By)
	}
	return u, err
}

// tellManifest records e of manifest id, and of each tag that points to it: as a
// deletion of each, or as a push.
func (t *tx) tellManifest(ctx context.Context, e event.Event, id int64) error {
	tags, err := t.tagsOf(ctx, id)
	if err != nil {
		return err
	}
	if e.Action != event.Push {
		return t.recordRemoval(ctx, e, tags)
	}
	e.Kind = event.Manifest
	if len(tags) == 0 {
		return t.record(ctx, e)
	}
	for _, e.Tag = range tags {
		if err := t.record(ctx, e); err != nil {
			return err
		}
	}
	return nil
}
