package sqlmeta

import (
	"bytes"
	"context"
	"slices"

	"berth/internal/meta"
	"berth/internal/meta/hot"
	"berth/internal/oci"
)

// putNothing reports whether everything is already as p wants it. Whatever is not
// quite as it should be is left to the transaction.
func (db *DB) putNothing(ctx context.Context, p meta.ManifestPut) (meta.ManifestResult, bool, error) {
	v := db.hot.View()
	if !hotPut(v, p) || !v.Whole() {
		if db.hot != nil && likelyNew(v, p) {
			return meta.ManifestResult{}, false, nil
		}
		res, done, err := db.compare(ctx, p)
		if err == nil && done && res.Dangling == nil {
			db.keepPut(ctx, p)
		}
		return res, done, err
	}
	if db.doubts(ctx) {
		res, done, err := db.compare(ctx, p)
		db.doubt(v, "that all is as "+p.Digest.String()+" in "+p.Repo.String()+" wants it", true, done && res.Dangling == nil, err)
	}
	return meta.ManifestResult{}, true, nil
}

// hotPut reports whether everything is in memory as p wants it.
func hotPut(v hot.View, p meta.ManifestPut) bool {
	id, ok := hotNumber(v, p.Repo)
	if !ok {
		return false
	}
	m := hotManifestOf(v, id, p.Digest)
	if m == nil || m.MediaType != p.Manifest.MediaType || !bytes.Equal(m.Body, p.Manifest.Body) {
		return false
	}
	for _, tag := range p.Tags {
		if d, ok := hotDigest(v, id, tag); !ok || d != p.Digest {
			return false
		}
	}
	for _, list := range [2][]oci.Descriptor{p.Manifest.Blobs, p.Manifest.Children} {
		for _, d := range list {
			if !hotBlobGood(v, id, d.Digest) && hotManifestOf(v, id, d.Digest) == nil {
				return false
			}
		}
	}
	return true
}

// likelyNew reports whether the manifest, or what a tag points to, is not in memory
// as p wants it. Then the transaction finds out whether there is anything to do: who
// reads beside the writer has to read pages again that it has changed, which costs
// more than a transaction that changes nothing. What it finds is in memory from
// then on.
func likelyNew(v hot.View, p meta.ManifestPut) bool {
	id, ok := hotNumber(v, p.Repo)
	return !ok || hotManifestOf(v, id, p.Digest) == nil || slices.ContainsFunc(p.Tags, func(tag oci.Tag) bool {
		d, ok := hotDigest(v, id, tag)
		return !ok || d != p.Digest
	})
}

// hotPart is presence as far as it is known from memory that a part is there: it
// has what was committed, so it holds for what the transaction has not changed.
func (t *tx) hotPart(repo int64, d oci.Digest) (presence, bool) {
	if size, ok := t.hotMember(repo, d); ok {
		return presence{present, size}, true
	}
	k := hot.Key{Kind: hotManifest, Repo: repo, Name: d.String()}
	m, ok := t.hot.View().Get(k).(*hotManifestRow)
	if !ok || t.changes.touch(k) {
		return presence{}, false
	}
	return presence{present, int64(len(m.Body))}, true
}

// hotMember returns the size of a blob that a repository has, undamaged, if that is
// known from memory.
func (t *tx) hotMember(repo int64, d oci.Digest) (size int64, ok bool) {
	v := t.hot.View()
	member, content := hot.Key{Kind: hotMembers, Repo: repo, Name: d.String()}, hot.Key{Kind: hotContents, Name: d.String()}
	if v.Get(member) == nil {
		return 0, false
	}
	b, ok := v.Get(content).(*meta.Blob)
	if !ok || b.Damaged || t.changes.touch(member) || t.changes.touch(content) {
		return 0, false
	}
	return b.Size, true
}

// hotRepo returns the number of a repository if that is known from memory.
func (t *tx) hotRepo(repo oci.Repo) (int64, bool) {
	id, ok := hotNumber(t.hot.View(), repo)
	return id, ok && !t.changes.touch(hot.Key{Kind: hotRepo, Name: repo.String()})
}

// hotParts reports whether it is known from memory that a repository has all parts
// of p.
func (t *tx) hotParts(repo int64, p meta.ManifestPut) bool {
	for _, list := range [2][]oci.Descriptor{p.Manifest.Blobs, p.Manifest.Children} {
		for _, d := range list {
			if _, ok := t.hotPart(repo, d.Digest); !ok {
				return false
			}
		}
	}
	return true
}

// keepPut reads what is not in memory of what hotPut asks for. What cannot be read
// is not kept.
func (db *DB) keepPut(ctx context.Context, p meta.ManifestPut) {
	if db.hot == nil {
		return
	}
	v := db.hot.View()
	id, _ := hotNumber(v, p.Repo) // of no repository there is anything
	for _, tag := range p.Tags {
		if _, has := hotDigest(v, id, tag); !has {
			_, _ = db.readManifest(ctx, p.Repo, oci.Ref{Tag: tag})
		}
	}
	for _, d := range append(digestsOf(p.Manifest.Children), p.Digest) {
		if hotManifestOf(v, id, d) == nil {
			_, _ = db.readManifest(ctx, p.Repo, oci.Ref{Digest: d})
		}
	}
	for _, d := range digestsOf(p.Manifest.Blobs) {
		if !hotBlobGood(v, id, d) {
			_, _ = db.readBlob(ctx, p.Repo, d)
		}
	}
}

func digestsOf(list []oci.Descriptor) []oci.Digest {
	digests := make([]oci.Digest, 0, len(list)+1)
	for _, d := range list {
		digests = append(digests, d.Digest)
	}
	return digests
}

// compare is putNothing without the memory. It costs two look-ups and one for each
// tag, however many parts there are: one, if the first tag is new or moves.
func (db *DB) compare(ctx context.Context, p meta.ManifestPut) (meta.ManifestResult, bool, error) {
	var res meta.ManifestResult
	var id, repo int64
	var mediaType string
	var body []byte
	at := make([]int64, len(p.Tags))
	for i, tag := range p.Tags {
		var digest string
		err := db.reader.get(ctx, `SELECT t.manifest_id, t.digest FROM repos r JOIN tags t ON t.repo_id = r.id WHERE r.name = $1 AND t.name = $2`,
			args{p.Repo.String(), tag.String()}, &at[i], &digest)
		if isNotFound(err) || err == nil && digest != p.Digest.String() {
			return res, false, nil
		}
		if err != nil {
			return res, false, err
		}
	}
	err := db.reader.get(ctx, `SELECT m.id, r.id, m.media_type, m.body FROM repos r JOIN manifests m ON m.repo_id = r.id
		WHERE r.name = $1 AND m.digest = $2 AND m.size = $3`,
		args{p.Repo.String(), p.Digest.String(), len(p.Manifest.Body)}, &id, &repo, &mediaType, &body)
	if err != nil && !isNotFound(err) {
		return res, false, err
	}
	if err != nil || mediaType != p.Manifest.MediaType || !bytes.Equal(body, p.Manifest.Body) ||
		slices.ContainsFunc(at, func(m int64) bool { return m != id }) {
		return res, false, nil
	}
	lacks, err := missing(ctx, db.reader, id, func(meta.Blob, hotMember) {})
	if err != nil {
		return res, false, err
	}
	for _, d := range parts(p.Manifest) {
		lost, ok := lacks[d.Digest.String()]
		if !ok {
			continue
		}
		if !lost && !p.Requires(d.Digest) { // a deleted repository of that name may have had it
			if err := db.reader.get(ctx, sqlLost, args{repo, d.Digest.String()}, &lost); err != nil {
				return meta.ManifestResult{}, false, err
			}
		}
		if lost || p.Requires(d.Digest) {
			return meta.ManifestResult{}, false, nil
		}
		res.Dangling = append(res.Dangling, d.Digest)
		delete(lacks, d.Digest.String()) // a part may be named twice
	}
	return res, true, nil
}

// missing returns the parts of a stored manifest that its repository does not
// have, and whether it had them once. What is damaged counts as lost. It calls has
// with the blobs that are there.
func missing(ctx context.Context, q querier, manifest int64, has func(meta.Blob, hotMember)) (map[string]bool, error) {
	var found map[string]bool
	err := q.each(ctx, `SELECT f.digest, COALESCE(b.key, ''), COALESCE(b.size, 0), COALESCE(m.touched, 0), COALESCE(m.candidate, 0),
		CASE WHEN b.damaged = 0 THEN 0
		WHEN EXISTS (SELECT 1 FROM manifests c WHERE c.repo_id = f.repo_id AND c.digest = f.digest) THEN 1
		WHEN b.damaged = 1 OR EXISTS (SELECT 1 FROM losses l WHERE l.repo_id = f.repo_id AND l.digest = f.digest) THEN 2 ELSE 3 END
		FROM manifest_refs f LEFT JOIN repo_blobs m ON m.repo_id = f.repo_id AND m.digest = f.digest
		LEFT JOIN blobs b ON b.digest = m.digest WHERE f.manifest_id = $1`,
		args{manifest}, func(scan func(...any) error) error {
			const asBlob, asManifest, asLost = 0, 1, 2
			b := meta.Blob{Left: meta.Forever}
			var m hotMember
			var digest string
			var is int
			err := scan(&digest, &b.Key, &b.Size, &m.touched, &m.candidate, &is)
			switch {
			case err != nil || is == asManifest:
				return err
			case is == asBlob:
				if b.Digest, err = oci.ParseDigest(digest); err == nil {
					has(b, m)
				}
				return err
			case found == nil:
				found = make(map[string]bool)
			}
			found[digest] = is == asLost
			return nil
		})
	return found, err
}
