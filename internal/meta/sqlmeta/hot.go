package sqlmeta

import (
	"context"
	"strings"
	"time"

	"berth/internal/meta"
	"berth/internal/meta/hot"
	"berth/internal/oci"
)

// What values take in memory, without their keys. A test compares it with what the
// runtime says.
const (
	sizeRepo   = 8
	sizeMember = 16
)

func sizeTag(d oci.Digest) int64 { return 16 + int64(len(d.String())) }

func sizeManifest(m *meta.Manifest) int64 {
	return 128 + int64(len(m.Digest.String())+len(m.MediaType)+len(m.Subject.String())+cap(m.Body))
}

func sizeContent(b *meta.Blob) int64 { return 64 + int64(len(b.Digest.String())+len(b.Key)) }

// maxBody is how long a manifest may be to be kept in memory when it is pushed.
// A longer one is kept when it is pulled.
const maxBody = 64 << 10

// manifestOfRow returns the manifest of a whole row of the table, nil if it is not
// whole or not as its digest says.
func manifestOfRow(row []any) *meta.Manifest {
	if len(row) != wholeManifest {
		return nil
	}
	m := &meta.Manifest{MediaType: row[3].(string), Body: row[10].([]byte), Pushed: time.UnixMicro(row[7].(int64)).UTC()}
	var err error
	if m.Digest, err = oci.ParseDigest(row[2].(string)); err != nil {
		return nil
	}
	if subject := row[5].(string); subject != "" {
		if m.Subject, err = oci.ParseDigest(subject); err != nil {
			return nil
		}
	}
	if m.Verified = m.Intact(); !m.Verified {
		return nil
	}
	return m
}

// hotNumber returns the number of a repository.
func hotNumber(v hot.View, repo oci.Repo) (int64, bool) {
	r, ok := v.Get(hot.Key{Kind: hotRepo, Name: repo.String()}).(*hotRepoRow)
	if !ok {
		return 0, false
	}
	return r.id, true
}

// hotManifestOf returns a manifest if it is in memory.
func (db *DB) hotManifestOf(repo oci.Repo, ref oci.Ref) (meta.Manifest, bool) {
	v := db.hot.View()
	id, ok := hotNumber(v, repo)
	if !ok {
		return meta.Manifest{}, false
	}
	d := ref.Digest
	if !ref.Tag.IsZero() {
		to, ok := v.Get(hot.Key{Kind: hotTag, Repo: id, Name: ref.Tag.String()}).(*oci.Digest)
		if !ok {
			return meta.Manifest{}, false
		}
		d = *to
	}
	m, ok := v.Get(hot.Key{Kind: hotManifest, Repo: id, Name: d.String()}).(*meta.Manifest)
	if !ok || !v.Whole() {
		return meta.Manifest{}, false
	}
	return *m, true
}

// FindManifest implements meta.Manifests.
func (db *DB) FindManifest(ctx context.Context, repo oci.Repo, ref oci.Ref) (meta.Manifest, error) {
	if m, ok := db.hotManifestOf(repo, ref); ok {
		return m, nil
	}
	if db.hotAbsent(repo, ref.Tag) {
		return meta.Manifest{}, notFound(meta.ErrNotFound, "manifest "+ref.String(), repo)
	}
	text := sqlManifestByTag
	if ref.Tag.IsZero() {
		text = sqlManifestByDigest
	}
	moment := db.hot.Moment()
	var m meta.Manifest
	var id, in, pushed int64
	var digest, subject string
	err := db.reader.get(ctx, text, args{repo.String(), ref.String()}, &id, &in, &digest, &m.MediaType, &subject, &pushed, &m.Body)
	if err == nil && digest == "" { // there is the repository, and no such tag
		db.keepAbsent(moment, repo, id, ref.Tag)
		err = meta.ErrNotFound
	}
	if err != nil {
		return meta.Manifest{}, notFound(err, "manifest "+ref.String(), repo)
	}
	m.Pushed = time.UnixMicro(pushed).UTC()
	if m.Digest, err = oci.ParseDigest(digest); err == nil && subject != "" {
		m.Subject, err = oci.ParseDigest(subject)
	}
	if m.Verified = err == nil && m.Intact(); m.Verified && id == in { // else the records contradict each other
		db.keepManifest(moment, repo, id, ref.Tag, &m)
	}
	return m, err
}

// absent is the page of the tags of a repository that says that there is no such
// tag. That is asked of every subject of referrers, and by whoever is about to
// push.
func absent(tag oci.Tag) string { return "-" + tag.String() }

// hotAbsent reports whether it is in memory that repo has no such tag.
func (db *DB) hotAbsent(repo oci.Repo, tag oci.Tag) bool {
	v := db.hot.View()
	id, ok := hotNumber(v, repo)
	return ok && !tag.IsZero() && v.Get(hot.Key{Kind: hotTags, Repo: id, Page: absent(tag)}) != nil && v.Whole()
}

func (db *DB) keepAbsent(moment hot.Moment, repo oci.Repo, id int64, tag oci.Tag) {
	db.keepRepo(moment, repo, id)
	db.hot.Put(moment, hot.Key{Kind: hotTags, Repo: id, Page: absent(tag)}, true, 0)
}

// keepManifest puts what a query has found into the memory: repository number id,
// a tag if there is one, and what it points to.
func (db *DB) keepManifest(moment hot.Moment, repo oci.Repo, id int64, tag oci.Tag, m *meta.Manifest) {
	digest := m.Digest.String()
	db.keepRepo(moment, repo, id)
	if !tag.IsZero() {
		d := m.Digest // or the tag would keep the body in memory
		db.hot.Put(moment, hot.Key{Kind: hotTag, Repo: id, Name: strings.Clone(tag.String())}, &d, sizeTag(d))
	}
	db.hot.Put(moment, hot.Key{Kind: hotManifest, Repo: id, Name: digest}, m, sizeManifest(m))
}

func (db *DB) keepRepo(moment hot.Moment, repo oci.Repo, id int64) {
	if db.hot.View().Get(hot.Key{Kind: hotRepo, Name: repo.String()}) == nil {
		db.hot.Put(moment, hot.Key{Kind: hotRepo, Name: strings.Clone(repo.String())}, &hotRepoRow{id: id}, sizeRepo)
	}
}

// hotBlob returns a blob of a repository if it is in memory.
func (db *DB) hotBlob(repo oci.Repo, d oci.Digest) (meta.Blob, bool) {
	v := db.hot.View()
	id, ok := hotNumber(v, repo)
	if !ok {
		return meta.Blob{}, false
	}
	return db.hotMemberOf(v, id, d)
}

// hotMemberOf is hotBlob for the repository number id. What it returns is only
// true if v is whole.
func (db *DB) hotMemberOf(v hot.View, id int64, d oci.Digest) (meta.Blob, bool) {
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

// withGrace adds what the membership says to a blob's record.
func (db *DB) withGrace(b meta.Blob, m hotMember) meta.Blob {
	b.Left = meta.Forever
	if m.candidate {
		b.Left = max(0, time.Duration(m.touched-db.clock.ticks())+db.opts.Grace)
	}
	return b
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
