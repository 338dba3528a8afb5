package sqlmeta

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"berth/internal/meta"
	"berth/internal/meta/hot"
	"berth/internal/oci"
)

// The two ways to list referrers: each has its own index, so that neither reads
// more than it returns. The repository is a row of its own if nothing refers to
// the subject.
const (
	sqlReferrers = `SELECT r.id, m.media_type, m.digest, coalesce(m.size, 0), m.artifact_type, m.annotations
		FROM repos r LEFT JOIN manifests m ON m.repo_id = r.id AND m.subject = $2 AND m.subject <> '' AND m.digest > $3
		WHERE r.name = $1 ORDER BY m.digest LIMIT $4`
	sqlReferrersOfType = `SELECT r.id, m.media_type, m.digest, coalesce(m.size, 0), m.artifact_type, m.annotations
		FROM repos r LEFT JOIN manifests m ON m.repo_id = r.id AND m.subject = $2 AND m.subject <> '' AND m.digest > $3 AND m.artifact_type = $5
		WHERE r.name = $1 ORDER BY m.digest LIMIT $4`
)

var (
	errEnough      = errors.New("enough")
	errAnnotations = errors.New("the recorded annotations are no JSON")
)

// Referrers implements meta.Listings.
func (db *DB) Referrers(ctx context.Context, q meta.ReferrerQuery) ([]oci.Entry, error) {
	key := hot.Key{Kind: hotReferrers, Name: q.Subject.String(), Page: pageOf(q.After, q.Limit) + " " + strconv.Itoa(q.Bytes) + " " + q.Type}
	v := db.hot.View()
	var known bool
	if key.Repo, known = hotNumber(v, q.Repo); known {
		if list, ok := v.Get(key).([]oci.Entry); ok && v.Whole() {
			return list, nil
		}
	}
	moment := db.hot.Moment()
	found, err := db.findReferrers(ctx, q)
	var list []oci.Entry
	if err == nil {
		list, err = found.list()
	}
	if err != nil {
		return nil, fmt.Errorf("list referrers of %s in %s: %w", q.Subject, q.Repo, err)
	}
	if key.Repo = found.repo; key.Repo != 0 {
		key.Name = strings.Clone(key.Name)
		db.keepRepo(moment, q.Repo, hotRepoRow{id: key.Repo})
		db.hot.Put(moment, key, list, 32+32*int64(cap(list))+int64(len(found.text)))
	}
	return list, nil
}

func (db *DB) findReferrers(ctx context.Context, q meta.ReferrerQuery) (found referrers, err error) {
	text, a := sqlReferrers, args{q.Repo.String(), q.Subject.String(), q.After, q.Limit}
	if q.Type != "" {
		text, a = sqlReferrersOfType, append(a, q.Type)
	}
	err = db.reader.only(ctx, func(from querier) ([]hot.Key, error) {
		found = referrers{}
		err := from.each(ctx, text, a, func(scan func(...any) error) error {
			if err := found.add(scan); err != nil {
				return err
			}
			if q.Bytes > 0 && found.length > q.Bytes && len(found.parts) > 1 {
				return errEnough
			}
			return nil
		})
		if errors.Is(err, errEnough) {
			err = nil
		}
		return []hot.Key{{Kind: hotRepo, Name: q.Repo.String()}, {Kind: hotReferrers, Repo: found.repo, Name: q.Subject.String()}}, err
	})
	return found, err
}

// referrers are what rows are made into: entries of an index, all in one text.
type referrers struct {
	repo   int64 // the number of their repository; 0: there is none
	text   []byte
	parts  []struct{ digest, end int } // where each one's digest ends in text, and the JSON behind that
	length int                         // of what is JSON

	mediaType, digest, artifactType, annotations sql.RawBytes
	size                                         int64
}

// add adds the row that scan reads.
func (r *referrers) add(scan func(...any) error) error {
	if err := scan(&r.repo, &r.mediaType, &r.digest, &r.size, &r.artifactType, &r.annotations); err != nil {
		return err
	}
	if len(r.digest) == 0 {
		return nil // the row is the repository's
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
