package sqlmeta

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"berth/internal/meta"
	"berth/internal/meta/hot"
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
	sqlTagNames = `SELECT r.id, COALESCE((SELECT string_agg(name, ' ') FROM
		(SELECT t.name FROM tags t WHERE t.repo_id = r.id AND t.name > $2 ORDER BY t.name LIMIT $3) AS page), '') FROM repos r WHERE r.name = $1`
)

// split takes apart names with spaces between them, and returns them in byte order.
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
	key := hot.Key{Kind: hotCatalog, Page: pageOf(after, limit)}
	v := db.hot.View()
	if list, ok := v.Get(key).([]oci.Repo); ok && v.Whole() {
		return list, nil
	}
	moment := db.hot.Moment()
	var all string
	err := db.reader.only(ctx, func(q querier) ([]hot.Key, error) {
		return []hot.Key{{Kind: hotCatalog}}, q.get(ctx, sqlRepos, args{after, limit}, &all)
	})
	if err != nil {
		return nil, fmt.Errorf("list repositories: %w", err)
	}
	list, err := split(all, oci.ParseRepo)
	if err != nil {
		return nil, fmt.Errorf("list repositories: %w", err)
	}
	db.hot.Put(moment, key, list, sizeNames(list, all))
	return list, nil
}

// HasRepo implements meta.Listings.
func (db *DB) HasRepo(ctx context.Context, repo oci.Repo) (bool, error) {
	removed := false
	err := db.reader.only(ctx, func(q querier) ([]hot.Key, error) {
		return []hot.Key{{Kind: hotRepo, Name: repo.String()}}, q.get(ctx, `SELECT removed FROM repos WHERE name = $1`, args{repo.String()}, &removed)
	})
	if isNotFound(err) || err == nil && !removed {
		return err == nil, nil
	}
	if err != nil {
		return false, err
	}
	var has bool
	err = db.reader.get(ctx, `SELECT EXISTS (SELECT 1 FROM repos r WHERE name = $1 AND (removed = 0
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

// TagNames implements meta.Listings. A crowd that wants the same list shares one, as
// FindManifest's does: each list of its own would be larger than what is sent.
func (db *DB) TagNames(ctx context.Context, repo oci.Repo, after string, limit int) ([]oci.Tag, error) {
	if list, known := db.hotTagNames(repo, after, limit); known {
		return list, nil
	}
	if _, err := db.enterFinding(ctx); err != nil {
		return nil, err
	}
	defer func() { <-db.finding }()
	if list, known := db.hotTagNames(repo, after, limit); known { // by now
		return list, nil
	}
	return db.readTagNames(ctx, repo, after, limit)
}

// hotTagNames is TagNames as far as it is known from memory.
func (db *DB) hotTagNames(repo oci.Repo, after string, limit int) ([]oci.Tag, bool) {
	v := db.hot.View()
	id, known := hotNumber(v, repo)
	if !known {
		return nil, false
	}
	list, ok := v.Get(hot.Key{Kind: hotTags, Repo: id, Page: pageOf(after, limit)}).([]oci.Tag)
	return list, ok && v.Whole()
}

// readTagNames finds a page in the database, and keeps it.
func (db *DB) readTagNames(ctx context.Context, repo oci.Repo, after string, limit int) ([]oci.Tag, error) {
	key := hot.Key{Kind: hotTags, Page: pageOf(after, limit)}
	moment := db.hot.Moment()
	var all string
	err := db.reader.only(ctx, func(q querier) ([]hot.Key, error) {
		keys := []hot.Key{{Kind: hotRepo, Name: repo.String()}}
		err := q.get(ctx, sqlTagNames, args{repo.String(), after, limit}, &key.Repo, &all)
		if err == nil {
			keys = append(keys, hot.Key{Kind: hotTags, Repo: key.Repo})
		}
		return keys, err
	})
	if isNotFound(err) {
		return nil, nil
	}
	var list []oci.Tag
	if err == nil {
		list, err = split(all, oci.ParseTag)
	}
	if err != nil {
		return nil, fmt.Errorf("list tags of %s: %w", repo, err)
	}
	db.keepRepo(moment, repo, hotRepoRow{id: key.Repo})
	db.hot.Put(moment, key, list, sizeNames(list, all))
	return list, nil
}

// pageOf tells pages of a list apart.
func pageOf(after string, limit int) string { return strconv.Itoa(limit) + " " + after }

// sizeNames is what a list takes in memory whose names are parts of all.
func sizeNames[T any](list []T, all string) int64 { return 32 + 16*int64(cap(list)) + int64(len(all)) }
