package sqlmeta

import (
	"context"

	"berth/internal/meta"
	"berth/internal/oci"
)

var _ meta.Inventory = (*DB)(nil)

// RepoBlobs implements meta.Inventory.
func (db *DB) RepoBlobs(ctx context.Context, repo oci.Repo, after string, limit int) ([]meta.Blob, error) {
	var list []meta.Blob
	err := db.reader.each(ctx, `SELECT b.digest, b.key, b.size, b.damaged FROM repos r
		JOIN repo_blobs m ON m.repo_id = r.id JOIN blobs b ON b.digest = m.digest
		WHERE r.name = $1 AND m.digest > $2 ORDER BY m.digest LIMIT $3`,
		args{repo.String(), after, limit}, func(scan func(...any) error) error {
			b := meta.Blob{Left: meta.Forever}
			var digest string
			err := scan(&digest, &b.Key, &b.Size, &b.Damaged)
			if err == nil {
				b.Digest, err = oci.ParseDigest(digest)
			}
			list = append(list, b)
			return err
		})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// RepoManifests implements meta.Inventory.
func (db *DB) RepoManifests(ctx context.Context, repo oci.Repo, after string, limit int) ([]meta.Manifest, error) {
	var list []meta.Manifest
	err := db.reader.each(ctx, `SELECT m.digest, m.media_type, m.body FROM repos r JOIN manifests m ON m.repo_id = r.id
		WHERE r.name = $1 AND m.digest > $2 ORDER BY m.digest LIMIT $3`,
		args{repo.String(), after, limit}, func(scan func(...any) error) error {
			var m meta.Manifest
			var digest string
			err := scan(&digest, &m.MediaType, &m.Body)
			if err == nil {
				m.Digest, err = oci.ParseDigest(digest)
			}
			list = append(list, m)
			return err
		})
	if err != nil {
		return nil, err
	}
	return list, nil
}
