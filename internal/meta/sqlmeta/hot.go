package sqlmeta

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"time"

	"berth/internal/meta"
	"berth/internal/meta/hot"
	"berth/internal/oci"
)

// What values take in memory, without their keys. A test compares it with what the
// runtime says.
const (
	sizeRepo   = 16
	sizeMember = 16
)

func sizeTag(d oci.Digest) int64 { return 16 + int64(len(d.String())) }

func sizeManifest(m *hotManifestRow) int64 {
	return 136 + int64(len(m.Digest.String())+len(m.MediaType)+len(m.Subject.String())+cap(m.Body))
}

func sizeContent(b *meta.Blob) int64 { return 64 + int64(len(b.Digest.String())+len(b.Key)) }

// maxBody is how long a manifest may be to be kept in memory when it is pushed.
// A longer one is kept when it is pulled.
const maxBody = 64 << 10

// manifestOfRow returns the manifest of a whole row of the table, nil if it is not
// whole or not as its digest says.
func manifestOfRow(row []any) *hotManifestRow {
	if len(row) != wholeManifest {
		return nil
	}
	m := &hotManifestRow{id: row[0].(int64)}
	m.MediaType, m.Body, m.Pushed = row[3].(string), row[10].([]byte), time.UnixMicro(row[7].(int64)).UTC()
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

// hotDigest returns what a tag points to.
func hotDigest(v hot.View, id int64, tag oci.Tag) (oci.Digest, bool) {
	d, ok := v.Get(hot.Key{Kind: hotTag, Repo: id, Name: tag.String()}).(*oci.Digest)
	if !ok {
		return oci.Digest{}, false
	}
	return *d, true
}

// hotManifestOf returns a manifest of a repository, else nil.
func hotManifestOf(v hot.View, id int64, d oci.Digest) *meta.Manifest {
	m, ok := v.Get(hot.Key{Kind: hotManifest, Repo: id, Name: d.String()}).(*hotManifestRow)
	if !ok {
		return nil
	}
	return &m.Manifest
}

// FindManifest implements meta.Manifests. What is not in memory is read by no more
// callers than there are connections; who had to wait looks there again first, so
// that a crowd that wants the same manifest shares one.
func (db *DB) FindManifest(ctx context.Context, repo oci.Repo, ref oci.Ref) (meta.Manifest, error) {
	if m, known, err := db.hotFind(ctx, repo, ref); known {
		return m, err
	}
	waited, err := db.enterFinding(ctx)
	if err != nil {
		return meta.Manifest{}, err
	}
	defer func() { <-db.finding }()
	if waited {
		if m, known, err := db.hotFind(ctx, repo, ref); known {
			return m, err
		}
	}
	return db.readManifest(ctx, repo, ref)
}

// hotFind is FindManifest as far as it is known from memory.
func (db *DB) hotFind(ctx context.Context, repo oci.Repo, ref oci.Ref) (m meta.Manifest, known bool, err error) {
	if m := db.recallManifest(ctx, repo, ref); m != nil {
		return *m, true, nil
	}
	if db.hotAbsent(ctx, repo, ref) {
		return meta.Manifest{}, true, notFound(meta.ErrNotFound, "manifest "+ref.String(), repo)
	}
	return meta.Manifest{}, false, nil
}

// enterFinding waits until fewer read than there are connections, and reports
// whether it had to.
func (db *DB) enterFinding(ctx context.Context) (waited bool, err error) {
	select {
	case db.finding <- struct{}{}:
		return false, nil
	default:
	}
	select {
	case db.finding <- struct{}{}:
		return true, nil
	case <-ctx.Done():
		return true, ctx.Err()
	}
}

// recallManifest returns a manifest if it is in memory, else nil.
func (db *DB) recallManifest(ctx context.Context, repo oci.Repo, ref oci.Ref) *meta.Manifest {
	v := db.hot.View()
	id, ok := hotNumber(v, repo)
	d := ref.Digest
	if ok && !ref.Tag.IsZero() {
		d, ok = hotDigest(v, id, ref.Tag)
	}
	if !ok {
		return nil
	}
	m := hotManifestOf(v, id, d)
	if m == nil || !v.Whole() {
		return nil
	}
	if db.doubts(ctx) {
		has, err := db.readManifest(ctx, repo, ref)
		db.doubt(v, "manifest "+ref.String()+" of "+repo.String(), *m, has, err)
	}
	return m
}

// readManifest finds a manifest in the database, and keeps it.
func (db *DB) readManifest(ctx context.Context, repo oci.Repo, ref oci.Ref) (meta.Manifest, error) {
	text := sqlManifestByTag
	if ref.Tag.IsZero() {
		text = sqlManifestByDigest
	}
	moment := db.hot.Moment()
	var m hotManifestRow
	var id, in, pushed int64
	var digest, subject string
	err := db.reader.only(ctx, func(q querier) ([]hot.Key, error) {
		err := q.get(ctx, text, args{repo.String(), ref.String()}, &id, &in, &m.id, &digest, &m.MediaType, &subject, &pushed, &m.Body)
		keys := []hot.Key{{Kind: hotRepo, Name: repo.String()}}
		if err != nil {
			return keys, err
		}
		if !ref.Tag.IsZero() {
			keys = append(keys, hot.Key{Kind: hotTag, Repo: id, Name: ref.Tag.String()})
		} else if digest == "" {
			keys = append(keys, hot.Key{Kind: hotManifest, Repo: id, Name: ref.Digest.String()})
		}
		if digest != "" {
			keys = append(keys, hot.Key{Kind: hotManifest, Repo: in, Name: digest})
		}
		return keys, nil
	})
	if err == nil && digest == "" { // there is the repository, and no such tag or manifest
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
	return m.Manifest, err
}

// absent is the page of the tags of a repository that says that there is no such
// tag. That is asked of every subject of referrers, and by whoever is about to
// push.
func absent(tag oci.Tag) string { return "-" + tag.String() }

// hotAbsent reports whether it is known from memory that repo has no such manifest.
func (db *DB) hotAbsent(ctx context.Context, repo oci.Repo, ref oci.Ref) bool {
	v := db.hot.View()
	if ref.Tag.IsZero() {
		return db.surely(ctx, v, ofDigest(ref.Digest.String()), repo, ref)
	}
	id, ok := hotNumber(v, repo)
	if !ok {
		return false
	}
	if db.surely(ctx, v, ofTag(id, ref.Tag.String()), repo, ref) {
		return v.Whole()
	}
	return v.Get(hot.Key{Kind: hotTags, Repo: id, Page: absent(ref.Tag)}) != nil && v.Whole()
}

// surely reports whether nothing is under k, so that repo surely has no such manifest.
func (db *DB) surely(ctx context.Context, v hot.View, k hot.Key, repo oci.Repo, ref oci.Ref) bool {
	if !db.unknown.Lacks(k) {
		return false
	}
	if db.doubts(ctx) {
		if has, err := db.readManifest(ctx, repo, ref); !isNotFound(err) && db.unknown.Lacks(k) {
			db.doubt(v, "manifest "+ref.String()+" of "+repo.String(), nil, has, err)
		}
	}
	return true
}

func (db *DB) keepAbsent(moment hot.Moment, repo oci.Repo, id int64, tag oci.Tag) {
	db.keepRepo(moment, repo, hotRepoRow{id: id})
	if !tag.IsZero() {
		db.hot.Put(moment, hot.Key{Kind: hotTags, Repo: id, Page: absent(tag)}, true, 0)
	}
}

// keepManifest puts what a query has found into the memory: repository number id,
// a tag if there is one, and what it points to.
func (db *DB) keepManifest(moment hot.Moment, repo oci.Repo, id int64, tag oci.Tag, m *hotManifestRow) {
	digest := m.Digest.String()
	db.keepRepo(moment, repo, hotRepoRow{id: id})
	if !tag.IsZero() {
		d := m.Digest // or the tag would keep the body in memory
		db.hot.Put(moment, hot.Key{Kind: hotTag, Repo: id, Name: strings.Clone(tag.String())}, &d, sizeTag(d))
	}
	db.hot.Put(moment, hot.Key{Kind: hotManifest, Repo: id, Name: digest}, m, sizeManifest(m))
}

func (db *DB) keepRepo(moment hot.Moment, repo oci.Repo, r hotRepoRow) {
	if db.hot.View().Get(hot.Key{Kind: hotRepo, Name: repo.String()}) == nil {
		db.hot.Put(moment, hot.Key{Kind: hotRepo, Name: strings.Clone(repo.String())}, &r, sizeRepo)
	}
}

// suspect forgets what is in memory if a manifest there is not as it was just read
// from the database: its bytes have rotten, and a push has to heal it.
func (db *DB) suspect(has meta.AuditManifest) {
	m, ok := db.hot.View().Get(hot.Key{Kind: hotManifest, Repo: has.Repo.ID, Name: has.Digest}).(*hotManifestRow)
	if ok && (m.MediaType != has.MediaType || string(m.Body) != string(has.Body)) {
		db.hot.Forget()
	}
}

// doubts reports whether there is an Options.Doubt, for which all is committed then.
func (db *DB) doubts(ctx context.Context) bool {
	if db.opts.Doubt == nil {
		return false
	}
	_ = db.reader.settle(ctx) // else who reads then is told, too
	return true
}

// doubt tells Options.Doubt if an answer from memory, of view v, is not what the
// database says, has or err.
func (db *DB) doubt(v hot.View, what string, got, has any, err error) {
	if v.Still() && (err != nil || !reflect.DeepEqual(got, has)) { // else it may have been changed meanwhile
		db.opts.Doubt(fmt.Errorf("%s in memory is %+v, and in the database %+v, error %v", what, got, has, err))
	}
}
