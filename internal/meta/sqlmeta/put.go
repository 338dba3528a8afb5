package sqlmeta

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"

	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
)

// PutManifest implements meta.Manifests.
func (db *DB) PutManifest(ctx context.Context, p meta.ManifestPut) (meta.ManifestResult, error) {
	res, done, err := db.putNothing(ctx, p)
	if err != nil {
		return res, err
	}
	if done {
		for _, e := range pushed(p) {
			db.NoteEvent(e)
		}
		db.NoteUse(p.Repo, p.Digest, meta.PushedAgain)
		return res, nil
	}
	err = db.write(ctx, durable, func(ctx context.Context, t *tx) (err error) {
		res, err = t.putManifest(ctx, p)
		return err
	})
	if err != nil {
		return meta.ManifestResult{}, err
	}
	return res, nil
}

// parts lists what a manifest needs. A digest may be there more than once.
func parts(m oci.Manifest) []oci.Descriptor { return slices.Concat(m.Blobs, m.Children) }

func (t *tx) putManifest(ctx context.Context, p meta.ManifestPut) (meta.ManifestResult, error) {
	repo, err := t.ensureRepo(ctx, p.Repo)
	if err != nil {
		return meta.ManifestResult{}, err
	}
	if err := t.checkTags(ctx, repo, p); err != nil {
		return meta.ManifestResult{}, err
	}
	digests, dangling, err := t.checkParts(ctx, repo, p)
	if err != nil {
		return meta.ManifestResult{}, err
	}
	id, err := t.storeManifest(ctx, repo, p, digests)
	if err == nil {
		err = t.noteDangling(ctx, repo, id, dangling)
	}
	if err != nil {
		return meta.ManifestResult{}, err
	}
	why := tagChange{repo: repo, in: p.Repo, cause: meta.ByPush, by: p.By}
	for _, tag := range p.Tags {
		if _, err := t.pointTag(ctx, why, tag, p.Digest, id); err != nil {
			return meta.ManifestResult{}, err
		}
	}
	for _, e := range pushed(p) {
		if err := t.record(ctx, e); err != nil {
			return meta.ManifestResult{}, err
		}
	}
	return meta.ManifestResult{Dangling: dangling}, nil
}

// pushed returns the events of p: one for each tag, or one without a tag.
func pushed(p meta.ManifestPut) []event.Event {
	e := event.Event{
		Action: event.Push, Kind: event.Manifest, Repo: p.Repo, Digest: p.Digest,
		MediaType: p.Manifest.MediaType, Size: int64(len(p.Manifest.Body)), By: p.By,
	}
	if len(p.Tags) == 0 {
		return []event.Event{e}
	}
	list := make([]event.Event, len(p.Tags))
	for i, tag := range p.Tags {
		list[i] = e
		list[i].Tag = tag
	}
	return list
}

// checkTags finds tags that would be moved and may not be. Nobody else writes
// between this and the end of the transaction.
func (t *tx) checkTags(ctx context.Context, repo int64, p meta.ManifestPut) error {
	if !p.KeepTags {
		return nil
	}
	for _, tag := range p.Tags {
		var digest string
		err := t.get(ctx, `SELECT digest FROM tags WHERE repo_id = $1 AND name = $2`+t.s.dialect.share, args{repo, tag.String()}, &digest)
		switch {
		case isNotFound(err):
		case err != nil:
			return err
		case digest != p.Digest.String():
			return &meta.TagTakenError{Tag: tag}
		}
	}
	return nil
}

// checkParts looks at everything that the manifest names, and returns the
// distinct digests and those of them that the repository never had.
func (t *tx) checkParts(ctx context.Context, repo int64, p meta.ManifestPut) (digests, dangling []oci.Digest, err error) {
	found := make(map[oci.Digest]presence)
	var missing []oci.Digest
	for _, d := range parts(p.Manifest) {
		has, again := found[d.Digest]
		if !again {
			if has, err = t.presence(ctx, repo, d.Digest); err != nil {
				return nil, nil, err
			}
			found[d.Digest] = has
			digests = append(digests, d.Digest)
		}
		switch {
		case has.state == present && d.Size != oci.UnknownSize && d.Size != has.size:
			return nil, nil, &meta.SizeError{Digest: d.Digest, Says: d.Size, Has: has.size}
		case again || has.state == present:
		case has.state == lost || p.Requires(d.Digest):
			missing = append(missing, d.Digest)
		default:
			dangling = append(dangling, d.Digest)
		}
	}
	if len(missing) > 0 {
		return nil, nil, &meta.MissingError{Digests: missing}
	}
	return digests, dangling, nil
}

// A presence says whether a repository has something, as a blob or a manifest.
type presence struct {
	state int
	size  int64 // bytes, if it is present
}

const (
	never   = iota
	lost    // it had it, or what it has is damaged
	present // and undamaged
)

// presence of a blob that is a member goes before a manifest of the same digest:
// both are the same bytes.
func (t *tx) presence(ctx context.Context, repo int64, d oci.Digest) (presence, error) {
	p := presence{state: never}
	var damaged bool
	err := t.get(ctx, `SELECT b.size, b.damaged FROM repo_blobs m JOIN blobs b ON b.digest = m.digest WHERE m.repo_id = $1 AND m.digest = $2`+
		t.s.dialect.share, args{repo, d.String()}, &p.size, &damaged)
	switch {
	case err == nil && !damaged:
		p.state = present
		return p, nil
	case err == nil:
		p.state = lost
	case !isNotFound(err):
		return p, err
	}
	err = t.get(ctx, `SELECT size FROM manifests WHERE repo_id = $1 AND digest = $2`+t.s.dialect.share, args{repo, d.String()}, &p.size)
	switch {
	case err == nil:
		p.state = present
		return p, nil
	case !isNotFound(err):
		return p, err
	case p.state == lost:
		return p, nil
	}
	var had bool
	err = t.get(ctx, sqlLost, args{repo, d.String()}, &had)
	if had {
		p.state = lost
	}
	return p, err
}

// storeManifest inserts the manifest and returns its number. One that is there
// and is not the same, as a damaged one is not, is replaced.
func (t *tx) storeManifest(ctx context.Context, repo int64, p meta.ManifestPut, digests []oci.Digest) (int64, error) {
	m := p.Manifest
	subject, annotations, err := referrer(m)
	if err != nil {
		return 0, err
	}
	var id int64
	row := args{repo, p.Digest.String(), m.MediaType, len(m.Body), subject, m.ArtifactType, t.wall(), p.By.Name, annotations, m.Body}
	err = t.get(ctx, `INSERT INTO manifests (repo_id, digest, media_type, size, subject, artifact_type, pushed_us, pushed_by, annotations, body)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (repo_id, digest) DO NOTHING RETURNING id`, row, &id)
	switch {
	case err == nil:
		err = t.list(ctx, repo, p.Digest)
	case isNotFound(err): // nothing was inserted
		var mediaType string
		var body []byte
		err = t.get(ctx, `SELECT id, media_type, body FROM manifests WHERE repo_id = $1 AND digest = $2`, row[:2], &id, &mediaType, &body)
		if err != nil {
			return id, err
		}
		if mediaType == m.MediaType && bytes.Equal(body, m.Body) {
			if len(p.Tags) == 0 { // else the tags know
				err = t.pushedAgain(ctx, id)
			}
			return id, err
		}
		err = t.replace(ctx, repo, id, row)
	}
	for i := 0; err == nil && i < len(digests); i++ {
		_, err = t.exec(ctx, `INSERT INTO manifest_refs (repo_id, digest, manifest_id) VALUES ($1, $2, $3)`, repo, digests[i].String(), id)
	}
	return id, err
}

// noteDangling records which parts of a manifest its repository never had, so
// that checks do not take them for lost.
func (t *tx) noteDangling(ctx context.Context, repo, id int64, digests []oci.Digest) error {
	for _, d := range digests {
		_, err := t.exec(ctx, `UPDATE manifest_refs SET dangling = 1 WHERE repo_id = $1 AND digest = $2 AND manifest_id = $3 AND dangling = 0`, repo, d.String(), id)
		if err != nil {
			return err
		}
	}
	return nil
}

// list does what a new manifest means for its repository.
func (t *tx) list(ctx context.Context, repo int64, d oci.Digest) error {
	if _, err := t.exec(ctx, `UPDATE repos SET listed = 1 WHERE id = $1 AND listed = 0`, repo); err != nil {
		return err
	}
	if err := t.unwritten(ctx, repo, meta.LinkName{Kind: meta.RevisionLink, Name: d.String()}); err != nil {
		return err
	}
	return t.regain(ctx, repo, d)
}

// replace overwrites manifest id with row, and takes away its references.
func (t *tx) replace(ctx context.Context, repo, id int64, row args) error {
	if err := t.release(ctx, id); err != nil {
		return err
	}
	_, err := t.exec(ctx, `UPDATE manifests SET media_type = $3, size = $4, subject = $5, artifact_type = $6,
		pushed_us = $7, pushed_by = $8, annotations = $9, body = $10 WHERE repo_id = $1 AND digest = $2`, row...)
	return err
}

// referrer returns what is recorded of a manifest that has a subject.
func referrer(m oci.Manifest) (subject, annotations string, err error) {
	if m.Subject == nil {
		return "", "", nil
	}
	if len(m.Annotations) == 0 {
		return m.Subject.Digest.String(), "", nil
	}
	b, err := json.Marshal(m.Annotations)
	return m.Subject.Digest.String(), string(b), err
}
