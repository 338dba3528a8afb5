package sqlmeta

import (
	"context"
	"strings"
	"time"

	"berth/internal/meta"
	"berth/internal/meta/hot"
	"berth/internal/oci"
)

// hotBlob returns the record of a blob, and whether the repository has it.
func (db *DB) hotBlob(v hot.View, id int64, d oci.Digest) (meta.Blob, bool) {
	m, ok := v.Get(hot.Key{Kind: hotMembers, Repo: id, Name: d.String()}).(*hotMember)
	if !ok {
		return meta.Blob{}, false
	}
	b, ok := v.Get(hot.Key{Kind: hotContents, Name: d.String()}).(*meta.Blob)
	if !ok {
		return meta.Blob{}, false
	}
	return db.withGrace(*b, *m), true
}

// hotBlobGood reports whether the repository has a blob that is not damaged.
func hotBlobGood(v hot.View, id int64, d oci.Digest) bool {
	if v.Get(hot.Key{Kind: hotMembers, Repo: id, Name: d.String()}) == nil {
		return false
	}
	b, ok := v.Get(hot.Key{Kind: hotContents, Name: d.String()}).(*meta.Blob)
	return ok && !b.Damaged
}

// withGrace adds what the membership says to a blob's record.
func (db *DB) withGrace(b meta.Blob, m hotMember) meta.Blob {
	b.Left = meta.Forever
	if m.candidate {
		b.Left = max(0, time.Duration(m.touched-db.clock.ticks())+db.opts.Grace)
	}
	return b
}

// FindBlob implements meta.Blobs.
func (db *DB) FindBlob(ctx context.Context, repo oci.Repo, d oci.Digest) (meta.Blob, error) {
	if db.hotNowhere(ctx, d) {
		return meta.Blob{}, notFound(meta.ErrNotFound, "blob "+d.String(), repo)
	}
	v := db.hot.View()
	if id, ok := hotNumber(v, repo); ok {
		if b, ok := db.hotBlob(v, id, d); ok && v.Whole() {
			if db.opts.Doubt != nil {
				has, err := db.readBlob(ctx, repo, d)
				if (b.Left - has.Left).Abs() < time.Minute { // it becomes less all the time
					has.Left = b.Left
				}
				db.doubt(v, "blob "+d.String()+" of "+repo.String(), b, has, err)
			}
			return b, nil
		}
	}
	return db.readBlob(ctx, repo, d)
}

// readBlob finds a membership in the database, and keeps it. What is not there is
// asked for once more by a push, of which it is the beginning: that there is no
// such content anywhere is kept, too.
func (db *DB) readBlob(ctx context.Context, repo oci.Repo, d oci.Digest) (meta.Blob, error) {
	moment := db.hot.Moment()
	v := db.hot.View()
	if id, ok := hotNumber(v, repo); ok {
		b, m, err := db.readMember(ctx, id, d)
		if v.Still() && (err == nil || isNotFound(err)) { // else the repository may be another by now
			return db.foundMember(moment, repo, id, b, m, err)
		}
	}
	b := meta.Blob{Digest: d}
	var m hotMember
	var id int64
	err := db.reader.get(ctx, `SELECT r.id, b.key, b.size, b.damaged, m.touched, m.candidate
		FROM repos r JOIN repo_blobs m ON m.repo_id = r.id JOIN blobs b ON b.digest = m.digest
		WHERE r.name = $1 AND m.digest = $2`,
		args{repo.String(), d.String()}, &id, &b.Key, &b.Size, &b.Damaged, &m.touched, &m.candidate)
	if err != nil {
		return meta.Blob{}, notFound(err, "blob "+d.String(), repo)
	}
	db.keepRepo(moment, repo, id)
	db.keepMember(moment, id, d, m)
	db.keepContent(moment, b)
	return db.withGrace(b, m), nil
}

// foundMember keeps what readMember has found at moment, and returns it.
func (db *DB) foundMember(moment hot.Moment, repo oci.Repo, id int64, b meta.Blob, m *hotMember, err error) (meta.Blob, error) {
	switch {
	case err != nil:
		db.keepNowhere(moment, b.Digest)
	case m == nil:
		db.keepContent(moment, b)
		err = meta.ErrNotFound
	default:
		db.keepMember(moment, id, b.Digest, *m)
		db.keepContent(moment, b)
		return db.withGrace(b, *m), nil
	}
	return meta.Blob{}, notFound(err, "blob "+b.Digest.String(), repo)
}

// readMember is readBlob in a repository whose number is known. It looks for the
// content first, which ends it if there is none; m is nil if the repository does
// not have it.
func (db *DB) readMember(ctx context.Context, id int64, d oci.Digest) (b meta.Blob, m *hotMember, err error) {
	b = meta.Blob{Digest: d, Left: meta.Forever}
	var has hotMember
	var is bool
	err = db.reader.get(ctx, `SELECT b.key, b.size, b.damaged, m.digest IS NOT NULL, COALESCE(m.touched, 0), COALESCE(m.candidate, 0)
		FROM blobs b LEFT JOIN repo_blobs m ON m.repo_id = $1 AND m.digest = b.digest WHERE b.digest = $2`,
		args{id, d.String()}, &b.Key, &b.Size, &b.Damaged, &is, &has.touched, &has.candidate)
	if is {
		m = &has
	}
	return b, m, err
}

// nowhere is the page of a content that says that there is none.
const nowhere = "-"

// hotNowhere reports whether it is in memory that there is no such content, in
// whatever repository.
func (db *DB) hotNowhere(ctx context.Context, d oci.Digest) bool {
	v := db.hot.View()
	if v.Get(hot.Key{Kind: hotContents, Name: d.String(), Page: nowhere}) == nil || !v.Whole() {
		return false
	}
	if db.opts.Doubt != nil {
		if has, err := content(ctx, db.reader, d, sqlContent); !isNotFound(err) {
			db.doubt(v, "content "+d.String(), nil, has, err)
		}
	}
	return true
}

func (db *DB) keepNowhere(moment hot.Moment, d oci.Digest) {
	db.hot.Put(moment, hot.Key{Kind: hotContents, Name: strings.Clone(d.String()), Page: nowhere}, true, 0)
}

// FindContent implements meta.Blobs.
func (db *DB) FindContent(ctx context.Context, d oci.Digest) (meta.Blob, error) {
	if db.hotNowhere(ctx, d) {
		return meta.Blob{}, meta.ErrNotFound
	}
	v := db.hot.View()
	if b, ok := v.Get(hot.Key{Kind: hotContents, Name: d.String()}).(*meta.Blob); ok && v.Whole() {
		if db.opts.Doubt != nil {
			has, err := db.readContent(ctx, d)
			db.doubt(v, "content "+d.String(), *b, has, err)
		}
		return *b, nil
	}
	return db.readContent(ctx, d)
}

// readContent finds content in the database, and keeps it.
func (db *DB) readContent(ctx context.Context, d oci.Digest) (meta.Blob, error) {
	moment := db.hot.Moment()
	b, err := content(ctx, db.reader, d, sqlContent)
	if err == nil {
		db.keepContent(moment, b)
	}
	return b, err
}

func (db *DB) keepMember(moment hot.Moment, id int64, d oci.Digest, m hotMember) {
	db.hot.Put(moment, hot.Key{Kind: hotMembers, Repo: id, Name: strings.Clone(d.String())}, &m, sizeMember)
}

func (db *DB) keepContent(moment hot.Moment, b meta.Blob) {
	b.Left = meta.Forever
	name := strings.Clone(b.Digest.String())
	if d, err := oci.ParseDigest(name); err == nil {
		b.Digest = d
	}
	db.hot.Put(moment, hot.Key{Kind: hotContents, Name: name}, &b, sizeContent(&b))
}
