package sqlmeta

import (
	"context"
	"encoding/json"
	"fmt"

	"berth/internal/meta"
	"berth/internal/oci"
)

// repos collects the names that a query finds.
func repos(ctx context.Context, q querier, text string, a args) ([]oci.Repo, error) {
	var list []oci.Repo
	err := q.each(ctx, text, a, func(scan func(...any) error) error {
		var name string
		if err := scan(&name); err != nil {
			return err
		}
		repo, err := oci.ParseRepo(name)
		list = append(list, repo)
		return err
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// Repos implements meta.Listings.
func (db *DB) Repos(ctx context.Context, after string, limit int) ([]oci.Repo, error) {
	return repos(ctx, db.reader, `SELECT name FROM repos WHERE listed = 1 AND name > $1 ORDER BY name LIMIT $2`, args{after, limit})
}

// HasRepo implements meta.Listings.
func (db *DB) HasRepo(ctx context.Context, repo oci.Repo) (bool, error) {
	var has bool
	err := db.reader.get(ctx, `SELECT EXISTS (SELECT 1 FROM repos r WHERE name = $1 AND (removed = 0
		OR EXISTS (SELECT 1 FROM manifests WHERE repo_id = r.id) OR EXISTS (SELECT 1 FROM repo_blobs WHERE repo_id = r.id)))`, args{repo.String()}, &has)
	return has, err
}

// Tags implements meta.Listings.
func (db *DB) Tags(ctx context.Context, repo oci.Repo, after string, limit int) ([]meta.Tag, error) {
	var list []meta.Tag
	err := db.reader.each(ctx, `SELECT t.name, t.digest FROM repos r JOIN tags t ON t.repo_id = r.id
		WHERE r.name = $1 AND t.name > $2 ORDER BY t.name LIMIT $3`, args{repo.String(), after, limit},
		func(scan func(...any) error) error {
			var name, digest string
			if err := scan(&name, &digest); err != nil {
				return err
			}
			tag, err := oci.ParseTag(name)
			if err != nil {
				return err
			}
			d, err := oci.ParseDigest(digest)
			list = append(list, meta.Tag{Name: tag, Digest: d})
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("list tags of %s: %w", repo, err)
	}
	return list, nil
}

// The two ways to list referrers: each has its own index, so that neither reads
// more than it returns.
const (
	sqlReferrers = `SELECT m.media_type, m.digest, m.size, m.artifact_type, m.annotations FROM repos r JOIN manifests m ON m.repo_id = r.id
		WHERE r.name = $1 AND m.subject = $2 AND m.subject <> '' AND m.digest > $3 ORDER BY m.digest LIMIT $4`
	sqlReferrersOfType = `SELECT m.media_type, m.digest, m.size, m.artifact_type, m.annotations FROM repos r JOIN manifests m ON m.repo_id = r.id
		WHERE r.name = $1 AND m.subject = $2 AND m.subject <> '' AND m.digest > $3 AND m.artifact_type = $5 ORDER BY m.digest LIMIT $4`
)

// Referrers implements meta.Listings.
func (db *DB) Referrers(ctx context.Context, repo oci.Repo, subject oci.Digest, artifactType, after string, limit int) ([]oci.Descriptor, error) {
	text, a := sqlReferrers, args{repo.String(), subject.String(), after, limit}
	if artifactType != "" {
		text, a = sqlReferrersOfType, append(a, artifactType)
	}
	var list []oci.Descriptor
	err := db.reader.each(ctx, text, a, func(scan func(...any) error) error {
		var d oci.Descriptor
		var digest, annotations string
		err := scan(&d.MediaType, &digest, &d.Size, &d.ArtifactType, &annotations)
		if err == nil {
			d.Digest, err = oci.ParseDigest(digest)
		}
		if err == nil && annotations != "" {
			err = json.Unmarshal([]byte(annotations), &d.Annotations)
		}
		list = append(list, d)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list referrers of %s in %s: %w", subject, repo, err)
	}
	return list, nil
}
