package sqlmeta

import (
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
		if db.outbox.wants(event.Push) {
			for _, e := range pushed(p) {
				db.NoteEvent(e)
			}
		}
		db.NoteUse(p.Repo, p.Digest, meta.PushedAgain)
		return res, nil
	}
	same := false
	err = db.write(ctx, durable, func(ctx context.Context, t *tx) (err error) {
		before := len(t.changes.list)
		res, err = t.putManifest(ctx, p)
		same = len(t.changes.list) == before
		return err
	})
	if err != nil {
		return meta.ManifestResult{}, err
	}
	if same && res.Dangling == nil { // the next time it is known from memory
		db.keepPut(ctx, p)
	}
	return res, nil
}

// parts lists what a manifest needs. A digest may be there more than once.
func parts(m oci.Manifest) []oci.Descriptor { return slices.Concat(m.Blobs, m.Children) }

func (t *tx) putManifest(ctx context.Context, p meta.ManifestPut) (meta.ManifestResult, error) {
	at, err := t.place(ctx, p)
	if err != nil {
		return meta.ManifestResult{}, err
	}
	if err := t.checkTags(ctx, at.repo, p); err != nil {
		return meta.ManifestResult{}, err
	}
	id, dangling, err := t.putWhole(ctx, at, p)
	if err != nil {
		return meta.ManifestResult{}, err
	}
	why := tagChange{repo: at.repo, in: p.Repo, cause: meta.ByPush, by: p.By}
	for i, tag := range p.Tags {
		if i == 0 {
			err = t.moveTag(ctx, why, tag, at.was, p.Digest, id)
		} else {
			_, err = t.pointTag(ctx, why, tag, p.Digest, id)
		}
		if err != nil {
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

// A place is what a repository has where a manifest is to be put.
type place struct {
	repo     int64
	listed   bool       // it is known to have a manifest
	lost     bool       // it may have a tombstone of this one
	manifest int64      // the number of this one; 0 if it is not there
	same     bool       // which is as it is to be
	was      oci.Digest // what the first tag points to; zero if there is none
}

// place finds out what nearly every put needs to know: from memory, or in one query.
func (t *tx) place(ctx context.Context, p meta.ManifestPut) (place, error) {
	var tag, was string
	var pushed int64
	if len(p.Tags) > 0 {
		tag = p.Tags[0].String()
	}
	at, known := t.hotPlace(p)
	if known {
		return at, nil
	}
	err := t.get(ctx, `SELECT r.id, r.listed, EXISTS (SELECT 1 FROM losses l WHERE l.repo_id = r.id AND l.digest = $2),
		COALESCE(m.id, 0), COALESCE(m.media_type = $3 AND m.body = $4, FALSE), COALESCE(m.pushed_us, 0), COALESCE(t.digest, '')
		FROM repos r LEFT JOIN manifests m ON m.repo_id = r.id AND m.digest = $2 LEFT JOIN tags t ON t.repo_id = r.id AND t.name = $5
		WHERE r.name = $1`, args{p.Repo.String(), p.Digest.String(), p.Manifest.MediaType, p.Manifest.Body, tag},
		&at.repo, &at.listed, &at.lost, &at.manifest, &at.same, &pushed, &was)
	if isNotFound(err) {
		at.repo, err = t.makeRepo(ctx, p.Repo)
	}
	if err == nil && was != "" {
		at.was, err = oci.ParseDigest(was)
	}
	if err == nil {
		t.learnPlace(p, at, pushed)
	}
	return at, err
}

// putWhole sees to it that the repository has the manifest and all its parts, and
// returns its number and the parts that are not there and need not be.
func (t *tx) putWhole(ctx context.Context, at place, p meta.ManifestPut) (int64, []oci.Digest, error) {
	if at.same {
		var lacks map[string]bool
		var err error
		if !t.hotParts(at.repo, p) {
			lacks, err = missing(ctx, t, at.manifest, func(b meta.Blob, m hotMember) { t.learnBlob(at.repo, b, m) })
		}
		if err == nil && len(lacks) == 0 && len(p.Tags) == 0 { // else the tags know
			err = t.pushedAgain(ctx, at.manifest)
		}
		if err != nil || len(lacks) == 0 {
			return at.manifest, nil, err
		}
	}
	digests, dangling, err := t.checkParts(ctx, at.repo, p)
	if err != nil {
		return 0, nil, err
	}
	id, err := t.storeManifest(ctx, at, p, digests)
	if err == nil {
		err = t.noteDangling(ctx, at.repo, id, dangling)
	}
	return id, dangling, err
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
	if p, ok := t.hotPart(repo, d); ok {
		return p, nil
	}
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

// storeManifest stores the manifest and returns its number. One that is there
// and is not the same, as a damaged one is not, is replaced.
func (t *tx) storeManifest(ctx context.Context, at place, p meta.ManifestPut, digests []oci.Digest) (int64, error) {
	m, id := p.Manifest, at.manifest
	subject, annotations, err := referrer(m)
	if err != nil {
		return 0, err
	}
	row := args{at.repo, p.Digest.String(), m.MediaType, len(m.Body), subject, m.ArtifactType, t.wall(), p.By.Name, annotations, m.Body}
	switch {
	case at.same:
		if len(p.Tags) == 0 { // else the tags know
			err = t.pushedAgain(ctx, id)
		}
		return id, err
	case id != 0:
		err = t.replace(ctx, id, row)
	default:
		id, err = t.insert(ctx, `INSERT INTO manifests (repo_id, digest, media_type, size, subject, artifact_type, pushed_us, pushed_by, annotations, body)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`, row...)
		if err == nil {
			err = t.list(ctx, at, p.Digest)
		}
	}
	for i := 0; err == nil && i < len(digests); i++ {
		_, err = t.exec(ctx, `INSERT INTO manifest_refs (repo_id, digest, manifest_id) VALUES ($1, $2, $3)`, at.repo, digests[i].String(), id)
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
func (t *tx) list(ctx context.Context, at place, d oci.Digest) error {
	if !at.listed {
		if _, err := t.exec(ctx, `UPDATE repos SET listed = 1 WHERE id = $1 AND listed = 0`, at.repo); err != nil {
			return err
		}
	}
	if err := t.unwritten(ctx, at.repo, meta.LinkName{Kind: meta.RevisionLink, Name: d.String()}); err != nil || !at.lost {
		return err
	}
	return t.regain(ctx, at.repo, d)
}

// replace overwrites manifest id with row, and takes away its references.
func (t *tx) replace(ctx context.Context, id int64, row args) error {
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
