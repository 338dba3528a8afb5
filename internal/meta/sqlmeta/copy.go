package sqlmeta

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"

	"berth/internal/blob"
	"berth/internal/meta"
	"berth/internal/oci"
)

// A Copy is a database file that no registry uses, such as a Snapshot. Nothing is
// kept beside it, and it is as it was left only after Close: whoever is
// interrupted has lost it.
type Copy struct {
	path    string
	pool    *sql.DB
	q       *reader
	changed bool // it may have been
}

// OpenCopy opens the existing database file path. It may have been written by an
// older program; one that a newer program has written is refused.
func OpenCopy(ctx context.Context, path string) (*Copy, error) {
	return openCopy(ctx, path, live, append(commonPragmas(), "journal_mode(off)", "synchronous(off)", "cache_size(-"+strconv.Itoa(readerCache)+")"))
}

// ViewCopy is OpenCopy for looking at the records alone.
func ViewCopy(ctx context.Context, path string) (*Copy, error) {
	return openCopy(ctx, path, finished, readerPragmas())
}

func openCopy(ctx context.Context, path string, l liveness, pragmas []string) (*Copy, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	pool, err := openSQLite(path, l, pragmas, nil)
	if err != nil {
		return nil, err
	}
	pool.SetMaxOpenConns(1)
	c := &Copy{path: path, pool: pool, q: &reader{pool: pool, dialect: sqliteDialect(), patient: true}, changed: l == live}
	version, err := schemaVersion(ctx, pool)
	if err == nil && version == 0 {
		err = errEmpty
	}
	newest, nerr := newestSchema()
	if err == nil && nerr == nil && version > newest {
		err = newerError(version, newest)
	}
	if err = errors.Join(err, nerr); err != nil {
		return nil, errors.Join(fmt.Errorf("open the database %s: %w", path, err), c.q.close())
	}
	return c, nil
}

// Close makes what was changed durable.
func (c *Copy) Close() error {
	if !c.changed {
		return c.q.close()
	}
	return errors.Join(c.q.close(), syncFile(c.path))
}

// CheckCopy reads the whole database file path, which nobody uses, and returns an
// error if its pages are damaged or its records contradict each other.
func CheckCopy(ctx context.Context, path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	if err := checkFile(ctx, path, finished); err != nil {
		return fmt.Errorf("check the database %s: %w", path, err)
	}
	return nil
}

// Detach makes the records independent of the data directory that they come from:
// own tells which key the objects of a key have elsewhere. Uploads, garbage and
// the links of a registry:2 are left behind.
func (c *Copy) Detach(ctx context.Context, own func(blob.Key) blob.Key) error {
	tx, err := c.pool.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after a commit
	for _, text := range []string{
		`DELETE FROM uploads`,
		`DELETE FROM garbage`,
		`DELETE FROM unwritten`,
		// What only a link held was no candidate; see FinishRepo.
		`UPDATE repo_blobs SET candidate = 1, touched = (SELECT ticks FROM clock WHERE id = 1) WHERE candidate = 0
			AND NOT EXISTS (SELECT 1 FROM manifest_refs f WHERE f.repo_id = repo_blobs.repo_id AND f.digest = repo_blobs.digest)`,
		`DELETE FROM links`,
		`UPDATE tree SET state = '' WHERE id = 1`,
		// Records that a data directory has left belong to the database they were made beside.
		`UPDATE redo SET run = 0, seq = 0`,
	} {
		if _, err := tx.ExecContext(ctx, text); err != nil {
			return fmt.Errorf("detach the records: %w", err)
		}
	}
	if err := rekeyAll(ctx, tx, own); err != nil {
		return fmt.Errorf("detach the records: %w", err)
	}
	return tx.Commit()
}

// copyBatch is how many rows of a Copy are in memory at once.
const copyBatch = 1000

func rekeyAll(ctx context.Context, tx *sql.Tx, own func(blob.Key) blob.Key) error {
	for after := ""; ; {
		keys, err := keysBehind(ctx, tx, after)
		if err != nil || len(keys) == 0 {
			return err
		}
		for _, key := range keys {
			after = string(key)
			if to := own(key); to != key {
				if _, err := tx.ExecContext(ctx, `UPDATE blobs SET key = ?2 WHERE key = ?1`, string(key), string(to)); err != nil {
					return err
				}
			}
		}
	}
}

func keysBehind(ctx context.Context, tx *sql.Tx, after string) ([]blob.Key, error) {
	rows, err := tx.QueryContext(ctx, `SELECT DISTINCT key FROM blobs WHERE key > ?1 ORDER BY key LIMIT ?2`, after, copyBatch)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var keys []blob.Key
	for rows.Next() {
		var key blob.Key
		if err := rows.Scan(&key); err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, rows.Err()
}

// Contents counts what is recorded.
type Contents struct {
	Repositories int64 `json:"repositories"` // that have a manifest; those in the trash are left out
	Tags         int64 `json:"tags"`
	Manifests    int64 `json:"manifests"`
	Objects      int64 `json:"objects"` // with undamaged content
	Bytes        int64 `json:"bytes"`   // of these
	Damaged      int64 `json:"damaged"` // blobs whose content is known to be missing or broken
}

// Contents counts what is recorded.
func (c *Copy) Contents(ctx context.Context) (n Contents, err error) {
	err = c.q.get(ctx, `SELECT (SELECT count(*) FROM repos WHERE listed = 1 AND name NOT LIKE '~%'), (SELECT count(*) FROM tags), (SELECT count(*) FROM manifests),
		(SELECT count(*) FROM blobs WHERE damaged = 1)`, nil, &n.Repositories, &n.Tags, &n.Manifests, &n.Damaged)
	if err == nil {
		err = c.q.get(ctx, `SELECT count(*), coalesce(sum(size), 0) FROM (SELECT max(size) AS size FROM blobs WHERE damaged = 0 GROUP BY key)`,
			nil, &n.Objects, &n.Bytes)
	}
	return n, err
}

// Objects calls each for the undamaged blobs, ordered by key: several in a row
// may share one. Each may change the records.
func (c *Copy) Objects(ctx context.Context, each func(meta.Blob) error) error {
	var after meta.Blob
	for {
		list, err := c.objectsBehind(ctx, after)
		if err != nil || len(list) == 0 {
			return err
		}
		for _, b := range list {
			if err := each(b); err != nil {
				return err
			}
		}
		after = list[len(list)-1]
	}
}

func (c *Copy) objectsBehind(ctx context.Context, after meta.Blob) ([]meta.Blob, error) {
	var list []meta.Blob
	err := c.q.each(ctx, `SELECT key, digest, size FROM blobs WHERE damaged = 0 AND (key, digest) > ($1, $2) ORDER BY key, digest LIMIT $3`,
		args{string(after.Key), after.Digest.String(), copyBatch}, func(scan func(...any) error) error {
			b := meta.Blob{Left: meta.Forever}
			var digest string
			err := scan(&b.Key, &digest, &b.Size)
			if err == nil {
				b.Digest, err = oci.ParseDigest(digest)
			}
			list = append(list, b)
			return err
		})
	return list, err
}

// HasKey reports whether an undamaged blob has its content under key.
func (c *Copy) HasKey(ctx context.Context, key blob.Key) (found bool, err error) {
	err = c.q.get(ctx, `SELECT EXISTS (SELECT 1 FROM blobs WHERE key = $1 AND damaged = 0)`, args{string(key)}, &found)
	return found, err
}

// MarkDamaged records that the content under key is missing or broken.
func (c *Copy) MarkDamaged(ctx context.Context, key blob.Key) error {
	_, err := c.pool.ExecContext(ctx, `UPDATE blobs SET damaged = 1 WHERE key = ?1`, string(key))
	return err
}

// Holders returns at most limit names of repositories that have the content
// under key.
func (c *Copy) Holders(ctx context.Context, key blob.Key, limit int) (list []string, err error) {
	err = c.q.each(ctx, `SELECT DISTINCT r.name FROM blobs b JOIN repo_blobs m ON m.digest = b.digest JOIN repos r ON r.id = m.repo_id
		WHERE b.key = $1 ORDER BY r.name LIMIT $2`, args{string(key), limit}, func(scan func(...any) error) error {
		var name string
		err := scan(&name)
		list = append(list, name)
		return err
	})
	return list, err
}

// manifestBatch is how many manifests of a Copy are in memory at once.
const manifestBatch = 32

// Manifests calls each for every manifest, with the name of its repository, which
// is none that can be asked for if it is in the trash.
func (c *Copy) Manifests(ctx context.Context, each func(repo string, d oci.Digest, body []byte) error) error {
	type row struct {
		repo   string
		digest oci.Digest
		body   []byte
	}
	for after := int64(0); ; {
		var list []row
		err := c.q.each(ctx, `SELECT m.id, r.name, m.digest, m.body FROM manifests m JOIN repos r ON r.id = m.repo_id
			WHERE m.id > $1 ORDER BY m.id LIMIT $2`, args{after, manifestBatch}, func(scan func(...any) error) error {
			var r row
			var digest string
			err := scan(&after, &r.repo, &digest, &r.body)
			if err == nil {
				r.digest, err = oci.ParseDigest(digest)
			}
			list = append(list, r)
			return err
		})
		if err != nil || len(list) == 0 {
			return err
		}
		for _, r := range list {
			if err := each(r.repo, r.digest, r.body); err != nil {
				return err
			}
		}
	}
}
