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

// planTag returns the move that p asks for, and the number of its manifest.
func planTag(ctx context.Context, q querier, p meta.TagSet) (meta.TagMove, int64, error) {
	m := meta.TagMove{Repo: p.Repo, Tag: p.Tag, To: p.To, Cause: p.Cause, By: p.By}
	var text string
	err := q.get(ctx, `SELECT t.digest FROM repos r JOIN tags t ON t.repo_id = r.id WHERE r.name = $1 AND t.name = $2`,
		args{p.Repo.String(), p.Tag.String()}, &text)
	if err == nil {
		m.From, err = oci.ParseDigest(text)
	}
	if err != nil && !isNotFound(err) {
		return m, 0, err
	}
	if p.From != nil && *p.From != m.From {
		return m, 0, &meta.TagMovedError{Tag: p.Tag, Now: m.From}
	}
	if m.To.IsZero() {
		if m.To, err = past(ctx, q, p, m.From); err != nil {
			return m, 0, err
		}
		if m.To.IsZero() {
			return m, 0, &meta.NoPastError{Tag: p.Tag}
		}
	}
	var manifest int64
	err = q.get(ctx, `SELECT m.id FROM repos r JOIN manifests m ON m.repo_id = r.id WHERE r.name = $1 AND m.digest = $2`,
		args{p.Repo.String(), m.To.String()}, &manifest)
	return m, manifest, notFound(err, "manifest "+m.To.String(), p.Repo)
}

// PlanTag implements meta.History.
func (db *DB) PlanTag(ctx context.Context, p meta.TagSet) (meta.TagMove, error) {
	m, _, err := planTag(ctx, db.reader, p)
	if err == nil && !m.From.IsZero() && m.From != m.To && db.opts.Immutable != nil && db.opts.Immutable(p.Repo, p.Tag) {
		err = &meta.ImmutableTagError{Repo: p.Repo, Tag: p.Tag}
	}
	return m, err
}

// SetTag implements meta.History.
func (db *DB) SetTag(ctx context.Context, p meta.TagSet) (meta.TagMove, error) {
	var m meta.TagMove
	err := db.write(ctx, durable, func(ctx context.Context, t *tx) (err error) {
		var manifest int64
		if m, manifest, err = planTag(ctx, t, p); err != nil || m.From == m.To {
			return err
		}
		repo, err := t.findRepo(ctx, p.Repo)
		if err != nil {
			return err
		}
		if _, err := t.pointTag(ctx, tagChange{repo: repo, in: p.Repo, cause: p.Cause, by: p.By}, p.Tag, m.To, manifest); err != nil {
			return err
		}
		e := event.Event{Action: event.Push, Kind: event.Manifest, Repo: p.Repo, Digest: m.To, Tag: p.Tag, By: p.By}
		if err := t.get(ctx, `SELECT media_type, size FROM manifests WHERE id = $1`, args{manifest}, &e.MediaType, &e.Size); err != nil {
			return err
		}
		return t.record(ctx, e)
	})
	return m, err
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
