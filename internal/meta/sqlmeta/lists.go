package sqlmeta

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

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

// Lists of names come as one row, all names in one text: fetching a row costs
// more than finding it. SQLite concatenates in the order in which the rows come
// from within.
const (
	sqlRepos = `SELECT COALESCE(string_agg(name, ' '), '') FROM
		(SELECT name FROM repos WHERE listed = 1 AND name > $1 ORDER BY name LIMIT $2) AS page`
	sqlTagNames = `SELECT COALESCE(string_agg(name, ' '), '') FROM
		(SELECT t.name FROM repos r JOIN tags t ON t.repo_id = r.id WHERE r.name = $1 AND t.name > $2 ORDER BY t.name LIMIT $3) AS page`
)

// names returns the names that a query finds as one text with spaces between
// them, in byte order.
func names[T fmt.Stringer](ctx context.Context, q querier, text string, a args, parse func(string) (T, error)) ([]T, error) {
	var all string
	if err := q.get(ctx, text, a, &all); err != nil {
		return nil, err
	}
	return split(all, parse)
}

// split takes apart what names got.
func split[T fmt.Stringer](all string, parse func(string) (T, error)) ([]T, error) {
	if all == "" {
		return nil, nil
	}
	list := make([]T, 0, strings.Count(all, " ")+1)
	sorted, last := true, ""
	for name := range strings.SplitSeq(all, " ") {
		one, err := parse(name)
		if err != nil {
			return nil, err
		}
		list = append(list, one)
		sorted, last = sorted && last < name, name
	}
	if !sorted { // no database promises the order
		slices.SortFunc(list, func(a, b T) int { return strings.Compare(a.String(), b.String()) })
	}
	return list, nil
}

// Repos implements meta.Listings.
func (db *DB) Repos(ctx context.Context, after string, limit int) ([]oci.Repo, error) {
	return names(ctx, db.reader, sqlRepos, args{after, limit}, oci.ParseRepo)
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

// TagNames implements meta.Listings.
func (db *DB) TagNames(ctx context.Context, repo oci.Repo, after string, limit int) ([]oci.Tag, error) {
	list, err := names(ctx, db.reader, sqlTagNames, args{repo.String(), after, limit}, oci.ParseTag)
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

var (
	errEnough      = errors.New("enough")
	errAnnotations = errors.New("the recorded annotations are no JSON")
)

// Referrers implements meta.Listings.
func (db *DB) Referrers(ctx context.Context, q meta.ReferrerQuery) ([]oci.Entry, error) {
	text, a := sqlReferrers, args{q.Repo.String(), q.Subject.String(), q.After, q.Limit}
	if q.Type != "" {
		text, a = sqlReferrersOfType, append(a, q.Type)
	}
	var e referrers
	err := db.reader.each(ctx, text, a, func(scan func(...any) error) error {
		if err := e.add(scan); err != nil {
			return err
		}
		if q.Bytes > 0 && e.length > q.Bytes && len(e.parts) > 1 {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	var list []oci.Entry
	if err == nil {
		list, err = e.list()
	}
	if err != nil {
		return nil, fmt.Errorf("list referrers of %s in %s: %w", q.Subject, q.Repo, err)
	}
	return list, nil
}

// referrers are what rows are made into: entries of an index, all in one text.
type referrers struct {
	text   []byte
	parts  []struct{ digest, end int } // where each one's digest ends in text, and the JSON behind that
	length int                         // of what is JSON

	mediaType, digest, artifactType, annotations sql.RawBytes
	size                                         int64
}

// add adds the row that scan reads.
func (r *referrers) add(scan func(...any) error) error {
	if err := scan(&r.mediaType, &r.digest, &r.size, &r.artifactType, &r.annotations); err != nil {
		return err
	}
	if len(r.annotations) > 0 && !json.Valid(r.annotations) {
		return errAnnotations
	}
	r.text = append(r.text, r.digest...)
	digest := len(r.text)
	r.text = oci.AppendEntry(r.text, r.mediaType, r.digest, r.size, r.artifactType, r.annotations)
	r.parts = append(r.parts, struct{ digest, end int }{digest, len(r.text)})
	r.length += len(r.text) - digest
	return nil
}

// list returns the entries.
func (r *referrers) list() ([]oci.Entry, error) {
	list := make([]oci.Entry, len(r.parts))
	text, begin := string(r.text), 0
	for i, part := range r.parts {
		var err error
		if list[i].Digest, err = oci.ParseDigest(text[begin:part.digest]); err != nil {
			return nil, err
		}
		list[i].JSON, begin = text[part.digest:part.end], part.end
	}
	return list, nil
}
