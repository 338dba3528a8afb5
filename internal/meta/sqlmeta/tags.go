package sqlmeta

import (
	"context"

	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
)

// This file holds all statements that write to the table of tags: whatever makes,
// moves or removes a tag goes through one of its functions, which note it in the
// history and leave immutable tags alone.

// A tagChange is in which repository, why and by whom tags are changed.
type tagChange struct {
	repo  int64
	in    oci.Repo // its name
	cause meta.TagCause
	by    event.Actor
	at    int64 // when it happened, in wall-clock microseconds; 0: now

	// found collects the moves of immutable tags by registry:2, which can only be
	// found, and not refused.
	found *[]meta.TagMove
}

// immutable reports whether a tag can neither be moved nor removed.
func (t *tx) immutable(repo oci.Repo, tag oci.Tag) bool {
	return t.isImmutable != nil && t.isImmutable(repo, tag)
}

// allow refuses what changes an immutable tag.
func (t *tx) allow(c tagChange, tag oci.Tag, from, to oci.Digest) error {
	if !t.immutable(c.in, tag) {
		return nil
	}
	if c.cause != meta.ByRegistry2 {
		return &meta.ImmutableTagError{Repo: c.in, Tag: tag}
	}
	if c.found != nil {
		*c.found = append(*c.found, meta.TagMove{Repo: c.in, Tag: tag, From: from, To: to, Cause: c.cause})
	}
	return nil
}

// pointTag points a tag to manifest to, which has that number, and returns what
// it pointed to before. What changes nothing is not noted.
func (t *tx) pointTag(ctx context.Context, c tagChange, tag oci.Tag, to oci.Digest, manifest int64) (oci.Digest, error) {
	from, err := t.tag(ctx, c.repo, tag)
	if err != nil && !isNotFound(err) {
		return from, err
	}
	return from, t.moveTag(ctx, c, tag, from, to, manifest)
}

const (
	sqlNewTag  = `INSERT INTO tags (repo_id, name, digest, manifest_id, moved_us, moved_by) VALUES ($1, $2, $3, $4, $5, $6)`
	sqlMoveTag = sqlNewTag + ` ON CONFLICT (repo_id, name) DO UPDATE SET digest = excluded.digest, manifest_id = excluded.manifest_id,
		moved_us = excluded.moved_us, moved_by = excluded.moved_by`
)

// moveTag points a tag to manifest to, which has that number, from what it points
// to, which is zero if there is no such tag.
func (t *tx) moveTag(ctx context.Context, c tagChange, tag oci.Tag, from, to oci.Digest, manifest int64) error {
	if from == to {
		return nil
	}
	if !from.IsZero() {
		if err := t.allow(c, tag, from, to); err != nil {
			return err
		}
	}
	at := c.at
	if at == 0 {
		at = t.wall()
	}
	text := sqlMoveTag
	if from.IsZero() { // if there is one all the same, this fails
		text = sqlNewTag
	}
	_, err := t.exec(ctx, text, c.repo, tag.String(), to.String(), manifest, at, c.by.Name)
	if err == nil {
		err = t.noteTag(ctx, c, tag, from, to)
	}
	return err
}

// tag returns what a tag points to, else meta.ErrNotFound.
func (t *tx) tag(ctx context.Context, repo int64, tag oci.Tag) (oci.Digest, error) {
	var digest string
	err := t.get(ctx, `SELECT digest FROM tags WHERE repo_id = $1 AND name = $2`+t.s.dialect.share, args{repo, tag.String()}, &digest)
	if err != nil {
		return oci.Digest{}, err
	}
	return oci.ParseDigest(digest)
}

// removeTag removes a tag, else meta.ErrNotFound, and returns what it pointed to.
func (t *tx) removeTag(ctx context.Context, c tagChange, tag oci.Tag) (oci.Digest, error) {
	from, err := t.tag(ctx, c.repo, tag)
	if err == nil {
		err = t.allow(c, tag, from, oci.Digest{})
	}
	if err == nil {
		_, err = t.exec(ctx, `DELETE FROM tags WHERE repo_id = $1 AND name = $2`, c.repo, tag.String())
	}
	if err != nil {
		return oci.Digest{}, err
	}
	return from, t.noteTag(ctx, c, tag, from, oci.Digest{})
}

// tagsOf returns the tags that point to a manifest, in byte order.
func (t *tx) tagsOf(ctx context.Context, manifest int64) ([]oci.Tag, error) {
	var all string
	err := t.get(ctx, `SELECT COALESCE(string_agg(name, ' '), '') FROM tags WHERE manifest_id = $1`, args{manifest}, &all)
	if err != nil {
		return nil, err
	}
	return split(all, oci.ParseTag)
}

// untag removes the tags that point to a manifest.
func (t *tx) untag(ctx context.Context, c tagChange, m doomed) error {
	if len(m.tags) == 0 {
		return nil
	}
	for _, tag := range m.tags {
		if err := t.allow(c, tag, m.digest, oci.Digest{}); err != nil {
			return err
		}
	}
	if _, err := t.exec(ctx, `DELETE FROM tags WHERE manifest_id = $1`, m.id); err != nil {
		return err
	}
	for _, tag := range m.tags {
		if err := t.noteTag(ctx, c, tag, m.digest, oci.Digest{}); err != nil {
			return err
		}
	}
	return nil
}

// unhide removes at most limit tags of a repository that is in the trash, those
// of one manifest or all if that is 0, and returns them. That is no move.
func (t *tx) unhide(ctx context.Context, hidden, manifest int64, limit int) ([]oci.Tag, error) {
	text, a := `DELETE FROM tags WHERE manifest_id = $1 AND repo_id = $2 RETURNING name`, args{manifest, hidden}
	if manifest == 0 {
		text, a = `DELETE FROM tags WHERE (repo_id, name) IN (SELECT repo_id, name FROM tags WHERE repo_id = $1 LIMIT $2) RETURNING name`, args{hidden, limit}
	}
	var tags []oci.Tag
	err := t.each(ctx, text, a, func(scan func(...any) error) error {
		var name string
		if err := scan(&name); err != nil {
			return err
		}
		tag, err := oci.ParseTag(name)
		tags = append(tags, tag)
		return err
	})
	return tags, err
}

// noteTag writes into the transaction that a tag points to another digest than
// before, for the history and for registry:2's tree.
func (t *tx) noteTag(ctx context.Context, c tagChange, tag oci.Tag, from, to oci.Digest) error {
	if err := t.unwritten(ctx, c.repo, meta.LinkName{Kind: meta.TagLink, Name: tag.String()}); err != nil {
		return err
	}
	return t.noteMove(ctx, c, tag.String(), digestText(from), digestText(to))
}

// noteRepo writes into the transaction that something was done to a repository
// as a whole, with all its tags.
func (t *tx) noteRepo(ctx context.Context, c tagChange) error {
	return t.noteMove(ctx, c, "", "", "")
}

func (t *tx) noteMove(ctx context.Context, c tagChange, tag, from, to string) error {
	at := c.at
	if at == 0 {
		at = t.wall()
	}
	_, err := t.exec(ctx, `INSERT INTO tag_history (ticks, time_us, repo, tag, was, now, cause, by_name, by_via, by_addr)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
		t.ticks(), at, c.in.String(), tag, from, to, string(c.cause), c.by.Name, c.by.Via, c.by.Addr)
	return err
}

// keepsImmutable returns an *meta.ImmutableTagError if a repository has an
// immutable tag, so that it cannot be deleted.
func (t *tx) keepsImmutable(ctx context.Context, repo int64, name oci.Repo) error {
	if t.isImmutable == nil {
		return nil
	}
	return t.each(ctx, `SELECT name FROM tags WHERE repo_id = $1`, args{repo}, func(scan func(...any) error) error {
		var text string
		if err := scan(&text); err != nil {
			return err
		}
		tag, err := oci.ParseTag(text)
		if err == nil && t.immutable(name, tag) {
			err = &meta.ImmutableTagError{Repo: name, Tag: tag}
		}
		return err
	})
}
