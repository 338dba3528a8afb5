package sqlmeta

import (
	"context"
	"fmt"
	"slices"

	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
)

// comeBack makes the hidden repository the one that it goes to, which has nothing
// and takes its place in the trash until that is taken apart.
func (r *restoring) comeBack(ctx context.Context) error {
	t, back := r.t, r.entry.hidden
	if err := t.inherit(ctx, r.to, back); err != nil {
		return err
	}
	if r.done.Repo != r.entry.Repo {
		if err := r.leaveTombstones(ctx); err != nil {
			return err
		}
	}
	_, err := t.exec(ctx, `INSERT INTO losses (repo_id, digest, lost) SELECT CAST($2 AS BIGINT), digest, lost FROM losses WHERE repo_id = $1
		ON CONFLICT (repo_id, digest) DO NOTHING`, r.to, back)
	if err == nil {
		_, err = t.exec(ctx, `DELETE FROM losses WHERE repo_id = $1`, r.to)
	}
	if err != nil {
		return err
	}
	if err := r.swap(ctx); err != nil {
		return err
	}
	// What nothing of it needs was no candidate while registry:2's bytes were held.
	_, err = t.exec(ctx, `UPDATE repo_blobs SET candidate = 1, touched = $2 WHERE repo_id = $1 AND candidate = 0
		AND NOT EXISTS (SELECT 1 FROM manifest_refs f WHERE f.repo_id = repo_blobs.repo_id AND f.digest = repo_blobs.digest)`, back, t.ticks())
	if err != nil {
		return err
	}
	if err := t.unwrittenRepo(ctx, back); err != nil {
		return err
	}
	err = t.get(ctx, `SELECT (SELECT count(*) FROM manifests WHERE repo_id = $1), (SELECT count(*) FROM tags WHERE repo_id = $1)`,
		args{back}, &r.done.Manifests, &r.done.TagCount)
	if err != nil {
		return err
	}
	if err := t.noteRepo(ctx, r.change()); err != nil {
		return err
	}
	if err := t.tellLater(ctx, back, r.done.Repo, event.Push, r.p.By); err != nil {
		return err
	}
	return r.end(ctx)
}

// swap gives the hidden repository the name of the one that it goes to, and the
// other way round.
func (r *restoring) swap(ctx context.Context) error {
	t := r.t
	if _, err := t.exec(ctx, `UPDATE repos SET name = $2 WHERE id = $1`, r.to, fmt.Sprintf("~%d-", r.entry.ID)); err != nil {
		return err
	}
	_, err := t.exec(ctx, `UPDATE repos SET name = $2, trash = 0, removed = 0,
		listed = CASE WHEN EXISTS (SELECT 1 FROM manifests WHERE repo_id = $1) THEN 1 ELSE 0 END WHERE id = $1`, r.entry.hidden, r.done.Repo.String())
	if err == nil {
		_, err = t.exec(ctx, `UPDATE repos SET name = $2, trash = $3, listed = 0 WHERE id = $1`, r.to, hiddenName(r.entry.ID), r.entry.ID)
	}
	return err
}

// leaveTombstones leaves some of all that the entry has or had lost, where it is
// not coming back to.
func (r *restoring) leaveTombstones(ctx context.Context) error {
	from, err := r.t.ensureRepo(ctx, r.entry.Repo)
	for _, text := range []string{
		`SELECT CAST($2 AS BIGINT), digest, CAST($3 AS BIGINT) FROM repo_blobs WHERE repo_id = $1`,
		`SELECT CAST($2 AS BIGINT), digest, CAST($3 AS BIGINT) FROM manifests WHERE repo_id = $1`,
		`SELECT CAST($2 AS BIGINT), digest, CAST($3 AS BIGINT) FROM losses WHERE repo_id = $1`,
	} {
		if err != nil {
			return err
		}
		_, err = r.t.exec(ctx, `INSERT INTO losses (repo_id, digest, lost) `+text+` ON CONFLICT (repo_id, digest) DO NOTHING`,
			r.entry.hidden, from, r.entry.ticks)
	}
	return err
}

// only brings back one manifest of a repository, with what refers to it.
func (r *restoring) only(ctx context.Context) error {
	ref := r.p.Only
	text := `SELECT m.id, m.repo_id, m.digest FROM manifests m WHERE m.repo_id = $1 AND m.digest = $2`
	if !ref.Tag.IsZero() {
		text = `SELECT m.id, m.repo_id, m.digest FROM tags g JOIN manifests m ON m.id = g.manifest_id WHERE g.repo_id = $1 AND g.name = $2`
	}
	open, err := r.t.manifestsOf(ctx, text, r.entry.hidden, ref.String())
	if err == nil && len(open) == 0 {
		err = fmt.Errorf("%s of entry %d: %w", ref, r.entry.ID, meta.ErrNotFound)
	}
	for len(open) > 0 && err == nil {
		m := open[0]
		open = open[1:]
		var referrers []hiddenManifest
		referrers, err = r.t.manifestsOf(ctx, `SELECT id, repo_id, digest FROM manifests WHERE repo_id = $1 AND subject = $2 AND subject <> '' ORDER BY digest`,
			r.entry.hidden, m.digest.String())
		if err != nil {
			return err
		}
		open = append(open, referrers...)
		var there bool
		err = r.t.get(ctx, `SELECT EXISTS (SELECT 1 FROM manifests WHERE id = $1 AND repo_id = $2)`, args{m.id, m.repo}, &there)
		if err == nil && there { // it may have come as a part of another
			_, err = r.bring(ctx, m)
		}
	}
	return err
}

// fetch brings back manifest p.Only of an entry of any kind, with what refers to
// it, and returns its number. more says that events have to be recorded first, and
// that it is to be called again.
func (t *tx) fetch(ctx context.Context, p meta.Restore) (manifest int64, more bool, err error) {
	r, err := t.restoring(ctx, p)
	if err != nil {
		return 0, false, err
	}
	if n, err := t.tell(ctx, r.entry.hidden, restoreStep); n > 0 || err != nil {
		return 0, true, err
	}
	if err := r.only(ctx); err != nil {
		return 0, false, err
	}
	if err := r.pointBorrowed(ctx); err != nil {
		return 0, false, err
	}
	if len(r.missing) > 0 {
		return 0, false, &meta.MissingError{Digests: r.missing}
	}
	r.others = append(r.others, p.ID)
	if err := r.dropEmpty(ctx); err != nil {
		return 0, false, err
	}
	err = t.get(ctx, `SELECT id FROM manifests WHERE repo_id = $1 AND digest = $2`, args{r.to, p.Only.Digest.String()}, &manifest)
	return manifest, false, err
}

// merge moves some of what the hidden repository has to one that has something.
// Each manifest comes with its parts and its tags, so that all that is there is
// whole, whenever this ends.
func (r *restoring) merge(ctx context.Context) error {
	t := r.t
	r.done.More = true
	list, err := t.manifestsOf(ctx, `SELECT id, repo_id, digest FROM manifests WHERE repo_id = $1 ORDER BY digest LIMIT $2`, r.entry.hidden, restoreStep)
	if err != nil {
		return err
	}
	for _, m := range list {
		var there bool
		err := t.get(ctx, `SELECT EXISTS (SELECT 1 FROM manifests WHERE id = $1 AND repo_id = $2)`, args{m.id, m.repo}, &there)
		if err == nil && there {
			_, err = r.bring(ctx, m)
		}
		if err != nil {
			return err
		}
	}
	if len(list) > 0 {
		return nil
	}
	return r.mergeBlobs(ctx)
}

// mergeBlobs moves some of the blobs that no manifest needs.
func (r *restoring) mergeBlobs(ctx context.Context) error {
	t := r.t
	var blobs []oci.Digest
	err := t.each(ctx, `SELECT digest FROM repo_blobs WHERE repo_id = $1 LIMIT $2`, args{r.entry.hidden, restoreStep}, func(scan func(...any) error) error {
		var digest string
		err := scan(&digest)
		if err != nil {
			return err
		}
		d, err := oci.ParseDigest(digest)
		blobs = append(blobs, d)
		return err
	})
	for i := 0; err == nil && i < len(blobs); i++ {
		if err = t.join(ctx, r.to, blobs[i]); err == nil {
			err = t.leave(ctx, r.entry.hidden, blobs[i].String())
		}
		if err == nil {
			err = r.rememberOne(ctx, blobs[i])
		}
	}
	if err != nil || len(blobs) == restoreStep {
		return err
	}
	r.done.More = false
	return r.end(ctx)
}

// moveOrCopy gives manifest m to the repository and returns its number there. In
// the trash it stays as well if another one needs it there, which must not be
// without it when it comes back.
func (r *restoring) moveOrCopy(ctx context.Context, m hiddenManifest) (int64, error) {
	t, needed := r.t, false
	err := t.each(ctx, `SELECT manifest_id FROM manifest_refs WHERE repo_id = $1 AND digest = $2`, args{m.repo, m.digest.String()}, func(scan func(...any) error) error {
		var by int64
		err := scan(&by)
		needed = needed || !slices.Contains(r.open, by)
		return err
	})
	if err != nil {
		return 0, err
	}
	if !needed {
		return m.id, t.moveManifest(ctx, m.id, r.to)
	}
	var id int64
	err = t.get(ctx, `INSERT INTO manifests (repo_id, digest, media_type, size, subject, artifact_type, pushed_us, pushed_by, annotations, body)
		SELECT CAST($2 AS BIGINT), digest, media_type, size, subject, artifact_type, pushed_us, pushed_by, annotations, body FROM manifests WHERE id = $1
		RETURNING id`, args{m.id, r.to}, &id)
	if err == nil {
		_, err = t.exec(ctx, `INSERT INTO manifest_refs (repo_id, digest, manifest_id, dangling)
			SELECT CAST($2 AS BIGINT), digest, CAST($3 AS BIGINT), dangling FROM manifest_refs WHERE manifest_id = $1`, m.id, r.to, id)
	}
	if err == nil {
		_, err = t.exec(ctx, `INSERT INTO pulls (manifest_id, pulled_us, pushed_us, seen_us)
			SELECT CAST($2 AS BIGINT), pulled_us, pushed_us, seen_us FROM pulls WHERE manifest_id = $1`, m.id, id)
	}
	return id, err
}

// A borrowed tag came with a part that another entry of the trash had.
type borrowed struct {
	tag meta.Tag
	id  int64 // of the manifest
}

// pointFrom is point for a tag that came with a manifest out of a hidden
// repository. That of another entry has to wait: nobody asked for it, so that it
// may neither take the place of one of the entry's nor move one by force.
func (r *restoring) pointFrom(ctx context.Context, hidden int64, tag meta.Tag, id int64) error {
	if hidden == r.entry.hidden {
		return r.point(ctx, tag, id)
	}
	r.later = append(r.later, borrowed{tag, id})
	return nil
}

// pointBorrowed lets the tags of other entries point again where nothing has their
// names.
func (r *restoring) pointBorrowed(ctx context.Context) error {
	r.p.Force = false
	for _, b := range r.later {
		if err := r.point(ctx, b.tag, b.id); err != nil {
			return err
		}
	}
	return nil
}

// asItWas reports whether a whole repository comes back: then it may lack what it
// lacked.
func (r *restoring) asItWas() bool { return r.entry.Kind == meta.TrashRepo && r.p.Only == (oci.Ref{}) }
