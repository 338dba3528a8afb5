package sqlmeta

import (
	"context"
	"fmt"

	"berth/internal/blob"
	"berth/internal/meta"
	"berth/internal/oci"
)

var _ meta.Mending = (*DB)(nil)

// Mend implements meta.Mending.
func (db *DB) Mend(ctx context.Context, c meta.Contradiction) (did string, err error) {
	mend := (*tx).mendNothing
	switch c.Fault {
	case meta.FaultListed:
		mend = (*tx).mendListed
	case meta.FaultUnheld:
		mend = (*tx).mendUnheld
	case meta.FaultForgotten:
		mend = (*tx).mendForgotten
	case meta.FaultMember:
		mend = (*tx).mendMember
	case meta.FaultKeyGarbage:
		mend = (*tx).mendKeyGarbage
	case meta.FaultTag:
		mend = (*tx).mendTag
	case meta.FaultOrphan:
		mend = (*tx).mendOrphan
	case meta.FaultPartLost:
		mend = (*tx).mendPart
	case meta.FaultManifestSize:
		mend = (*tx).mendSize
	}
	err = db.write(ctx, durable, func(ctx context.Context, t *tx) error {
		did, err = mend(t, ctx, c)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("mend %s: %w", c.Fault, err)
	}
	return did, nil
}

// changed returns did if a statement changed rows.
func changed(n int64, err error, did string) (string, error) {
	if n == 0 || err != nil {
		return "", err
	}
	return did, nil
}

func (t *tx) mendNothing(context.Context, meta.Contradiction) (string, error) { return "", nil }

func (t *tx) mendListed(ctx context.Context, c meta.Contradiction) (string, error) {
	n, err := t.exec(ctx, `UPDATE repos SET listed = CASE WHEN trash = 0 AND EXISTS (SELECT 1 FROM manifests m WHERE m.repo_id = repos.id) THEN 1 ELSE 0 END
		WHERE id = $1`, c.Repo.ID)
	return changed(n, err, "the catalog has it exactly if it has a manifest")
}

// mendUnheld gives a blob that no repository has to those that had it. If there
// are none, it is as if its last membership had ended now, and it has its grace.
func (t *tx) mendUnheld(ctx context.Context, c meta.Contradiction) (string, error) {
	n, err := t.giveBack(ctx, c.Digest)
	if err != nil || n > 0 {
		return fmt.Sprintf("given back to %d repositories", n), err
	}
	var key string
	err = t.get(ctx, `DELETE FROM blobs WHERE digest = $1 AND NOT EXISTS (SELECT 1 FROM repo_blobs WHERE digest = $1) RETURNING key`, args{c.Digest}, &key)
	if isNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return "left to the collector, after the grace", t.condemn(ctx, key, t.ticks()+int64(t.grace))
}

// giveBack makes a blob a member of the repositories of which a manifest needs it
// and was pushed when it was there, and returns how many they are.
func (t *tx) giveBack(ctx context.Context, digest string) (int64, error) {
	n, err := t.exec(ctx, `INSERT INTO repo_blobs (repo_id, digest, touched, candidate)
		SELECT DISTINCT f.repo_id, f.digest, CAST($2 AS BIGINT), 1 FROM manifest_refs f JOIN repos r ON r.id = f.repo_id
		WHERE f.digest = $1 AND f.dangling = 0 AND f.repo_id > 0
		AND NOT EXISTS (SELECT 1 FROM manifests c WHERE c.repo_id = f.repo_id AND c.digest = f.digest)
		ON CONFLICT (repo_id, digest) DO NOTHING`, digest, t.ticks())
	if err != nil {
		return 0, err
	}
	_, err = t.exec(ctx, `DELETE FROM losses WHERE digest = $1 AND EXISTS (SELECT 1 FROM repo_blobs m WHERE m.repo_id = losses.repo_id AND m.digest = $1)`, digest)
	return n, err
}

func (t *tx) mendForgotten(ctx context.Context, c meta.Contradiction) (string, error) {
	n, err := t.exec(ctx, `UPDATE repo_blobs SET candidate = 1, touched = $3 WHERE repo_id = $1 AND digest = $2 AND candidate = 0`, c.Repo.ID, c.Digest, t.ticks())
	return changed(n, err, "left to the collector, after the grace")
}

func (t *tx) mendMember(ctx context.Context, c meta.Contradiction) (string, error) {
	n, err := t.exec(ctx, `DELETE FROM repo_blobs WHERE repo_id = $1 AND digest = $2 AND NOT EXISTS (SELECT 1 FROM blobs WHERE digest = $2)`, c.Repo.ID, c.Digest)
	if err != nil || n == 0 {
		return "", err
	}
	return "the repository does not have it any more, so that it can be pushed again", t.lose(ctx, c.Repo.ID, c.Digest)
}

func (t *tx) mendKeyGarbage(ctx context.Context, c meta.Contradiction) (string, error) {
	n, err := t.exec(ctx, `DELETE FROM garbage WHERE key = $1 AND EXISTS (SELECT 1 FROM blobs WHERE key = $1)`, c.Name)
	return changed(n, err, "it stays")
}

// mendTag points a tag to the manifest of its digest, or takes the digest of the
// manifest that it points to. One that leads nowhere stays: it may be one that
// must not be pushed anew with something else.
func (t *tx) mendTag(ctx context.Context, c meta.Contradiction) (string, error) {
	n, err := t.exec(ctx, `UPDATE tags SET digest = (SELECT m.digest FROM manifests m WHERE m.id = tags.manifest_id)
		WHERE repo_id = $1 AND name = $2 AND EXISTS (SELECT 1 FROM manifests m WHERE m.id = tags.manifest_id AND m.repo_id = tags.repo_id)`, c.Repo.ID, c.Name)
	if err != nil || n > 0 {
		return "it says what it leads to", err
	}
	n, err = t.exec(ctx, `UPDATE tags SET manifest_id = (SELECT m.id FROM manifests m WHERE m.repo_id = tags.repo_id AND m.digest = tags.digest)
		WHERE repo_id = $1 AND name = $2 AND EXISTS (SELECT 1 FROM manifests m WHERE m.repo_id = tags.repo_id AND m.digest = tags.digest)`, c.Repo.ID, c.Name)
	return changed(n, err, "it leads to its digest again")
}

// mendOrphan removes rows that mean nothing without what they belong to. Of what
// can be content, manifests and memberships, none is removed.
func (t *tx) mendOrphan(ctx context.Context, c meta.Contradiction) (string, error) {
	const did = "removed"
	switch c.Name {
	case "manifest_refs":
		_, err := t.exec(ctx, `UPDATE repo_blobs SET touched = $3, candidate = 1 WHERE repo_id = $1 AND digest = $2`, c.Repo.ID, c.Digest, t.ticks())
		if err != nil {
			return "", err
		}
		n, err := t.exec(ctx, `DELETE FROM manifest_refs WHERE repo_id = $1 AND digest = $2
			AND NOT EXISTS (SELECT 1 FROM manifests m WHERE m.id = manifest_refs.manifest_id)`, c.Repo.ID, c.Digest)
		return changed(n, err, did)
	case "losses", "links", "unwritten":
		n, err := t.exec(ctx, `DELETE FROM `+c.Name+` WHERE repo_id = $1 AND NOT EXISTS (SELECT 1 FROM repos WHERE id = $1)`, c.Repo.ID)
		return changed(n, err, did)
	}
	return "", nil
}

// mendPart gives a repository back what it lost and others have.
func (t *tx) mendPart(ctx context.Context, c meta.Contradiction) (string, error) {
	n, err := t.exec(ctx, `INSERT INTO repo_blobs (repo_id, digest, touched, candidate)
		SELECT CAST($1 AS BIGINT), digest, CAST($3 AS BIGINT), 1 FROM blobs WHERE digest = $2 AND damaged = 0
		AND EXISTS (SELECT 1 FROM manifest_refs f WHERE f.repo_id = $1 AND f.digest = $2 AND f.dangling = 0)
		ON CONFLICT (repo_id, digest) DO NOTHING`, c.Repo.ID, c.Digest, t.ticks())
	if err == nil && n > 0 {
		_, err = t.exec(ctx, `DELETE FROM losses WHERE repo_id = $1 AND digest = $2`, c.Repo.ID, c.Digest)
	}
	return changed(n, err, "given back to the repository")
}

func (t *tx) mendSize(ctx context.Context, c meta.Contradiction) (string, error) {
	n, err := t.exec(ctx, `UPDATE manifests SET size = length(body) WHERE repo_id = $1 AND digest = $2 AND size <> length(body)`, c.Repo.ID, c.Digest)
	return changed(n, err, "recorded as it is")
}

// Reinstate implements meta.Mending.
func (db *DB) Reinstate(ctx context.Context, b meta.Blob) (holders int, err error) {
	err = db.write(ctx, durable, func(ctx context.Context, t *tx) error {
		holders = 0
		var wanted bool
		err := t.get(ctx, `SELECT EXISTS (SELECT 1 FROM repo_blobs WHERE digest = $1)
			OR EXISTS (SELECT 1 FROM manifest_refs f JOIN repos r ON r.id = f.repo_id WHERE f.digest = $1 AND f.dangling = 0 AND f.repo_id > 0
				AND NOT EXISTS (SELECT 1 FROM manifests c WHERE c.repo_id = f.repo_id AND c.digest = f.digest))`, args{b.Digest.String()}, &wanted)
		if err != nil || !wanted {
			return err
		}
		has, err := t.content(ctx, b.Digest)
		known := err == nil
		if err != nil && !isNotFound(err) {
			return err
		}
		if known && !has.Damaged && has.Key != b.Key {
			return nil
		}
		if err := t.putBlob(ctx, b); err != nil {
			return err
		}
		if known && has.Key != b.Key {
			if err := t.condemn(ctx, string(has.Key), t.ticks()+int64(t.delay)); err != nil {
				return err
			}
		}
		if _, err := t.giveBack(ctx, b.Digest.String()); err != nil {
			return err
		}
		return t.get(ctx, `SELECT count(*) FROM repo_blobs WHERE digest = $1`, args{b.Digest.String()}, &holders)
	})
	if err != nil {
		return 0, fmt.Errorf("reinstate %s: %w", b.Digest, err)
	}
	return holders, nil
}

// MendReferences implements meta.Mending. What the repository does not have counts
// as if it never had: nothing is known of that any more.
func (db *DB) MendReferences(ctx context.Context, m meta.AuditManifest, parts []string) (is bool, err error) {
	err = db.write(ctx, durable, func(ctx context.Context, t *tx) error {
		err := t.get(ctx, `SELECT EXISTS (SELECT 1 FROM manifests WHERE id = $1 AND repo_id = $2 AND digest = $3 AND body = $4)`,
			args{m.ID, m.Repo.ID, m.Digest, m.Body}, &is)
		if err != nil || !is {
			return err
		}
		_, err = t.exec(ctx, `UPDATE repo_blobs SET touched = $2, candidate = 1
			WHERE (repo_id, digest) IN (SELECT repo_id, digest FROM manifest_refs WHERE manifest_id = $1)`, m.ID, t.ticks())
		if err != nil {
			return err
		}
		keep := map[string]bool{}
		var drop []member
		for _, d := range parts {
			keep[d] = true
		}
		err = t.each(ctx, `SELECT repo_id, digest FROM manifest_refs WHERE manifest_id = $1`, args{m.ID}, func(scan func(...any) error) error {
			var r member
			err := scan(&r.repo, &r.digest)
			if r.repo != m.Repo.ID || !keep[r.digest] {
				drop = append(drop, r)
			}
			return err
		})
		for i := 0; err == nil && i < len(drop); i++ {
			_, err = t.exec(ctx, `DELETE FROM manifest_refs WHERE repo_id = $1 AND digest = $2 AND manifest_id = $3`, drop[i].repo, drop[i].digest, m.ID)
		}
		for i := 0; err == nil && i < len(parts); i++ {
			_, err = t.exec(ctx, `INSERT INTO manifest_refs (repo_id, digest, manifest_id, dangling) VALUES ($1, $2, $3,
				CASE WHEN EXISTS (SELECT 1 FROM repo_blobs WHERE repo_id = $1 AND digest = $2) OR EXISTS (SELECT 1 FROM manifests WHERE repo_id = $1 AND digest = $2)
					THEN 0 ELSE 1 END) ON CONFLICT (repo_id, digest, manifest_id) DO NOTHING`, m.Repo.ID, parts[i], m.ID)
		}
		return err
	})
	return is && err == nil, err
}

// MendManifest implements meta.Mending.
func (db *DB) MendManifest(ctx context.Context, m meta.AuditManifest, good func([]byte) bool) (bool, error) {
	var body []byte
	err := db.patiently(ctx, func(q querier) error {
		return q.each(ctx, `SELECT body FROM manifests WHERE digest = $1 AND id <> $2`, args{m.Digest, m.ID}, func(scan func(...any) error) error {
			var b []byte
			err := scan(&b)
			if err == nil && body == nil && good(b) {
				body = b
			}
			return err
		})
	})
	if err != nil || body == nil {
		return false, err
	}
	var n int64
	err = db.write(ctx, durable, func(ctx context.Context, t *tx) error {
		n, err = t.exec(ctx, `UPDATE manifests SET body = $3, size = $4 WHERE id = $1 AND digest = $2`, m.ID, m.Digest, body, len(body))
		return err
	})
	return n > 0 && err == nil, err
}

// EndUpload implements meta.Mending.
func (db *DB) EndUpload(ctx context.Context, u meta.AuditUpload) error {
	repo, err := oci.ParseRepo(u.Repo.Name)
	if err != nil {
		return err
	}
	r, err := db.ledger.claim(repo, u.ID)
	if isNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if r.Version != u.Version {
		db.ledger.unclaim(r)
		return nil
	}
	return db.dropUploads(ctx, r)
}

// CondemnUnknown implements meta.Mending.
func (db *DB) CondemnUnknown(ctx context.Context, key blob.Key) error {
	return db.write(ctx, durable, func(ctx context.Context, t *tx) error { return t.condemn(ctx, string(key), t.ticks()+int64(t.delay)) })
}
