package sqlmeta

import (
	"context"
	"database/sql"
	"fmt"

	"berth/internal/blob"
	"berth/internal/meta"
	"berth/internal/oci"
)

// StartShadow implements meta.Shadow.
func (db *DB) StartShadow() { db.shadow.Store(true) }

// StopShadow ends what StartShadow began.
func (db *DB) StopShadow() { db.shadow.Store(false) }

// sqlUnwritten notes links; its SELECT follows, and sqlAgain.
const (
	sqlUnwritten = `INSERT INTO unwritten (repo_id, kind, name, version) `
	sqlAgain     = ` ON CONFLICT (repo_id, kind, name) DO UPDATE SET version = version + 1`
)

// unwritten notes that a link may not be as the records say, if there is a
// shadow. What is in the trash has no links.
func (t *tx) unwritten(ctx context.Context, repo int64, l meta.LinkName) error {
	if !t.shadow.Load() {
		return nil
	}
	_, err := t.exec(ctx, sqlUnwritten+`SELECT id, CAST($2 AS SMALLINT), CAST($3 AS TEXT), 1 FROM repos WHERE id = $1 AND trash = 0`+sqlAgain, repo, int(l.Kind), l.Name)
	return err
}

// differences returns queries of the name of each link of repository $1, of kind
// $2, that is not as the records say.
func differences() map[meta.LinkKind][]string {
	return map[meta.LinkKind][]string{
		meta.LayerLink: {
			`SELECT m.digest FROM repo_blobs m LEFT JOIN links l ON l.repo_id = m.repo_id AND l.kind = $2 AND l.name = m.digest
			WHERE m.repo_id = $1 AND (l.name IS NULL OR l.next IS NOT NULL OR l.target = '')`,
			`SELECT l.name FROM links l WHERE l.repo_id = $1 AND l.kind = $2
			AND NOT EXISTS (SELECT 1 FROM repo_blobs m WHERE m.repo_id = l.repo_id AND m.digest = l.name)`,
		},
		meta.RevisionLink: {
			`SELECT m.digest FROM manifests m LEFT JOIN links l ON l.repo_id = m.repo_id AND l.kind = $2 AND l.name = m.digest
			WHERE m.repo_id = $1 AND (l.name IS NULL OR l.next IS NOT NULL OR l.target = '')`,
			`SELECT l.name FROM links l WHERE l.repo_id = $1 AND l.kind = $2
			AND NOT EXISTS (SELECT 1 FROM manifests m WHERE m.repo_id = l.repo_id AND m.digest = l.name)`,
		},
		meta.TagLink: {
			`SELECT t.name FROM tags t LEFT JOIN links l ON l.repo_id = t.repo_id AND l.kind = $2 AND l.name = t.name
			WHERE t.repo_id = $1 AND (l.name IS NULL OR l.next IS NOT NULL OR l.target <> t.digest)`,
			`SELECT l.name FROM links l WHERE l.repo_id = $1 AND l.kind = $2
			AND NOT EXISTS (SELECT 1 FROM tags t WHERE t.repo_id = l.repo_id AND t.name = l.name)`,
		},
	}
}

// Compare implements meta.Shadow. It writes nothing where nothing differs.
func (db *DB) Compare(ctx context.Context, repo oci.Repo) error {
	var id int64
	err := db.reader.get(ctx, `SELECT id FROM repos WHERE name = $1`, args{repo.String()}, &id)
	if isNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	var found []meta.LinkName
	for kind, queries := range differences() {
		for _, text := range queries {
			err := db.reader.each(ctx, text, args{id, int(kind)}, func(scan func(...any) error) error {
				l := meta.LinkName{Kind: kind}
				err := scan(&l.Name)
				found = append(found, l)
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	if len(found) == 0 {
		return nil
	}
	return db.write(ctx, relaxed, func(ctx context.Context, t *tx) error {
		for _, l := range found {
			if err := t.unwritten(ctx, id, l); err != nil {
				return err
			}
		}
		return nil
	})
}

// CountUnwritten implements meta.Shadow.
func (db *DB) CountUnwritten(ctx context.Context) (int, error) {
	var n int
	err := db.reader.get(ctx, `SELECT count(*) FROM unwritten WHERE repo_id > 0`, nil, &n)
	return n, err
}

// Unwritten implements meta.Shadow.
func (db *DB) Unwritten(ctx context.Context, limit int) ([]meta.LinkWant, error) {
	var list []meta.LinkWant
	err := db.reader.each(ctx, `SELECT r.name, u.version, u.kind, u.name, coalesce(l.target, ''), l.next, coalesce(l.mtime_ns, 0)
		FROM unwritten u CROSS JOIN repos r ON r.id = u.repo_id
		LEFT JOIN links l ON l.repo_id = u.repo_id AND l.kind = u.kind AND l.name = u.name
		WHERE u.repo_id > 0 ORDER BY u.repo_id, u.kind, u.name LIMIT $1`,
		args{limit}, func(scan func(...any) error) error {
			var w meta.LinkWant
			var repo, target string
			var next sql.NullString
			var mtime int64
			err := scan(&repo, &w.Version, &w.Kind, &w.Name, &target, &next, &mtime)
			if err == nil {
				w.Repo, err = oci.ParseRepo(repo)
			}
			if err == nil {
				w.Was.LinkName = w.LinkName
				err = fillLink(&w.Was, target, next, mtime)
			}
			list = append(list, w)
			return err
		})
	for i := 0; err == nil && i < len(list); i++ {
		err = db.fillWant(ctx, &list[i])
	}
	if err != nil {
		return nil, fmt.Errorf("list links that are to be written: %w", err)
	}
	return list, nil
}

// fillWant adds how the link ought to be.
func (db *DB) fillWant(ctx context.Context, w *meta.LinkWant) error {
	a := args{w.Repo.String(), w.Name}
	target := w.Name
	var err error
	switch w.Kind {
	case meta.LayerLink:
		err = db.reader.get(ctx, `SELECT b.key, b.size FROM repos r JOIN repo_blobs m ON m.repo_id = r.id JOIN blobs b ON b.digest = m.digest
			WHERE r.name = $1 AND m.digest = $2`, a, &w.Key, &w.Size)
	case meta.RevisionLink:
		err = db.reader.get(ctx, `SELECT m.body FROM repos r JOIN manifests m ON m.repo_id = r.id WHERE r.name = $1 AND m.digest = $2`, a, &w.Body)
	case meta.TagLink:
		err = db.reader.get(ctx, `SELECT t.digest FROM repos r JOIN tags t ON t.repo_id = r.id WHERE r.name = $1 AND t.name = $2`, a, &target)
	}
	if isNotFound(err) {
		return nil
	}
	if err == nil {
		w.Target, err = oci.ParseDigest(target)
	}
	return err
}

// Intend implements meta.Shadow.
func (db *DB) Intend(ctx context.Context, list []meta.LinkWant) error {
	return db.write(ctx, durable, func(ctx context.Context, t *tx) error {
		for _, w := range list {
			repo, err := t.findRepo(ctx, w.Repo)
			if err != nil {
				return err
			}
			_, err = t.exec(ctx, `INSERT INTO links (repo_id, kind, name, target, next, mtime_ns, held) VALUES ($1, $2, $3, '', $4, 0, 0)
				ON CONFLICT (repo_id, kind, name) DO UPDATE SET next = excluded.next`, repo, int(w.Kind), w.Name, w.Target.String())
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Written implements meta.Shadow.
func (db *DB) Written(ctx context.Context, list []meta.LinkWritten) error {
	return db.write(ctx, relaxed, func(ctx context.Context, t *tx) error {
		for _, w := range list {
			repo, err := t.findRepo(ctx, w.Repo)
			if err != nil {
				return err
			}
			if w.Target.IsZero() {
				err = t.forgetLink(ctx, repo, w.LinkName)
			} else {
				err = t.remember(ctx, repo, meta.Link{LinkName: w.LinkName, Target: w.Target, ModTime: w.ModTime}, whosever)
			}
			if err != nil {
				return err
			}
			_, err = t.exec(ctx, `DELETE FROM unwritten WHERE repo_id = $1 AND kind = $2 AND name = $3 AND version = $4`,
				repo, int(w.Kind), w.Name, w.Version)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// AdoptedKeys implements meta.Finish.
func (db *DB) AdoptedKeys(ctx context.Context, prefix string, after blob.Key, limit int) ([]blob.Key, error) {
	var keys []blob.Key
	err := db.reader.each(ctx, `SELECT DISTINCT key FROM blobs WHERE key >= $1 AND key < $2 AND key > $3 ORDER BY key LIMIT $4`,
		args{prefix, prefix + "~", string(after), limit}, func(scan func(...any) error) error {
			var k blob.Key
			err := scan(&k)
			keys = append(keys, k)
			return err
		})
	return keys, err
}

// Rekey implements meta.Finish.
func (db *DB) Rekey(ctx context.Context, old, new blob.Key) error {
	return db.write(ctx, durable, func(ctx context.Context, t *tx) error {
		_, err := t.exec(ctx, `UPDATE blobs SET key = $2 WHERE key = $1`, string(old), string(new))
		return err
	})
}

// FinishRepo implements meta.Finish.
func (db *DB) FinishRepo(ctx context.Context, repo oci.Repo) error {
	return db.write(ctx, durable, func(ctx context.Context, t *tx) error {
		id, err := t.findRepo(ctx, repo)
		if err != nil {
			return notFound(err, "links", repo)
		}
		_, err = t.exec(ctx, `UPDATE repo_blobs SET candidate = 1, touched = $2 WHERE repo_id = $1 AND candidate = 0
			AND NOT EXISTS (SELECT 1 FROM manifest_refs f WHERE f.repo_id = repo_blobs.repo_id AND f.digest = repo_blobs.digest)`, id, t.ticks())
		if err == nil {
			_, err = t.exec(ctx, `DELETE FROM links WHERE repo_id = $1`, id)
		}
		if err == nil {
			_, err = t.exec(ctx, `DELETE FROM unwritten WHERE repo_id = $1`, id)
		}
		return err
	})
}
