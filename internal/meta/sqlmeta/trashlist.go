package sqlmeta

import (
	"context"
	"slices"
	"strings"
	"time"

	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
)

// sqlEntry lists entries that can be had back, by $1, the tick until which they
// have gone. More conditions and the order follow.
const sqlEntry = `SELECT e.id, e.kind, e.reason, e.repo, e.digest, e.deleted, e.deleted_us, e.by_name, e.by_addr, e.by_via, e.tags, coalesce(h.id, 0)
	FROM trash e LEFT JOIN repos h ON h.trash = e.id AND h.trash <> 0 WHERE e.dropped = 0 AND e.deleted > $1 `

// An entry is a meta.TrashEntry without what takes long to find out.
type entry struct {
	meta.TrashEntry
	hidden int64  // the repository that has what it holds; 0 if there is none
	ticks  int64  // when it was deleted
	tags   string // those that its row has, with spaces between them
}

// entries returns the entries that a query beginning with sqlEntry finds.
func entries(ctx context.Context, q querier, text string, a args) ([]entry, error) {
	var list []entry
	err := q.each(ctx, text, a, func(scan func(...any) error) error {
		var e entry
		var repo, digest string
		var at int64
		err := scan(&e.ID, &e.Kind, &e.Reason, &repo, &digest, &e.ticks, &at, &e.By.Name, &e.By.Addr, &e.By.Via, &e.tags, &e.hidden)
		if err != nil {
			return err
		}
		e.Deleted = time.UnixMicro(at).UTC()
		if digest != "" {
			e.Digest, err = oci.ParseDigest(digest)
		}
		if err == nil {
			e.Repo, err = oci.ParseRepo(repo)
		}
		list = append(list, e)
		return err
	})
	return list, err
}

// TrashEntries implements meta.Trash.
func (db *DB) TrashEntries(ctx context.Context, repo oci.Repo, before int64, limit int) ([]meta.TrashEntry, error) {
	if before == 0 {
		before = 1<<63 - 1
	}
	text, a := sqlEntry+`AND e.id < $2 ORDER BY e.id DESC LIMIT $3`, args{db.ago(db.opts.Trash), before, limit}
	if !repo.IsZero() {
		text, a = sqlEntry+`AND e.id < $2 AND e.repo = $4 ORDER BY e.id DESC LIMIT $3`, append(a, repo.String())
	}
	found, err := entries(ctx, db.reader, text, a)
	if err != nil {
		return nil, err
	}
	list := make([]meta.TrashEntry, len(found))
	for i, e := range found {
		if list[i], err = db.fillEntry(ctx, e); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// FindTrash implements meta.Trash.
func (db *DB) FindTrash(ctx context.Context, w meta.TrashWhat) (meta.TrashEntry, error) {
	text, a := sqlEntry, args{db.ago(db.opts.Trash)}
	switch {
	case w.ID != 0:
		text, a = text+`AND e.id = $2`, append(a, w.ID)
	case !w.Ref.Tag.IsZero():
		text, a = text+`AND e.repo = $2 AND (replace(' ' || e.tags || ' ', ' ' || $3 || ' ', '') <> ' ' || e.tags || ' '
			OR EXISTS (SELECT 1 FROM trash_tags g WHERE g.entry = e.id AND g.name = $3)
			OR EXISTS (SELECT 1 FROM tags g WHERE g.repo_id = h.id AND g.name = $3)) ORDER BY e.id DESC LIMIT 1`,
			append(a, w.Repo.String(), w.Ref.Tag.String())
	case !w.Ref.Digest.IsZero():
		text, a = text+`AND e.repo = $2 AND (EXISTS (SELECT 1 FROM manifests m WHERE m.repo_id = h.id AND m.digest = $3)
			OR e.kind = 'blob' AND e.digest = $3) ORDER BY e.id DESC LIMIT 1`,
			append(a, w.Repo.String(), w.Ref.Digest.String())
	default:
		text, a = text+`AND e.repo = $2 AND e.kind = 'repository' ORDER BY e.id DESC LIMIT 1`, append(a, w.Repo.String())
	}
	found, err := entries(ctx, db.reader, text, a)
	if err != nil {
		return meta.TrashEntry{}, err
	}
	if len(found) == 0 {
		return meta.TrashEntry{}, notFound(meta.ErrNotFound, "entry", w)
	}
	return db.fillEntry(ctx, found[0])
}

// fillEntry adds what e holds.
func (db *DB) fillEntry(ctx context.Context, e entry) (meta.TrashEntry, error) {
	e.Left = max(0, db.opts.Trash-time.Duration(db.clock.ticks()-e.ticks))
	var err error
	if e.Kind == meta.TrashRepo {
		err = db.reader.get(ctx, `SELECT count(*) FROM tags WHERE repo_id = $1`, args{e.hidden}, &e.TagCount)
	} else {
		e.Tags, err = trashTags(ctx, db.reader, e)
		e.TagCount = len(e.Tags)
	}
	if err == nil {
		err = db.reader.get(ctx, `SELECT count(*), coalesce(sum(size), 0) FROM manifests WHERE repo_id = $1`, args{e.hidden}, &e.Manifests, &e.Alone)
	}
	var blobs, alone int64
	if err == nil {
		err = db.reader.get(ctx, `SELECT coalesce(sum(b.size), 0), coalesce(sum(CASE WHEN EXISTS
				(SELECT 1 FROM repo_blobs o WHERE o.digest = m.digest AND o.repo_id <> m.repo_id) THEN 0 ELSE b.size END), 0)
			FROM repo_blobs m CROSS JOIN blobs b ON b.digest = m.digest WHERE m.repo_id = $1`, args{e.hidden}, &blobs, &alone)
	}
	e.Bytes, e.Alone = e.Alone+blobs, e.Alone+alone
	return e.TrashEntry, err
}

// trashTags lists the tags that went with an entry which is no repository.
func trashTags(ctx context.Context, q querier, e entry) ([]meta.Tag, error) {
	tags, err := split(e.tags, oci.ParseTag)
	if err != nil {
		return nil, err
	}
	var list []meta.Tag
	for _, tag := range tags {
		list = append(list, meta.Tag{Name: tag, Digest: e.Digest})
	}
	err = q.each(ctx, `SELECT name, digest FROM trash_tags WHERE entry = $1`, args{e.ID}, func(scan func(...any) error) error {
		tag, err := scanTag(scan)
		list = append(list, tag)
		return err
	})
	slices.SortFunc(list, func(a, b meta.Tag) int { return strings.Compare(a.Name.String(), b.Name.String()) })
	return list, err
}

// scanTag reads the name of a tag and its digest.
func scanTag(scan func(...any) error) (meta.Tag, error) {
	var name, digest string
	if err := scan(&name, &digest); err != nil {
		return meta.Tag{}, err
	}
	tag, err := oci.ParseTag(name)
	if err != nil {
		return meta.Tag{}, err
	}
	d, err := oci.ParseDigest(digest)
	return meta.Tag{Name: tag, Digest: d}, err
}

// DropTrash implements meta.Trash.
func (db *DB) DropTrash(ctx context.Context, ids ...int64) error {
	return db.write(ctx, durable, func(ctx context.Context, t *tx) error {
		for _, id := range ids {
			if _, err := t.exec(ctx, `UPDATE trash SET dropped = 1 WHERE id = $1`, id); err != nil {
				return err
			}
		}
		return nil
	})
}

// ExpireTrash implements meta.Trash.
func (db *DB) ExpireTrash(ctx context.Context, limit int) (int, error) {
	if n, err := db.RecordRepo(ctx, limit); n > 0 || err != nil {
		return n, err
	}
	_, err := over(ctx, db.reader, db.ago(db.opts.Trash))
	if isNotFound(err) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	n := 0
	err = db.write(ctx, durable, func(ctx context.Context, t *tx) error {
		n = 0
		id, err := over(ctx, t, t.ticks()-int64(t.keep))
		if isNotFound(err) {
			return nil
		}
		if err == nil {
			n, err = t.takeApart(ctx, id, limit)
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// over returns an entry that can't be had back: it was dropped, or deleted no
// later than the tick until. Of the latter it is the first there is: where a kill
// has set the ticks back, one that is older by them waits for those before it.
func over(ctx context.Context, q querier, until int64) (id int64, err error) {
	err = q.get(ctx, `SELECT id FROM trash WHERE dropped = 1 AND id > 0 ORDER BY id LIMIT 1`, nil, &id)
	if isNotFound(err) {
		err = q.get(ctx, `SELECT id FROM trash WHERE id = (SELECT min(id) FROM trash) AND deleted <= $1`, args{until}, &id)
	}
	return id, err
}

// takeApart removes at most limit records of what an entry holds, and then the
// entry. Of a repository it leaves tombstones, as old as its deletion is.
func (t *tx) takeApart(ctx context.Context, id int64, limit int) (int, error) {
	// From here on it is not a whole any more, however long it is to be kept.
	var name string
	a := apart{t: t}
	err := t.get(ctx, `UPDATE trash SET dropped = 1 WHERE id = $1 RETURNING kind, repo, deleted`, args{id}, &a.kind, &name, &a.deleted)
	if err != nil {
		return 0, err
	}
	if a.repo, err = oci.ParseRepo(name); err != nil {
		return 0, err
	}
	err = t.get(ctx, `SELECT id FROM repos WHERE trash = $1 AND trash <> 0`, args{id}, &a.hidden)
	if err != nil && !isNotFound(err) {
		return 0, err
	}
	if a.hidden != 0 {
		n, err := a.all(ctx, limit)
		if err != nil || n >= limit {
			return n, err
		}
		if _, err := t.exec(ctx, `DELETE FROM repos WHERE id = $1`, a.hidden); err != nil {
			return 0, err
		}
	}
	if _, err := t.exec(ctx, `DELETE FROM trash_tags WHERE entry = $1`, id); err != nil {
		return 0, err
	}
	_, err = t.exec(ctx, `DELETE FROM trash WHERE id = $1`, id)
	return limit, err // there may be more entries
}

// apart is an entry that is being taken apart.
type apart struct {
	t       *tx
	kind    meta.TrashKind
	repo    oci.Repo
	deleted int64 // ticks
	hidden  int64
	heir    int64 // the repository that has its name now
}

// all removes at most limit records, and returns how many.
func (a *apart) all(ctx context.Context, limit int) (n int, err error) {
	if a.heir, err = a.t.ensureRepo(ctx, a.repo); err != nil {
		return 0, err
	}
	gone, err := a.t.unhide(ctx, a.hidden, 0, limit)
	if n += len(gone); err != nil || n >= limit {
		return n, err
	}
	for _, part := range []struct {
		text   string
		remove func(ctx context.Context, digest string) error
	}{
		{`SELECT digest FROM manifests WHERE repo_id = $1 LIMIT $2`, a.manifest},
		{`SELECT digest FROM repo_blobs WHERE repo_id = $1 LIMIT $2`, a.blob},
		{`SELECT digest FROM losses WHERE repo_id = $1 LIMIT $2`, a.loss},
	} {
		var list []string
		err := a.t.each(ctx, part.text, args{a.hidden, limit - n}, func(scan func(...any) error) error {
			var digest string
			err := scan(&digest)
			list = append(list, digest)
			return err
		})
		for i := 0; err == nil && i < len(list); i++ {
			err = part.remove(ctx, list[i])
		}
		if n += len(list); err != nil || n >= limit {
			return n, err
		}
	}
	return n, nil
}

// bury leaves a tombstone of what a repository had, where its name is now.
func (a *apart) bury(ctx context.Context, digest string) error {
	if a.kind != meta.TrashRepo {
		return nil // it has one
	}
	_, err := a.t.exec(ctx, `INSERT INTO losses (repo_id, digest, lost) VALUES ($1, $2, $3) ON CONFLICT (repo_id, digest) DO NOTHING`, a.heir, digest, a.deleted)
	return err
}

func (a *apart) manifest(ctx context.Context, digest string) error {
	if err := a.bury(ctx, digest); err != nil {
		return err
	}
	_, err := a.t.exec(ctx, `DELETE FROM manifest_refs WHERE manifest_id = (SELECT id FROM manifests WHERE repo_id = $1 AND digest = $2)`, a.hidden, digest)
	if err == nil {
		_, err = a.t.exec(ctx, `DELETE FROM manifests WHERE repo_id = $1 AND digest = $2`, a.hidden, digest)
	}
	return err
}

func (a *apart) blob(ctx context.Context, digest string) error {
	if err := a.bury(ctx, digest); err != nil {
		return err
	}
	if a.kind == meta.TrashRepo { // nobody has been told of it yet
		d, err := oci.ParseDigest(digest)
		if err == nil {
			err = a.t.record(ctx, event.Event{Action: event.Collect, Kind: event.Blob, Repo: a.repo, Digest: d})
		}
		if err != nil {
			return err
		}
	}
	return a.t.leave(ctx, a.hidden, digest)
}

func (a *apart) loss(ctx context.Context, digest string) error {
	if err := a.bury(ctx, digest); err != nil {
		return err
	}
	_, err := a.t.exec(ctx, `DELETE FROM losses WHERE repo_id = $1 AND digest = $2`, a.hidden, digest)
	return err
}
