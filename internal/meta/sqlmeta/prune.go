package sqlmeta

import (
	"context"
	"fmt"
	"time"

	"berth/internal/meta"
	"berth/internal/oci"
)

// Unneeded implements meta.Pruning. It reads candidates in the order of their
// index, so a page costs no more than its rows.
func (db *DB) Unneeded(ctx context.Context, grace time.Duration, after string, limit int) (list []meta.Member, next string, err error) {
	touched, repo, digest := int64(-1), int64(-1), ""
	if after != "" {
		if _, err := fmt.Sscanf(after, "%d %d %s", &touched, &repo, &digest); err != nil {
			return nil, "", fmt.Errorf("continue behind %q: %w", after, err)
		}
	}
	looked := 0
	err = db.reader.each(ctx, `SELECT m.touched, m.repo_id, coalesce(e.repo, r.name), m.digest, b.size,
			(SELECT count(*) FROM repo_blobs o WHERE o.digest = m.digest),
			EXISTS (SELECT 1 FROM manifest_refs f WHERE f.repo_id = m.repo_id AND f.digest = m.digest)
				OR EXISTS (SELECT 1 FROM links l WHERE l.repo_id = m.repo_id AND l.kind = 1 AND l.name = m.digest AND l.held = 1)
		FROM repo_blobs m CROSS JOIN repos r ON r.id = m.repo_id CROSS JOIN blobs b ON b.digest = m.digest LEFT JOIN trash e ON e.id = r.trash
		WHERE m.candidate = 1 AND m.touched <= $1 AND (m.touched, m.repo_id, m.digest) > ($2, $3, $4)
		ORDER BY m.touched, m.repo_id, m.digest LIMIT $5`,
		args{rested(db.clock.ticks(), grace), touched, repo, digest, limit}, func(scan func(...any) error) error {
			var m member
			var found meta.Member
			var name string
			var needed bool
			if err := scan(&touched, &m.repo, &name, &m.digest, &found.Size, &found.Holders, &needed); err != nil {
				return err
			}
			looked++
			next = fmt.Sprintf("%d %d %s", touched, m.repo, m.digest)
			if needed {
				return nil
			}
			found.Rested = time.Duration(max(db.clock.ticks()-touched, 0))
			var err error
			if found.Repo, err = oci.ParseRepo(name); err == nil {
				found.Digest, err = oci.ParseDigest(m.digest)
			}
			list = append(list, found)
			return err
		})
	if err != nil {
		return nil, "", err
	}
	if looked < limit {
		next = ""
	}
	return list, next, nil
}

// IdleUploads implements meta.Pruning.
func (db *DB) IdleUploads(ctx context.Context, idle time.Duration, limit int) (list []meta.IdleUpload, err error) {
	before, now := db.ago(idle), db.clock.ticks()
	for _, r := range db.ledger.list(limit, func(r *running) bool { return r.saved <= before }, bySaved) {
		list = append(list, meta.IdleUpload{Repo: r.Repo, Size: r.Size, Idle: time.Duration(now - r.saved)})
	}
	return list, ctx.Err()
}

// A leaf is a manifest as Untagged sees it.
type leaf struct {
	id      int64
	digest  string
	subject string
	size    int64
	kept    bool  // a tag leads to it
	parts   []int // manifests that it names, as places in the list
	held    bool  // a manifest names it as a part
}

// leaves reads the manifests of a repository, by digest, and follows its tags.
func leaves(ctx context.Context, q querier, repo int64, before time.Time) ([]leaf, error) {
	var list []leaf
	places := map[int64]int{} // by id
	err := q.each(ctx, `SELECT m.id, m.digest, m.subject, m.size, m.pushed_us > $2 OR EXISTS (SELECT 1 FROM tags t WHERE t.manifest_id = m.id)
		FROM manifests m WHERE m.repo_id = $1 ORDER BY m.digest`, args{repo, before.UnixMicro()}, func(scan func(...any) error) error {
		var l leaf
		err := scan(&l.id, &l.digest, &l.subject, &l.size, &l.kept)
		places[l.id] = len(list)
		list = append(list, l)
		return err
	})
	if err != nil {
		return nil, err
	}
	err = q.each(ctx, `SELECT f.manifest_id, m.id FROM manifest_refs f JOIN manifests m ON m.repo_id = f.repo_id AND m.digest = f.digest
		WHERE f.repo_id = $1`, args{repo}, func(scan func(...any) error) error {
		var holder, part int64
		if err := scan(&holder, &part); err != nil {
			return err
		}
		from, ok := places[holder]
		to, there := places[part]
		if ok && there { // or it was pushed since, if this is no transaction
			list[to].held = true
			list[from].parts = append(list[from].parts, to)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	follow(list)
	return list, nil
}

// follow marks as kept everything that what is kept leads to.
func follow(list []leaf) {
	referrers := map[string][]int{} // by subject
	var open []int
	for i, l := range list {
		if l.subject != "" {
			referrers[l.subject] = append(referrers[l.subject], i)
		}
		if l.kept {
			open = append(open, i)
		}
	}
	for len(open) > 0 {
		l := list[open[len(open)-1]]
		open = open[:len(open)-1]
		for _, next := range [][]int{l.parts, referrers[l.digest]} {
			for _, i := range next {
				if !list[i].kept {
					list[i].kept = true
					open = append(open, i)
				}
			}
		}
	}
}

// Untagged implements meta.Pruning.
func (db *DB) Untagged(ctx context.Context, repo oci.Repo, before time.Time) (manifests, blobs []meta.Member, err error) {
	var id int64
	if err := db.reader.get(ctx, `SELECT id FROM repos WHERE name = $1`, args{repo.String()}, &id); err != nil {
		return nil, nil, notFound(err, "manifests", repo)
	}
	list, err := leaves(ctx, db.reader, id, before)
	if err != nil {
		return nil, nil, err
	}
	gone := map[int64]bool{}
	for _, l := range list {
		if l.kept {
			continue
		}
		d, err := oci.ParseDigest(l.digest)
		if err != nil {
			return nil, nil, err
		}
		gone[l.id] = true
		manifests = append(manifests, meta.Member{Repo: repo, Digest: d, Size: l.size, Holders: 1})
	}
	if len(gone) == 0 {
		return nil, nil, nil
	}
	blobs, err = db.neededBy(ctx, repo, id, gone)
	return manifests, blobs, err
}

// neededBy lists the blobs of a repository that manifests of the given numbers
// need and no others do.
func (db *DB) neededBy(ctx context.Context, repo oci.Repo, id int64, manifests map[int64]bool) (blobs []meta.Member, err error) {
	last, others := "", false
	err = db.reader.each(ctx, `SELECT f.digest, f.manifest_id, b.size, (SELECT count(*) FROM repo_blobs o CROSS JOIN repos h ON h.id = o.repo_id WHERE o.digest = f.digest AND h.trash = 0)
		FROM manifest_refs f CROSS JOIN repo_blobs m ON m.repo_id = f.repo_id AND m.digest = f.digest CROSS JOIN blobs b ON b.digest = m.digest
		WHERE f.repo_id = $1 ORDER BY f.digest, f.manifest_id`, args{id}, func(scan func(...any) error) error {
		var digest string
		var manifest int64
		found := meta.Member{Repo: repo}
		if err := scan(&digest, &manifest, &found.Size, &found.Holders); err != nil {
			return err
		}
		if digest != last {
			last, others = digest, false
			d, err := oci.ParseDigest(digest)
			if err != nil {
				return err
			}
			found.Digest = d
			blobs = append(blobs, found)
		}
		if !manifests[manifest] && !others {
			others = true
			blobs = blobs[:len(blobs)-1]
		}
		return nil
	})
	return blobs, err
}

// Prune implements meta.Pruning. What goes is decided in the transaction in which
// it does, so that a tag which is put meanwhile either keeps its manifest or
// finds it gone.
func (db *DB) Prune(ctx context.Context, repo oci.Repo, before time.Time, limit int) ([]oci.Digest, error) {
	var gone []oci.Digest
	err := db.write(ctx, durable, func(ctx context.Context, t *tx) error {
		gone = nil
		id, err := t.findRepo(ctx, repo)
		if err != nil {
			return notFound(err, "manifests", repo)
		}
		list, err := leaves(ctx, t, id, before)
		b := &bin{t: t, repo: id, name: repo, kind: meta.TrashManifest, reason: meta.ReasonUntagged}
		if err != nil {
			return err
		}
		for _, l := range list {
			if l.kept || l.held || len(gone) == limit {
				continue
			}
			d, err := oci.ParseDigest(l.digest)
			if err != nil {
				return err
			}
			if err := b.takeManifest(ctx, doomed{id: l.id, digest: d, alone: true}); err != nil {
				return err
			}
			gone = append(gone, d)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return gone, nil
}
