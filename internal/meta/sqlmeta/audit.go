package sqlmeta

import (
	"context"

	"berth/internal/blob"
	"berth/internal/meta"
	"berth/internal/oci"
)

var (
	_ meta.Audit          = (*DB)(nil)
	_ meta.AuditManifests = (*DB)(nil)
	_ meta.Contradictions = (*DB)(nil)
)

// AuditBlobs implements meta.Audit.
func (db *DB) AuditBlobs(ctx context.Context, after string, limit int) ([]meta.AuditBlob, error) {
	var list []meta.AuditBlob
	err := db.reader.each(ctx, `SELECT digest, key, size, damaged FROM blobs WHERE digest > $1 ORDER BY digest LIMIT $2`, args{after, limit},
		func(scan func(...any) error) error {
			var b meta.AuditBlob
			err := scan(&b.Digest, &b.Key, &b.Size, &b.Damaged)
			list = append(list, b)
			return err
		})
	return list, err
}

// FindAuditBlob implements meta.Audit.
func (db *DB) FindAuditBlob(ctx context.Context, digest string) (meta.AuditBlob, error) {
	b := meta.AuditBlob{Digest: digest}
	err := db.reader.get(ctx, `SELECT key, size, damaged FROM blobs WHERE digest = $1`, args{digest}, &b.Key, &b.Size, &b.Damaged)
	return b, err
}

// IsMember implements meta.Audit.
func (db *DB) IsMember(ctx context.Context, repo int64, digest string) (bool, error) {
	var is bool
	err := db.reader.get(ctx, `SELECT EXISTS (SELECT 1 FROM repo_blobs WHERE repo_id = $1 AND digest = $2)`, args{repo, digest}, &is)
	return is, err
}

// AuditHolders implements meta.Audit.
func (db *DB) AuditHolders(ctx context.Context, digest string, limit int) ([]meta.AuditRepo, error) {
	var list []meta.AuditRepo
	err := db.reader.each(ctx, `SELECT r.id, r.name FROM repo_blobs m JOIN repos r ON r.id = m.repo_id WHERE m.digest = $1 LIMIT $2`,
		args{digest, limit}, func(scan func(...any) error) error {
			var r meta.AuditRepo
			err := scan(&r.ID, &r.Name)
			list = append(list, r)
			return err
		})
	return list, err
}

// scanAuditManifest reads id, repository's number and name, digest, type, size,
// subject and body.
func scanAuditManifest(scan func(...any) error) (m meta.AuditManifest, err error) {
	err = scan(&m.ID, &m.Repo.ID, &m.Repo.Name, &m.Digest, &m.MediaType, &m.Size, &m.Subject, &m.Body)
	return m, err
}

const sqlAuditManifest = `SELECT m.id, m.repo_id, COALESCE(r.name, ''), m.digest, m.media_type, m.size, m.subject, m.body
	FROM manifests m LEFT JOIN repos r ON r.id = m.repo_id `

// AuditManifests implements meta.AuditManifests.
func (db *DB) AuditManifests(ctx context.Context, after int64, limit int) ([]meta.AuditManifest, error) {
	var list []meta.AuditManifest
	err := db.reader.each(ctx, sqlAuditManifest+`WHERE m.id > $1 ORDER BY m.id LIMIT $2`, args{after, limit}, func(scan func(...any) error) error {
		m, err := scanAuditManifest(scan)
		db.suspect(m)
		list = append(list, m)
		return err
	})
	return list, err
}

// FindAuditManifest implements meta.AuditManifests. What is recorded of its parts is read
// between two readings of the manifest that must agree: each is of one moment.
func (db *DB) FindAuditManifest(ctx context.Context, id int64) (meta.AuditManifest, []string, error) {
	for {
		before, err := db.auditManifest(ctx, id)
		if err != nil {
			return before, nil, err
		}
		var refs []string
		err = db.reader.each(ctx, `SELECT digest FROM manifest_refs WHERE manifest_id = $1 AND repo_id = $2 ORDER BY digest`, args{id, before.Repo.ID},
			func(scan func(...any) error) error {
				var d string
				err := scan(&d)
				refs = append(refs, d)
				return err
			})
		if err != nil {
			return before, nil, err
		}
		after, err := db.auditManifest(ctx, id)
		if err != nil {
			return before, nil, err
		}
		if before.Repo == after.Repo && string(before.Body) == string(after.Body) && before.MediaType == after.MediaType {
			return after, refs, ctx.Err()
		}
	}
}

func (db *DB) auditManifest(ctx context.Context, id int64) (m meta.AuditManifest, err error) {
	err = db.reader.get(ctx, sqlAuditManifest+`WHERE m.id = $1`, args{id},
		&m.ID, &m.Repo.ID, &m.Repo.Name, &m.Digest, &m.MediaType, &m.Size, &m.Subject, &m.Body)
	db.suspect(m)
	return m, err
}

// FindAuditManifestOf implements meta.AuditManifests.
func (db *DB) FindAuditManifestOf(ctx context.Context, repo int64, digest string) (m meta.AuditManifest, err error) {
	err = db.reader.get(ctx, sqlAuditManifest+`WHERE m.repo_id = $1 AND m.digest = $2`, args{repo, digest},
		&m.ID, &m.Repo.ID, &m.Repo.Name, &m.Digest, &m.MediaType, &m.Size, &m.Subject, &m.Body)
	return m, err
}

// FindAuditUpload implements meta.Audit. One that is being ended is gone: its
// object may be, too.
func (db *DB) FindAuditUpload(ctx context.Context, id meta.UploadID) (meta.AuditUpload, error) {
	list := db.ledger.list(1, func(r *running) bool { return r.ID == id && !r.ending }, byID)
	if len(list) == 0 {
		return meta.AuditUpload{}, meta.ErrNotFound
	}
	return auditUpload(list[0]), ctx.Err()
}

// AuditUploads implements meta.Audit.
func (db *DB) AuditUploads(ctx context.Context, after meta.UploadID, limit int) ([]meta.AuditUpload, error) {
	var list []meta.AuditUpload
	for _, r := range db.ledger.behind(after, limit) {
		list = append(list, auditUpload(r))
	}
	return list, ctx.Err()
}

func auditUpload(r *running) meta.AuditUpload {
	return meta.AuditUpload{ID: r.ID, Repo: meta.AuditRepo{Name: r.Repo.String()}, Key: r.Key, Size: r.Size, Version: r.Version}
}

// KeyUse implements meta.Contradictions.
func (db *DB) KeyUse(ctx context.Context, key blob.Key) (meta.KeyUse, error) {
	runs := db.ledger.has(key) // it is asked first, as in KnownKey
	var blobs, garbage bool
	err := db.reader.get(ctx, `SELECT EXISTS (SELECT 1 FROM blobs WHERE key = $1), EXISTS (SELECT 1 FROM garbage WHERE key = $1)`,
		args{string(key)}, &blobs, &garbage)
	switch {
	case blobs:
		return meta.KeyOfBlob, err
	case runs:
		return meta.KeyOfUpload, err
	case garbage:
		return meta.KeyOfGarbage, err
	}
	return meta.KeyUnknown, err
}

// Totals implements meta.Contradictions.
func (db *DB) Totals(ctx context.Context) (meta.Totals, error) {
	t := meta.Totals{Uploads: db.ledger.count()}
	err := db.reader.get(ctx, `SELECT (SELECT count(*) FROM blobs), (SELECT COALESCE(sum(size), 0) FROM blobs), (SELECT count(*) FROM manifests),
		(SELECT count(*) FROM blobs WHERE damaged = 1)`, nil, &t.Blobs, &t.Bytes, &t.Manifests, &t.Damaged)
	return t, err
}

// AuditRepoID implements meta.Contradictions.
func (db *DB) AuditRepoID(ctx context.Context, repo oci.Repo) (int64, error) {
	var id int64
	err := db.reader.get(ctx, `SELECT id FROM repos WHERE name = $1`, args{repo.String()}, &id)
	return id, err
}

// CheckPages implements meta.Contradictions.
func (db *DB) CheckPages(ctx context.Context) error {
	return db.patiently(ctx, func(q querier) error { return checkStructure(ctx, q) })
}

// Contradictions implements meta.Contradictions.
func (db *DB) Contradictions(ctx context.Context, found func(meta.Contradiction) error) error {
	db.hot.Forget() // what is found is then what clients find, too, and pushing heals it
	return db.patiently(ctx, func(q querier) error {
		for _, f := range faults() {
			err := q.each(ctx, f.text, nil, func(scan func(...any) error) error {
				c := meta.Contradiction{Fault: f.fault}
				if err := scan(&c.Repo.ID, &c.Repo.Name, &c.Digest, &c.Name); err != nil {
					return err
				}
				return found(c)
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// patiently runs queries that take long, on a connection of their own.
func (db *DB) patiently(_ context.Context, run func(querier) error) error {
	pool, err := openSQLite(db.path, live, readerPragmas(), db.opts.wrap)
	if err != nil {
		return err
	}
	q := &reader{pool: pool, dialect: sqliteDialect(), patient: true, settled: db.writer.settled}
	defer q.close()
	return run(q)
}
