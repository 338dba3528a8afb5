package sqlmeta

import (
	"context"
	"database/sql"
	"sync/atomic"
	"time"

	"berth/internal/meta"
	"berth/internal/oci"
)

// Tree implements meta.Adoption.
func (db *DB) Tree(ctx context.Context) (meta.TreeState, error) {
	var s meta.TreeState
	err := db.reader.get(ctx, `SELECT state FROM tree WHERE id = 1`, nil, &s)
	return s, err
}

// SetTree implements meta.Adoption.
func (db *DB) SetTree(ctx context.Context, s meta.TreeState) error {
	return db.write(ctx, durable, func(ctx context.Context, t *tx) error {
		_, err := t.exec(ctx, `UPDATE tree SET state = $1 WHERE id = 1`, string(s))
		return err
	})
}

// Links implements meta.Adoption.
func (db *DB) Links(ctx context.Context, repo oci.Repo) ([]meta.Link, error) {
	var list []meta.Link
	err := db.reader.each(ctx, `SELECT l.kind, l.name, l.target, l.next, l.mtime_ns FROM repos r JOIN links l ON l.repo_id = r.id
		WHERE r.name = $1`, args{repo.String()}, func(scan func(...any) error) error {
		l, err := scanLink(scan)
		list = append(list, l)
		return err
	})
	return list, err
}

// scanLink reads kind, name, target, next and mtime_ns.
func scanLink(scan func(...any) error) (meta.Link, error) {
	var l meta.Link
	var target string
	var next sql.NullString
	var mtime int64
	if err := scan(&l.Kind, &l.Name, &target, &next, &mtime); err != nil {
		return l, err
	}
	return l, fillLink(&l, target, next, mtime)
}

func fillLink(l *meta.Link, target string, next sql.NullString, mtime int64) (err error) {
	l.Changing, l.ModTime = next.Valid, time.Unix(0, mtime)
	if target != "" {
		l.Target, err = oci.ParseDigest(target)
	}
	if err == nil && next.String != "" {
		l.Next, err = oci.ParseDigest(next.String)
	}
	return err
}

// LinkedRepos implements meta.Adoption.
func (db *DB) LinkedRepos(ctx context.Context, after string, limit int) ([]oci.Repo, error) {
	return repos(ctx, db.reader, `SELECT r.name FROM repos r WHERE r.name > $1 AND r.trash = 0 AND EXISTS (SELECT 1 FROM links l WHERE l.repo_id = r.id)
		ORDER BY r.name LIMIT $2`, args{after, limit})
}

// TakeRepo implements meta.Adoption.
func (db *DB) TakeRepo(ctx context.Context, p meta.RepoTake) ([]meta.TagMove, error) {
	var overridden []meta.TagMove
	err := db.write(ctx, relaxed, func(ctx context.Context, t *tx) error {
		overridden = nil
		defer t.quietly()()
		repo, err := t.ensureRepo(ctx, p.Repo)
		if err != nil {
			return err
		}
		return t.takeRepo(ctx, tagChange{repo: repo, in: p.Repo, cause: meta.ByRegistry2, found: &overridden}, p)
	})
	if err != nil {
		return nil, err
	}
	return overridden, nil
}

func (t *tx) takeRepo(ctx context.Context, why tagChange, p meta.RepoTake) error {
	repo := why.repo
	for _, b := range p.Blobs {
		if err := t.takeBlob(ctx, repo, b); err != nil {
			return err
		}
	}
	for _, m := range p.Manifests {
		if err := t.takeManifest(ctx, repo, p.Repo, m); err != nil {
			return err
		}
	}
	for _, tag := range p.Tags {
		if err := t.takeTag(ctx, why, tag); err != nil {
			return err
		}
	}
	for _, l := range p.Seen {
		if err := t.remember(ctx, repo, l, held(l.Kind, false)); err != nil {
			return err
		}
	}
	return t.takeLosses(ctx, why, p.Gone)
}

// quietly keeps links from being noted until the returned function is called:
// what comes from the tree need not be written there.
func (t *tx) quietly() (end func()) {
	shadow := t.shadow
	t.shadow = new(atomic.Bool)
	return func() { t.shadow = shadow }
}

// A holding is what to remember of who wrote the bytes behind a link.
type holding int

const (
	ours     holding = iota // they may be collected
	theirs                  // they are registry:2's
	whosever                // as it was
)

func held(kind meta.LinkKind, registry2 bool) holding {
	switch {
	case kind != meta.LayerLink:
		return ours
	case registry2:
		return theirs
	}
	return whosever
}

// remember records a link as it is in the tree.
func (t *tx) remember(ctx context.Context, repo int64, l meta.Link, h holding) error {
	hold := 0
	if h == theirs {
		hold = 1
	}
	_, err := t.exec(ctx, `INSERT INTO links (repo_id, kind, name, target, next, mtime_ns, held) VALUES ($1, $2, $3, $4, NULL, $5, $6)
		ON CONFLICT (repo_id, kind, name) DO UPDATE SET target = excluded.target, next = NULL, mtime_ns = excluded.mtime_ns,
			held = CASE WHEN $7 THEN links.held ELSE excluded.held END`,
		repo, int(l.Kind), l.Name, l.Target.String(), l.ModTime.UnixNano(), hold, h == whosever)
	return err
}

func (t *tx) forgetLink(ctx context.Context, repo int64, l meta.LinkName) error {
	_, err := t.exec(ctx, `DELETE FROM links WHERE repo_id = $1 AND kind = $2 AND name = $3`, repo, int(l.Kind), l.Name)
	return err
}

func (t *tx) takeBlob(ctx context.Context, repo int64, b meta.TakenBlob) error {
	has, err := t.content(ctx, b.Digest)
	known := err == nil
	if err != nil && !isNotFound(err) {
		return err
	}
	found := has.Key == b.Key && !has.Damaged && b.Damaged // it was believed to be good
	if !known || found || has.Damaged && !b.Damaged {
		if err := t.putBlob(ctx, b.Blob); err != nil {
			return err
		}
		if known && has.Key != b.Key {
			if err := t.condemn(ctx, string(has.Key), t.ticks()+int64(t.delay)); err != nil {
				return err
			}
		}
	}
	if err := t.join(ctx, repo, b.Digest); err != nil {
		return err
	}
	h := ours
	if b.Held {
		h = theirs
	}
	return t.remember(ctx, repo, b.Link, h)
}

// putBlob makes b the record of its digest. Its key may have been garbage.
func (t *tx) putBlob(ctx context.Context, b meta.Blob) error {
	_, err := t.exec(ctx, `INSERT INTO blobs (digest, key, size, damaged, created_us) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (digest) DO UPDATE SET key = excluded.key, size = excluded.size, damaged = excluded.damaged, created_us = excluded.created_us`,
		b.Digest.String(), string(b.Key), b.Size, b.Damaged, t.wall())
	if err != nil {
		return err
	}
	_, err = t.exec(ctx, `DELETE FROM garbage WHERE key = $1`, string(b.Key))
	return err
}

func (t *tx) takeManifest(ctx context.Context, repo int64, name oci.Repo, m meta.TakenManifest) error {
	var digests []oci.Digest
	named := map[oci.Digest]bool{}
	for _, d := range parts(m.Manifest) {
		if !named[d.Digest] {
			named[d.Digest] = true
			digests = append(digests, d.Digest)
		}
	}
	p := meta.ManifestPut{Repo: name, Digest: m.Digest, Manifest: m.Manifest}
	at, err := t.place(ctx, p)
	if err != nil {
		return err
	}
	id, err := t.storeManifest(ctx, at, p, digests)
	if err != nil {
		return err
	}
	if _, err := t.exec(ctx, `UPDATE manifests SET pushed_us = $2 WHERE id = $1`, id, m.Pushed.UnixMicro()); err != nil {
		return err
	}
	if m.Link.Target.IsZero() {
		return nil
	}
	return t.remember(ctx, repo, m.Link, ours)
}

func (t *tx) takeTag(ctx context.Context, c tagChange, tag meta.TakenTag) error {
	var manifest int64
	err := t.get(ctx, `SELECT id FROM manifests WHERE repo_id = $1 AND digest = $2`, args{c.repo, tag.Digest.String()}, &manifest)
	if err == nil {
		c.at = tag.Moved.UnixMicro()
		_, err = t.pointTag(ctx, c, tag.Name, tag.Digest, manifest)
	}
	if err != nil && !isNotFound(err) {
		return err
	}
	return t.remember(ctx, c.repo, tag.Link, ours)
}

// takeLosses does what it means that links are gone: tags first, then manifests,
// then what they needed.
func (t *tx) takeLosses(ctx context.Context, c tagChange, gone []meta.Link) error {
	for _, kind := range []meta.LinkKind{meta.TagLink, meta.RevisionLink, meta.LayerLink} {
		for _, l := range gone {
			if l.Kind != kind {
				continue
			}
			if err := t.takeLoss(ctx, c, l); err != nil {
				return err
			}
			if err := t.forgetLink(ctx, c.repo, l.LinkName); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *tx) takeLoss(ctx context.Context, c tagChange, l meta.Link) error {
	repo := c.repo
	switch l.Kind {
	case meta.TagLink:
		return t.takeTagLoss(ctx, c, l)
	case meta.RevisionLink:
		m := doomed{alone: true}
		err := t.get(ctx, `SELECT id FROM manifests WHERE repo_id = $1 AND digest = $2`, args{repo, l.Name}, &m.id)
		if isNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if m.digest, err = oci.ParseDigest(l.Name); err != nil {
			return err
		}
		if m.tags, err = t.tagsOf(ctx, m.id); err != nil {
			return err
		}
		return t.dropManifest(ctx, c, m, t.discard) // who listens has heard of it from registry:2
	}
	var one int
	err := t.get(ctx, sqlMember, args{repo, l.Name}, &one)
	if isNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return t.part(ctx, repo, l.Name)
}

// takeTagLoss removes a tag, unless it has moved since its link was written.
func (t *tx) takeTagLoss(ctx context.Context, c tagChange, l meta.Link) error {
	tag, err := oci.ParseTag(l.Name)
	if err != nil {
		return err
	}
	has, err := t.tag(ctx, c.repo, tag)
	if isNotFound(err) || err == nil && has != l.Target {
		return nil
	}
	if err == nil {
		_, err = t.removeTag(ctx, c, tag)
	}
	return err
}
