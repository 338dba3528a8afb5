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
	v := db.hot.View()
	if id, ok := hotNumber(v, repo); ok {
		if b, ok := db.hotBlob(v, id, d); ok && v.Whole() {
			if db.doubts(ctx) {
				has, err := db.readBlob(ctx, repo, d)
				if (b.Left - has.Left).Abs() < time.Minute { // it becomes less all the time
					has.Left = b.Left
				}
				db.doubt(v, "blob "+d.String()+" of "+repo.String(), b, has, err)
			}
			return b, nil
		}
	}
	if db.surelyNowhere(ctx, d) || db.hotNowhere(ctx, d) {
		return meta.Blob{}, notFound(meta.ErrNotFound, "blob "+d.String(), repo)
	}
	return db.readBlob(ctx, repo, d)
}

// readBlob finds a membership in the database, and keeps it. What is not there is
// asked for once more by a push, of which it is the beginning: that there is no
// such content anywhere is kept, too.
func (db *DB) readBlob(ctx context.Context, repo oci.Repo, d oci.Digest) (meta.Blob, error) {
	moment := db.hot.Moment()
	if id, ok := hotNumber(db.hot.View(), repo); ok {
		f, err := db.readMember(ctx, id, d)
		if err != nil {
			return meta.Blob{}, err
		}
		if db.hot.Unchanged(moment, hot.Key{Kind: hotRepo, Name: repo.String()}) { // else it may be another by now
			return db.keepFound(moment, repo, f)
		}
	}
	f, err := db.readMemberOf(ctx, repo, d)
	if err != nil {
		return meta.Blob{}, notFound(err, "blob "+d.String(), repo)
	}
	db.keepRepo(moment, repo, hotRepoRow{id: f.repo})
	return db.keepFound(moment, repo, f)
}

// A foundMember is what there is of a blob, and of its membership of a repository.
type foundMember struct {
	repo   int64
	stored bool      // there is such content
	blob   meta.Blob // of which only the digest is set if there is none
	is     bool      // the repository has it
	member hotMember
}

// keys are those whose values it is.
func (f *foundMember) keys() []hot.Key {
	d := f.blob.Digest.String()
	return []hot.Key{{Kind: hotContents, Name: d}, {Kind: hotMembers, Repo: f.repo, Name: d}}
}

// keepFound keeps what was found at moment, and returns it.
func (db *DB) keepFound(moment hot.Moment, repo oci.Repo, f foundMember) (meta.Blob, error) {
	if !f.stored {
		db.keepNowhere(moment, f.blob.Digest)
	} else {
		db.keepContent(moment, f.blob)
	}
	if !f.stored || !f.is {
		return meta.Blob{}, notFound(meta.ErrNotFound, "blob "+f.blob.Digest.String(), repo)
	}
	db.keepMember(moment, f.repo, f.blob.Digest, f.member)
	return db.withGrace(f.blob, f.member), nil
}

// readMember finds a blob and its membership of a repository whose number is known.
// It looks for the content first, which ends it if there is none.
func (db *DB) readMember(ctx context.Context, id int64, d oci.Digest) (f foundMember, err error) {
	err = db.reader.only(ctx, func(q querier) ([]hot.Key, error) {
		f = foundMember{repo: id, stored: true, blob: meta.Blob{Digest: d, Left: meta.Forever}}
		err := q.get(ctx, `SELECT b.key, b.size, b.damaged, m.digest IS NOT NULL, COALESCE(m.touched, 0), COALESCE(m.candidate, 0)
			FROM blobs b LEFT JOIN repo_blobs m ON m.repo_id = $1 AND m.digest = b.digest WHERE b.digest = $2`,
			args{id, d.String()}, &f.blob.Key, &f.blob.Size, &f.blob.Damaged, &f.is, &f.member.touched, &f.member.candidate)
		if isNotFound(err) {
			f.stored, err = false, nil
		}
		return f.keys(), err
	})
	return f, err
}

// readMemberOf is readMember by the name of the repository, which finds its number,
// too. If there is no such repository it returns meta.ErrNotFound.
func (db *DB) readMemberOf(ctx context.Context, repo oci.Repo, d oci.Digest) (f foundMember, err error) {
	err = db.reader.only(ctx, func(q querier) ([]hot.Key, error) {
		f = foundMember{blob: meta.Blob{Digest: d, Left: meta.Forever}}
		name := hot.Key{Kind: hotRepo, Name: repo.String()}
		err := q.get(ctx, `SELECT r.id, b.digest IS NOT NULL, COALESCE(b.key, ''), COALESCE(b.size, 0), COALESCE(b.damaged, 0),
			m.digest IS NOT NULL, COALESCE(m.touched, 0), COALESCE(m.candidate, 0)
			FROM repos r LEFT JOIN blobs b ON b.digest = $2 LEFT JOIN repo_blobs m ON m.repo_id = r.id AND m.digest = b.digest WHERE r.name = $1`,
			args{repo.String(), d.String()}, &f.repo, &f.stored, &f.blob.Key, &f.blob.Size, &f.blob.Damaged, &f.is, &f.member.touched, &f.member.candidate)
		if err != nil {
			return []hot.Key{name}, err
		}
		return append(f.keys(), name), nil
	})
	return f, err
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
	if db.doubts(ctx) {
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
	v := db.hot.View()
	if b, ok := v.Get(hot.Key{Kind: hotContents, Name: d.String()}).(*meta.Blob); ok && v.Whole() {
		if db.doubts(ctx) {
			has, err := db.readContent(ctx, d)
			db.doubt(v, "content "+d.String(), *b, has, err)
		}
		return *b, nil
	}
	if db.surelyNowhere(ctx, d) || db.hotNowhere(ctx, d) {
		return meta.Blob{}, meta.ErrNotFound
	}
	return db.readContent(ctx, d)
}

// readContent finds content in the database, and keeps it.
func (db *DB) readContent(ctx context.Context, d oci.Digest) (meta.Blob, error) {
	moment := db.hot.Moment()
	var b meta.Blob
	err := db.reader.only(ctx, func(q querier) (keys []hot.Key, err error) {
		b, err = content(ctx, q, d, sqlContent)
		return []hot.Key{{Kind: hotContents, Name: d.String()}}, err
	})
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
