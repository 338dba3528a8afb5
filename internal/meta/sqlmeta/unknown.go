package sqlmeta

import (
	"context"
	"errors"
	"time"

	"berth/internal/meta/hot"
	"berth/internal/oci"
)

// What surely is unknown is told from memory: DB.unknown has, of every digest that
// the database says anything of, the key of a content, and of every tag its key.
//
// It can say so only as long as nobody puts anything into the database behind its
// back. The hook that tells of every row that the writer changes adds to it while the
// statement runs: so before there is a record or a COMMIT, whatever becomes of them,
// and whatever changes the row. What is repeated, because its transaction was lost,
// has been told of before. What the file of records of another process is repeated
// from, migrations, and what takes the place of a lost database happen while this one is
// opened, before anything is learnt. Another Berth is refused while this one runs,
// since it cannot lock the file of records. Only a person with a shell of SQLite is
// left, of whom ADR 0032 speaks; the constraints of the tables refuse what does not
// fit together, as ever.
//
// A database that several servers write to leaves it out: nil knows nothing.

// How many keys are read at once, and how many times as long is rested then.
const (
	learnAtOnce = 1000
	learnRest   = 10
)

// ofDigest is the key of all that the database may say of a digest: that it is the
// content of a blob, that a repository has lost it, or that it is a manifest.
func ofDigest(d string) hot.Key { return hot.Key{Kind: hotContents, Name: d} }

// ofTag is the key of a tag.
func ofTag(repo int64, tag string) hot.Key { return hot.Key{Kind: hotTag, Repo: repo, Name: tag} }

// known adds what a row is about to say.
func (c *changes) known(table string, row []any) {
	switch table {
	case "blobs":
		c.unknown.Add(ofDigest(row[0].(string)))
	case "losses":
		c.unknown.Add(ofDigest(row[1].(string)))
	case "manifests":
		c.unknown.Add(ofDigest(row[2].(string)))
	case "tags":
		c.unknown.Add(ofTag(row[0].(int64), row[1].(string)))
	}
}

// Learn reads what there is, a little at a time, so that what there is not is known
// from memory then. It is to be called anew whenever Learnable says so: then too much
// has come, and gone.
func (db *DB) Learn(ctx context.Context) error {
	for db.unknown.Begin() {
		// Whatever was changed before that is committed then. What is changed later is
		// added by who changes it.
		err := db.writer.do(ctx, outside, func(context.Context, *tx) error { return nil })
		if err != nil {
			return err
		}
		err = everyKey(ctx, asItIs{db.reader}, db.unknown.Found, rest)
		if err == nil {
			db.unknown.End()
		}
		if !errors.Is(err, errMoreKeys) {
			return err
		}
	}
	return nil
}

// Learnable tells when it is time to Learn again.
func (db *DB) Learnable() <-chan struct{} { return db.unknown.Full() }

// rest waits some times as long as something has taken.
func rest(ctx context.Context, taken time.Duration) error {
	over := time.NewTimer(learnRest * taken)
	defer over.Stop()
	select {
	case <-over.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// errMoreKeys says that there are more keys than were expected.
var errMoreKeys = errors.New("sqlmeta: there are more keys")

// everyKey calls found with all keys that there are, until it returns false, and
// between pages of them rest with how long the page took.
func everyKey(ctx context.Context, q querier, found func(hot.Key) bool, rest func(context.Context, time.Duration) error) error {
	for _, of := range []struct {
		text string
		key  func(repo int64, name string) hot.Key
	}{
		{`SELECT 0, digest FROM blobs WHERE digest > $2 AND $1 = 0 ORDER BY digest LIMIT $3`, func(_ int64, d string) hot.Key { return ofDigest(d) }},
		{`SELECT repo_id, digest FROM losses WHERE (repo_id, digest) > ($1, $2) ORDER BY repo_id, digest LIMIT $3`, func(_ int64, d string) hot.Key { return ofDigest(d) }},
		{`SELECT repo_id, digest FROM manifests WHERE (repo_id, digest) > ($1, $2) ORDER BY repo_id, digest LIMIT $3`, func(_ int64, d string) hot.Key { return ofDigest(d) }},
		{`SELECT repo_id, name FROM tags WHERE (repo_id, name) > ($1, $2) ORDER BY repo_id, name LIMIT $3`, ofTag},
	} {
		var repo int64
		var name string
		for n := learnAtOnce; n == learnAtOnce; {
			began := time.Now()
			n = 0
			err := q.each(ctx, of.text, args{repo, name, learnAtOnce}, func(scan func(...any) error) error {
				n++
				if err := scan(&repo, &name); err != nil {
					return err
				}
				if !found(of.key(repo, name)) {
					return errMoreKeys
				}
				return nil
			})
			if err == nil && n == learnAtOnce {
				err = rest(ctx, time.Since(began))
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// surelyNowhere reports whether nobody has anything of d: neither as a blob nor as a
// manifest, nor was it lost.
func (db *DB) surelyNowhere(ctx context.Context, d oci.Digest) bool {
	if !db.unknown.Lacks(ofDigest(d.String())) {
		return false
	}
	if db.doubts(ctx) {
		if has, err := content(ctx, db.reader, d, sqlContent); !isNotFound(err) && db.unknown.Lacks(ofDigest(d.String())) {
			db.doubt(db.hot.View(), "content "+d.String(), nil, has, err)
		}
	}
	return true
}
