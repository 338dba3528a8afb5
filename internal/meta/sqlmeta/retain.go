package sqlmeta

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"berth/internal/meta"
	"berth/internal/oci"
)

var _ meta.Retaining = (*DB)(nil)

// RepoState implements meta.Retaining.
func (db *DB) RepoState(ctx context.Context, repo oci.Repo) (meta.RepoState, error) {
	s, err := db.repoState(ctx, repo)
	if err != nil {
		return meta.RepoState{}, fmt.Errorf("read what %s has: %w", repo, err)
	}
	return s, nil
}

func (db *DB) repoState(ctx context.Context, repo oci.Repo) (s meta.RepoState, err error) {
	if s.UsesSince, err = db.UsesSince(ctx); err != nil {
		return s, err
	}
	var id int64
	err = db.reader.get(ctx, `SELECT id FROM repos WHERE name = $1`, args{repo.String()}, &id)
	if isNotFound(err) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	// Tags come first: a tag that is made meanwhile is then missed together with
	// its manifest, or its manifest looks as young as it is.
	if s.Tags, err = db.tagStates(ctx, repo, id); err != nil {
		return s, err
	}
	if s.Manifests, err = db.manifestStates(ctx, id); err != nil {
		return s, err
	}
	return s, db.untaggedTimes(ctx, repo, s.Manifests)
}

// untaggedTimes fills in when manifests lost a tag, as far as that is remembered.
func (db *DB) untaggedTimes(ctx context.Context, repo oci.Repo, list []meta.ManifestState) error {
	return db.reader.each(ctx, `SELECT was, time_us FROM tag_history WHERE repo = $1 AND was <> ''`, args{repo.String()},
		func(scan func(...any) error) error {
			var digest string
			var at int64
			if err := scan(&digest, &at); err != nil {
				return err
			}
			i, found := slices.BinarySearchFunc(list, digest, func(m meta.ManifestState, d string) int { return strings.Compare(m.Digest.String(), d) })
			if at := instant(at); found && at.After(list[i].Untagged) {
				list[i].Untagged = at
			}
			return nil
		})
}

func (db *DB) tagStates(ctx context.Context, repo oci.Repo, id int64) (list []meta.TagState, err error) {
	err = db.reader.each(ctx, `SELECT name, digest, moved_us FROM tags WHERE repo_id = $1 ORDER BY name`, args{id}, func(scan func(...any) error) error {
		var t meta.TagState
		var name, digest string
		var moved int64
		err := scan(&name, &digest, &moved)
		if err == nil {
			t.Name, err = oci.ParseTag(name)
		}
		if err == nil {
			t.Digest, err = oci.ParseDigest(digest)
		}
		t.Moved = instant(moved)
		t.Immutable = err == nil && db.opts.Immutable != nil && db.opts.Immutable(repo, t.Name)
		list = append(list, t)
		return err
	})
	return list, err
}

// instant is the time of a column that ends in _us, in which 0 is no time.
func instant(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

func (db *DB) manifestStates(ctx context.Context, id int64) ([]meta.ManifestState, error) {
	var list []meta.ManifestState
	places := map[string]int{}
	err := db.reader.each(ctx, `SELECT m.digest, m.size, m.subject, m.pushed_us, COALESCE(p.pulled_us, 0), COALESCE(p.pushed_us, 0), COALESCE(p.seen_us, 0)
		FROM manifests m LEFT JOIN pulls p ON p.manifest_id = m.id WHERE m.repo_id = $1 ORDER BY m.digest`, args{id}, func(scan func(...any) error) error {
		var m meta.ManifestState
		var digest, subject string
		var pushed, pulled, again, seen int64
		err := scan(&digest, &m.Size, &subject, &pushed, &pulled, &again, &seen)
		if err == nil {
			m.Digest, err = oci.ParseDigest(digest)
		}
		if err == nil && subject != "" {
			m.Subject, err = oci.ParseDigest(subject)
		}
		m.Pushed, m.Pulled, m.Again, m.Seen = instant(pushed), instant(pulled), instant(again), instant(seen)
		places[digest] = len(list)
		list = append(list, m)
		return err
	})
	if err != nil {
		return nil, err
	}
	// From the manifests that may be parts, since there are fewer of them than of
	// references.
	err = db.reader.each(ctx, `SELECT h.digest, c.digest FROM manifests c CROSS JOIN manifest_refs f ON f.repo_id = c.repo_id AND f.digest = c.digest
		CROSS JOIN manifests h ON h.id = f.manifest_id WHERE c.repo_id = $1`, args{id}, func(scan func(...any) error) error {
		var holder, part string
		if err := scan(&holder, &part); err != nil {
			return err
		}
		from, ok := places[holder]
		to, there := places[part]
		if ok && there { // or it was pushed since
			list[from].Parts = append(list[from].Parts, list[to].Digest)
		}
		return nil
	})
	return list, err
}

// NeededOnlyBy implements meta.Retaining.
func (db *DB) NeededOnlyBy(ctx context.Context, repo oci.Repo, manifests []oci.Digest) ([]meta.Member, error) {
	if len(manifests) == 0 {
		return nil, nil
	}
	var id int64
	if err := db.reader.get(ctx, `SELECT id FROM repos WHERE name = $1`, args{repo.String()}, &id); err != nil {
		return nil, notFound(err, "blobs", repo)
	}
	gone := map[int64]bool{}
	for _, d := range manifests {
		var m int64
		err := db.reader.get(ctx, `SELECT id FROM manifests WHERE repo_id = $1 AND digest = $2`, args{id, d.String()}, &m)
		if err != nil && !isNotFound(err) {
			return nil, err
		}
		gone[m] = true
	}
	return db.neededBy(ctx, repo, id, gone)
}
