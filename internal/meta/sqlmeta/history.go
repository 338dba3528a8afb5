package sqlmeta

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
)

// The two ways to list what happened to tags, each along its own index.
const (
	sqlHistory    = `SELECT seq, time_us, tag, was, now, cause, by_name, by_via, by_addr FROM tag_history WHERE repo = $1 AND seq < $2 ORDER BY seq DESC LIMIT $3`
	sqlTagHistory = `SELECT seq, time_us, tag, was, now, cause, by_name, by_via, by_addr FROM tag_history WHERE repo = $1 AND seq < $2 AND tag = $4 ORDER BY seq DESC LIMIT $3`
)

// TagHistory implements meta.History.
func (db *DB) TagHistory(ctx context.Context, repo oci.Repo, tag oci.Tag, before int64, limit int) ([]meta.TagMove, error) {
	before = cmp.Or(before, math.MaxInt64)
	if tag.IsZero() {
		return moves(ctx, db.reader, repo, sqlHistory, args{repo.String(), before, limit})
	}
	list, err := moves(ctx, db.reader, repo, sqlTagHistory, args{repo.String(), before, limit, tag.String()})
	if err != nil {
		return nil, err
	}
	whole, err := moves(ctx, db.reader, repo, sqlTagHistory, args{repo.String(), before, limit, ""})
	if err != nil {
		return nil, err
	}
	list = append(list, whole...)
	slices.SortFunc(list, func(a, b meta.TagMove) int { return cmp.Compare(b.Seq, a.Seq) })
	return list[:min(limit, len(list))], nil
}

// moves reads what one of the two queries finds.
func moves(ctx context.Context, q querier, repo oci.Repo, text string, a args) ([]meta.TagMove, error) {
	var list []meta.TagMove
	err := q.each(ctx, text, a, func(scan func(...any) error) error {
		m := meta.TagMove{Repo: repo}
		var at int64
		var tag, was, now string
		err := scan(&m.Seq, &at, &tag, &was, &now, &m.Cause, &m.By.Name, &m.By.Via, &m.By.Addr)
		m.At = time.UnixMicro(at).UTC()
		if err == nil && tag != "" {
			m.Tag, err = oci.ParseTag(tag)
		}
		if err == nil && was != "" {
			m.From, err = oci.ParseDigest(was)
		}
		if err == nil && now != "" {
			m.To, err = oci.ParseDigest(now)
		}
		list = append(list, m)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the history of %s: %w", repo, err)
	}
	return list, nil
}

// past returns what a tag that points to now pointed to so many moves ago. Where
// it stands may differ from the end of its last move: its repository may have
// been deleted since.
func past(ctx context.Context, q querier, p meta.TagSet, now oci.Digest) (oci.Digest, error) {
	steps := max(1, p.Steps)
	list, err := moves(ctx, q, p.Repo, sqlTagHistory, args{p.Repo.String(), int64(math.MaxInt64), steps, p.Tag.String()})
	if err != nil {
		return now, err
	}
	for _, m := range list {
		if m.To != now {
			if now, steps = m.To, steps-1; steps == 0 {
				return now, nil
			}
		}
		if now, steps = m.From, steps-1; steps == 0 {
			return now, nil
		}
	}
	return now, &meta.NoPastError{Tag: p.Tag}
}

// A tagPlan is what SetTag is going to do.
type tagPlan struct {
	meta.TagMove       // whose Trash is the entry that has the manifest, 0 if the repository has it
	manifest     int64 // its number
}

// planTag returns what p asks for, where since is the tick until which what was
// deleted has gone from the trash.
func planTag(ctx context.Context, q querier, p meta.TagSet, since int64) (tagPlan, error) {
	m := tagPlan{TagMove: meta.TagMove{Repo: p.Repo, Tag: p.Tag, To: p.To, Cause: p.Cause, By: p.By}}
	var text string
	err := q.get(ctx, `SELECT t.digest FROM repos r JOIN tags t ON t.repo_id = r.id WHERE r.name = $1 AND t.name = $2`,
		args{p.Repo.String(), p.Tag.String()}, &text)
	if err == nil {
		m.From, err = oci.ParseDigest(text)
	}
	if err != nil && !isNotFound(err) {
		return m, err
	}
	if p.From != nil && *p.From != m.From {
		return m, &meta.TagMovedError{Tag: p.Tag, Now: m.From}
	}
	if m.To.IsZero() {
		if m.To, err = past(ctx, q, p, m.From); err != nil {
			return m, err
		}
		if m.To.IsZero() {
			return m, &meta.NoPastError{Tag: p.Tag}
		}
	}
	err = q.get(ctx, `SELECT m.id FROM repos r JOIN manifests m ON m.repo_id = r.id WHERE r.name = $1 AND m.digest = $2`,
		args{p.Repo.String(), m.To.String()}, &m.manifest)
	if !isNotFound(err) {
		return m, err
	}
	found, err := entries(ctx, q, sqlEntry+`AND e.repo = $2 AND EXISTS (SELECT 1 FROM manifests m WHERE m.repo_id = h.id AND m.digest = $3)
		ORDER BY e.id DESC LIMIT 1`, args{since, p.Repo.String(), m.To.String()})
	if err == nil && len(found) == 0 {
		err = notFound(meta.ErrNotFound, "manifest "+m.To.String(), p.Repo)
	}
	if err == nil {
		m.Trash = found[0].ID
	}
	return m, err
}

// PlanTag implements meta.History.
func (db *DB) PlanTag(ctx context.Context, p meta.TagSet) (meta.TagMove, error) {
	m, err := planTag(ctx, db.reader, p, db.ago(db.opts.Trash))
	if err == nil && !m.From.IsZero() && m.From != m.To && db.opts.Immutable != nil && db.opts.Immutable(p.Repo, p.Tag) {
		err = &meta.ImmutableTagError{Repo: p.Repo, Tag: p.Tag}
	}
	return m.TagMove, err
}

// SetTag implements meta.History.
func (db *DB) SetTag(ctx context.Context, p meta.TagSet) (meta.TagMove, error) {
	for {
		var m tagPlan
		more := false
		err := db.write(ctx, durable, func(ctx context.Context, t *tx) (err error) {
			if m, err = planTag(ctx, t, p, t.ticks()-int64(t.keep)); err != nil || m.From == m.To && m.Trash == 0 {
				return err
			}
			if m.Trash != 0 {
				if m.manifest, more, err = t.fetch(ctx, meta.Restore{ID: m.Trash, Only: oci.Ref{Digest: m.To}, By: p.By}); err != nil || more {
					return err
				}
			}
			return t.setTag(ctx, m)
		})
		if err != nil || !more {
			return m.TagMove, err
		}
	}
}

// setTag does what is planned, with a manifest that the repository has.
func (t *tx) setTag(ctx context.Context, m tagPlan) error {
	repo, err := t.findRepo(ctx, m.Repo)
	if err != nil {
		return err
	}
	was, err := t.pointTag(ctx, tagChange{repo: repo, in: m.Repo, cause: m.Cause, by: m.By}, m.Tag, m.To, m.manifest)
	if err != nil || was == m.To { // it came out of the trash with its manifest
		return err
	}
	e := event.Event{Action: event.Push, Kind: event.Manifest, Repo: m.Repo, Digest: m.To, Tag: m.Tag, By: m.By}
	if err := t.get(ctx, `SELECT media_type, size FROM manifests WHERE id = $1`, args{m.manifest}, &e.MediaType, &e.Size); err != nil {
		return err
	}
	return t.record(ctx, e)
}

// TrimHistory implements meta.History.
func (db *DB) TrimHistory(ctx context.Context, age time.Duration, limit int) (int, error) {
	last, err := db.oldMoves(ctx, db.reader, age, limit)
	if err != nil || last == 0 {
		return 0, err
	}
	var n int64
	err = db.write(ctx, relaxed, func(ctx context.Context, t *tx) error {
		last, err := db.oldMoves(ctx, t, age, limit)
		if err == nil && last > 0 {
			n, err = t.exec(ctx, `DELETE FROM tag_history WHERE seq <= $1`, last)
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	return int(n), nil
}

// oldMoves returns the number of the last of the moves that may go, 0 if none
// may. In the order in which they were noted, ticks only grow.
func (db *DB) oldMoves(ctx context.Context, q querier, age time.Duration, limit int) (int64, error) {
	var last int64
	err := q.each(ctx, `SELECT seq, ticks FROM tag_history WHERE seq > 0 ORDER BY seq LIMIT $1`, args{limit}, func(scan func(...any) error) error {
		var seq, ticks int64
		err := scan(&seq, &ticks)
		if ticks <= db.ago(age) {
			last = seq
		}
		return err
	})
	return last, err
}
