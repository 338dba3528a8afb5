package sqlmeta

import (
	"bytes"
	"strings"
	"time"

	"berth/internal/meta"
	"berth/internal/meta/hot"
	"berth/internal/oci"
)

// hotPlace is place as far as it is known from memory, as hotPart is presence: what is
// there, and that the rest surely is not. What is written then is refused by the
// constraints of its table if that should be wrong.
func (t *tx) hotPlace(p meta.ManifestPut) (at place, ok bool) {
	v := t.hot.View()
	repo := hot.Key{Kind: hotRepo, Name: p.Repo.String()}
	r, ok := v.Get(repo).(*hotRepoRow)
	if !ok || !r.listed || t.changes.touch(repo) {
		return place{}, false
	}
	at = place{repo: r.id, listed: true}
	if !t.changes.unknown.Lacks(ofDigest(p.Digest.String())) {
		k := hot.Key{Kind: hotManifest, Repo: r.id, Name: p.Digest.String()}
		m, ok := v.Get(k).(*hotManifestRow)
		if !ok || m.MediaType != p.Manifest.MediaType || !bytes.Equal(m.Body, p.Manifest.Body) || t.changes.touch(k) {
			return place{}, false
		}
		at.manifest, at.same = m.id, true
	}
	if len(p.Tags) > 0 {
		if at.was, ok = t.hotTag(v, r.id, p.Tags[0]); !ok {
			return place{}, false
		}
	}
	return at, true
}

// hotTag returns what a tag points to, zero if there surely is no such tag, and whether
// that is known from memory.
func (t *tx) hotTag(v hot.View, repo int64, tag oci.Tag) (oci.Digest, bool) {
	k := ofTag(repo, tag.String())
	if t.changes.unknown.Lacks(k) {
		return oci.Digest{}, true
	}
	d, ok := hotDigest(v, repo, tag)
	return d, ok && !t.changes.touch(k)
}

// learn keeps a value that the transaction has read, when that is committed, unless it
// changes it.
func (t *tx) learn(k hot.Key, value any, size int64) {
	if t.hot != nil && len(t.changes.learnt) < maxPublished {
		t.changes.learnt = append(t.changes.learnt, noted{k, value, size})
	}
}

// learnBlob learns that a repository has a blob.
func (t *tx) learnBlob(repo int64, b meta.Blob, m hotMember) {
	name := b.Digest.String()
	t.learn(hot.Key{Kind: hotMembers, Repo: repo, Name: name}, &m, sizeMember)
	t.learn(hot.Key{Kind: hotContents, Name: name}, &b, sizeContent(&b))
}

// learnPlace learns what is there, so that the next put of it finds it in memory.
func (t *tx) learnPlace(p meta.ManifestPut, at place, pushed int64) {
	if at.listed {
		t.learn(hot.Key{Kind: hotRepo, Name: strings.Clone(p.Repo.String())}, &hotRepoRow{id: at.repo, listed: true}, sizeRepo)
	}
	if !at.same || len(p.Manifest.Body) > maxBody {
		return
	}
	m := &hotManifestRow{id: at.manifest}
	m.MediaType, m.Body, m.Pushed = strings.Clone(p.Manifest.MediaType), bytes.Clone(p.Manifest.Body), time.UnixMicro(pushed).UTC()
	name := strings.Clone(p.Digest.String())
	var err error
	if m.Digest, err = oci.ParseDigest(name); err != nil {
		return
	}
	if s := p.Manifest.Subject; s != nil {
		if m.Subject, err = oci.ParseDigest(strings.Clone(s.Digest.String())); err != nil {
			return
		}
	}
	if m.Verified = m.Intact(); m.Verified {
		t.learn(hot.Key{Kind: hotManifest, Repo: at.repo, Name: name}, m, sizeManifest(m))
	}
}
