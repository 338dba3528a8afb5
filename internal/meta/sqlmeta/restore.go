package sqlmeta

import (
	"context"
	"fmt"

	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
)

// restoreStep is how many manifests, or blobs without one, a step of a Restore
// into a repository that has something moves.
const restoreStep = 100

// Restore implements meta.Trash.
func (db *DB) Restore(ctx context.Context, p meta.Restore) (meta.Restored, error) {
	var done meta.Restored
	err := db.write(ctx, durable, func(ctx context.Context, t *tx) error {
		r, err := t.restoring(ctx, p)
		if err != nil {
			return err
		}
		if err := r.restore(ctx); err != nil {
			return err
		}
		if err := r.pointBorrowed(ctx); err != nil {
			return err
		}
		if len(r.missing) > 0 {
			return &meta.MissingError{Digests: r.missing}
		}
		done = r.done
		return nil
	})
	if err != nil {
		return meta.Restored{}, err
	}
	return done, nil
}

// A restoring is a Restore within its transaction.
type restoring struct {
	t       *tx
	p       meta.Restore
	entry   entry
	to      int64 // the repository that it goes to
	empty   bool  // which has nothing
	done    meta.Restored
	missing []oci.Digest
	others  []int64 // entries from which something was taken
	open    []int64 // the manifests whose parts are being brought back
	later   []borrowed
}

func (t *tx) restoring(ctx context.Context, p meta.Restore) (*restoring, error) {
	found, err := entries(ctx, t, sqlEntry+`AND e.id = $2`, args{t.ticks() - int64(t.keep), p.ID})
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("entry %d of the trash: %w", p.ID, meta.ErrNotFound)
	}
	r := &restoring{t: t, p: p, entry: found[0]}
	r.done.Repo = r.entry.Repo
	if !p.As.IsZero() {
		r.done.Repo = p.As
	}
	if r.to, err = t.ensureRepo(ctx, r.done.Repo); err != nil {
		return nil, err
	}
	var has bool
	err = t.get(ctx, `SELECT EXISTS (SELECT 1 FROM manifests WHERE repo_id = $1) OR EXISTS (SELECT 1 FROM repo_blobs WHERE repo_id = $1)`, args{r.to}, &has)
	r.empty = !has
	return r, err
}

func (r *restoring) restore(ctx context.Context) error {
	if r.entry.hidden != 0 {
		// Nobody is told that something came back before that it went.
		if n, err := r.t.tell(ctx, r.entry.hidden, restoreStep); n > 0 || err != nil {
			r.done.More = true
			return err
		}
	}
	if r.entry.Kind != meta.TrashRepo {
		return r.whole(ctx)
	}
	switch {
	case r.p.Only != (oci.Ref{}):
		return r.only(ctx)
	case r.empty:
		return r.comeBack(ctx)
	}
	return r.merge(ctx)
}

// whole brings back an entry that is no repository.
func (r *restoring) whole(ctx context.Context) error {
	if r.entry.Kind == meta.TrashBlob {
		if err := r.t.join(ctx, r.to, r.entry.Digest); err != nil {
			return err
		}
		if err := r.t.leave(ctx, r.entry.hidden, r.entry.Digest.String()); err != nil {
			return err
		}
		return r.end(ctx)
	}
	list, err := r.t.manifestsOf(ctx, `SELECT id, repo_id, digest FROM manifests WHERE repo_id = $1 ORDER BY digest`, r.entry.hidden)
	for i := 0; err == nil && i < len(list); i++ {
		_, err = r.bring(ctx, list[i])
	}
	if err != nil {
		return err
	}
	tags, err := trashTags(ctx, r.t, r.entry)
	for i := 0; err == nil && i < len(tags); i++ {
		err = r.bringTag(ctx, tags[i])
	}
	if err != nil {
		return err
	}
	return r.end(ctx)
}

// end drops the entry, and others that have nothing any more.
func (r *restoring) end(ctx context.Context) error {
	if _, err := r.t.exec(ctx, `UPDATE trash SET dropped = 1 WHERE id = $1`, r.entry.ID); err != nil {
		return err
	}
	return r.dropEmpty(ctx)
}

// dropEmpty drops the other entries that have nothing any more.
func (r *restoring) dropEmpty(ctx context.Context) error {
	for _, id := range r.others {
		_, err := r.t.exec(ctx, `UPDATE trash SET dropped = 1 WHERE id = $1 AND tags = '' AND NOT EXISTS (SELECT 1 FROM trash_tags WHERE entry = $1)
			AND NOT EXISTS (SELECT 1 FROM repos h CROSS JOIN repo_blobs m ON m.repo_id = h.id WHERE h.trash = $1 AND h.trash <> 0)
			AND NOT EXISTS (SELECT 1 FROM repos h CROSS JOIN manifests m ON m.repo_id = h.id WHERE h.trash = $1 AND h.trash <> 0)`, id)
		if err != nil {
			return err
		}
	}
	return nil
}

// A hiddenManifest is one in the trash.
type hiddenManifest struct {
	id, repo int64
	digest   oci.Digest
}

func (t *tx) manifestsOf(ctx context.Context, text string, a ...any) ([]hiddenManifest, error) {
	var list []hiddenManifest
	err := t.each(ctx, text, a, func(scan func(...any) error) error {
		var m hiddenManifest
		var digest string
		err := scan(&m.id, &m.repo, &digest)
		if err == nil {
			m.digest, err = oci.ParseDigest(digest)
		}
		list = append(list, m)
		return err
	})
	return list, err
}

// A need is a part of a manifest.
type need struct {
	digest   oci.Digest
	dangling bool // the repository did not have it when the manifest came
}

// bring moves a manifest out of the trash, after its parts, and returns its
// number, which is another one if it has been pushed again meanwhile.
func (r *restoring) bring(ctx context.Context, m hiddenManifest) (int64, error) {
	var at int64
	err := r.t.get(ctx, `SELECT repo_id FROM manifests WHERE id = $1`, args{m.id}, &at)
	if isNotFound(err) || err == nil && at != m.repo { // it came already, as a part of another
		return m.id, nil
	}
	if err != nil {
		return 0, err
	}
	var parts []need
	// One that was taken there without its parts need not have them now.
	err = r.t.each(ctx, `SELECT digest, dangling OR EXISTS (SELECT 1 FROM manifests WHERE repo_id = $2 AND digest = $3)
		FROM manifest_refs WHERE manifest_id = $1`, args{m.id, r.to, m.digest.String()}, func(scan func(...any) error) error {
		var n need
		var digest string
		err := scan(&digest, &n.dangling)
		if err != nil {
			return err
		}
		n.digest, err = oci.ParseDigest(digest)
		parts = append(parts, n)
		return err
	})
	r.open = append(r.open, m.id)
	for i := 0; err == nil && i < len(parts); i++ {
		err = r.bringPart(ctx, m.repo, parts[i])
	}
	if err != nil {
		return 0, err
	}
	r.open = r.open[:len(r.open)-1]
	tags, err := r.t.unhide(ctx, m.repo, m.id, 0) // only those of a repository have any
	if err != nil {
		return 0, err
	}
	id, err := r.move(ctx, m, parts)
	for i := 0; err == nil && i < len(tags); i++ {
		err = r.pointFrom(ctx, m.repo, meta.Tag{Name: tags[i], Digest: m.digest}, id)
	}
	return id, err
}

// move gives a manifest, whose parts are there, to the repository.
func (r *restoring) move(ctx context.Context, m hiddenManifest, parts []need) (int64, error) {
	t := r.t
	if err := r.remember(ctx, m); err != nil {
		return 0, err
	}
	var id int64
	err := t.get(ctx, `SELECT id FROM manifests WHERE repo_id = $1 AND digest = $2`, args{r.to, m.digest.String()}, &id)
	switch {
	case err == nil:
		if _, err = t.exec(ctx, `DELETE FROM manifest_refs WHERE manifest_id = $1`, m.id); err == nil {
			_, err = t.exec(ctx, `DELETE FROM manifests WHERE id = $1`, m.id)
		}
	case isNotFound(err):
		r.done.Manifests++
		if id, err = r.moveOrCopy(ctx, m); err == nil {
			err = t.list(ctx, place{repo: r.to, lost: true}, m.digest)
		}
		if err == nil {
			err = r.record(ctx, id, oci.Tag{})
		}
	}
	for i := 0; err == nil && i < len(parts); i++ {
		var needed bool
		err = t.get(ctx, `SELECT EXISTS (SELECT 1 FROM manifest_refs WHERE repo_id = $1 AND digest = $2)`, args{m.repo, parts[i].digest.String()}, &needed)
		if err == nil && !needed {
			err = t.leave(ctx, m.repo, parts[i].digest.String())
		}
	}
	return id, err
}

// remember leaves tombstones where something was deleted that comes back elsewhere:
// a push there that saw it must still find that it is gone. They are of manifest
// m, and of the blobs that it needs and the hidden repository has.
func (r *restoring) remember(ctx context.Context, m hiddenManifest) error {
	if r.done.Repo == r.entry.Repo {
		return nil
	}
	if err := r.rememberOne(ctx, m.digest); err != nil {
		return err
	}
	_, err := r.t.exec(ctx, `INSERT INTO losses (repo_id, digest, lost) SELECT r.id, b.digest, CAST($4 AS BIGINT)
		FROM manifest_refs f CROSS JOIN repo_blobs b ON b.repo_id = $3 AND b.digest = f.digest CROSS JOIN repos r ON r.name = $2
		WHERE f.manifest_id = $1 ON CONFLICT (repo_id, digest) DO NOTHING`, m.id, r.entry.Repo.String(), m.repo, r.t.ticks())
	return err
}

// rememberOne is remember for one blob or manifest.
func (r *restoring) rememberOne(ctx context.Context, d oci.Digest) error {
	if r.done.Repo == r.entry.Repo {
		return nil
	}
	from, err := r.t.ensureRepo(ctx, r.entry.Repo)
	if err != nil {
		return err
	}
	_, err = r.t.exec(ctx, `INSERT INTO losses (repo_id, digest, lost) VALUES ($1, $2, $3) ON CONFLICT (repo_id, digest) DO NOTHING`, from, d.String(), r.t.ticks())
	return err
}

// What the entries of a repository, named $1, have: a JOIN stands in between.
const (
	sqlInTrash = ` FROM trash e CROSS JOIN repos h ON h.trash = e.id AND h.trash <> 0 CROSS `
	sqlNewest  = ` WHERE e.repo = $1 AND e.dropped = 0 ORDER BY e.id DESC LIMIT 1`
)

// bringPart sees to it that the repository has a part: from the hidden repository
// that had the manifest, or from another one of its name.
func (r *restoring) bringPart(ctx context.Context, hidden int64, n need) error {
	d := n.digest
	has, err := r.t.presence(ctx, r.to, d)
	if err != nil || has.state == present {
		return err
	}
	list, err := r.t.manifestsOf(ctx, `SELECT id, repo_id, digest FROM manifests WHERE repo_id = $1 AND digest = $2`, hidden, d.String())
	if err == nil && len(list) == 0 {
		list, err = r.t.manifestsOf(ctx, `SELECT m.id, m.repo_id, m.digest`+sqlInTrash+`JOIN manifests m ON m.repo_id = h.id AND m.digest = $2`+sqlNewest,
			r.entry.Repo.String(), d.String())
	}
	if err != nil {
		return err
	}
	if len(list) == 1 {
		if _, err := r.bring(ctx, list[0]); err != nil {
			return err
		}
		return r.tookFrom(ctx, list[0].repo)
	}
	var kept bool
	err = r.t.get(ctx, `SELECT EXISTS (`+sqlMember+`) OR EXISTS (SELECT 1`+sqlInTrash+`JOIN repo_blobs m ON m.repo_id = h.id AND m.digest = $2
		WHERE e.repo = $3 AND e.dropped = 0)`, args{hidden, d.String(), r.entry.Repo.String()}, &kept)
	if err == nil && kept {
		err = r.t.join(ctx, r.to, d)
	}
	if err != nil {
		return err
	}
	if has, err = r.t.presence(ctx, r.to, d); err == nil && has.state != present && !n.dangling && !r.asItWas() {
		r.missing = append(r.missing, d)
	}
	return err
}

// tookFrom notes that something was taken from the entry of a hidden repository.
func (r *restoring) tookFrom(ctx context.Context, hidden int64) error {
	if hidden == r.entry.hidden {
		return nil
	}
	var id int64
	err := r.t.get(ctx, `SELECT trash FROM repos WHERE id = $1`, args{hidden}, &id)
	r.others = append(r.others, id)
	return err
}

// bringTag brings back a tag, with its manifest if need be.
func (r *restoring) bringTag(ctx context.Context, tag meta.Tag) error {
	if err := r.bringPart(ctx, r.entry.hidden, need{digest: tag.Digest, dangling: true}); err != nil {
		return err
	}
	var id int64
	err := r.t.get(ctx, `SELECT id FROM manifests WHERE repo_id = $1 AND digest = $2`, args{r.to, tag.Digest.String()}, &id)
	if isNotFound(err) {
		r.missing = append(r.missing, tag.Digest)
		return nil
	}
	if err != nil {
		return err
	}
	return r.point(ctx, tag, id)
}

// point lets a tag point to manifest id again, unless it points elsewhere by now
// and is to stay there.
func (r *restoring) point(ctx context.Context, tag meta.Tag, id int64) error {
	now, err := r.t.tag(ctx, r.to, tag.Name)
	switch {
	case err == nil && now == tag.Digest:
		r.back(tag)
		return nil
	case err == nil && !r.p.Force:
		r.done.Kept = append(r.done.Kept, meta.Tag{Name: tag.Name, Digest: now})
		return nil
	case err != nil && !isNotFound(err):
		return err
	}
	if _, err := r.t.pointTag(ctx, r.change(), tag.Name, tag.Digest, id); err != nil {
		return err
	}
	r.back(tag)
	return r.record(ctx, id, tag.Name)
}

// change says for the history of tags what is going on.
func (r *restoring) change() tagChange {
	return tagChange{repo: r.to, in: r.done.Repo, cause: meta.ByRestore, by: r.p.By}
}

// back notes that a tag is there again.
func (r *restoring) back(tag meta.Tag) {
	r.done.Tags = append(r.done.Tags, tag)
	r.done.TagCount++
}

// record records that a manifest came back, or a tag that points to it.
func (r *restoring) record(ctx context.Context, id int64, tag oci.Tag) error {
	if !r.t.outbox.wants(event.Push) {
		return nil
	}
	e := event.Event{Action: event.Push, Kind: event.Manifest, Repo: r.done.Repo, Tag: tag, By: r.p.By}
	var digest string
	err := r.t.get(ctx, `SELECT digest, media_type, size FROM manifests WHERE id = $1`, args{id}, &digest, &e.MediaType, &e.Size)
	if err == nil {
		e.Digest, err = oci.ParseDigest(digest)
	}
	if err != nil {
		return err
	}
	return r.t.record(ctx, e)
}
