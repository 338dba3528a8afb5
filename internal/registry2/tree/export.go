package tree

import (
	"context"
	"errors"
	"io/fs"
	"path"

	"berth/internal/blob"
	"berth/internal/meta"
	"berth/internal/oci"
)

// ExportRecords is what an Exporter reads.
type ExportRecords interface {
	meta.Inventory
	Repos(ctx context.Context, after string, limit int) ([]oci.Repo, error)
	Tags(ctx context.Context, repo oci.Repo, after string, limit int) ([]meta.Tag, error)
}

// Exports puts content where a registry:2 finds it.
type Exports interface {
	// Give makes the object of key, of size bytes, what registry:2 has of the
	// returned digest. The error wraps fs.ErrNotExist if there is no such object.
	Give(ctx context.Context, key blob.Key, size int64) (oci.Digest, error)

	// PutData makes content what registry:2 has of d.
	PutData(ctx context.Context, d oci.Digest, content []byte) error
}

// An Exporter writes everything that the records know into a tree of its own,
// which a registry:2 can then be started on. Its fields must be set before use.
//
// It can run beside any traffic, be interrupted anywhere and be repeated: links
// are written only behind what they name, and those that are right already stay.
type Exporter struct {
	To       *Tree
	Contents Exports // nil only counts
	Records  ExportRecords
	Extra    Extra
	Tell     func(ExportReport) error // is told how far it is, after each repository
}

// Extra says what happens to links in the tree that the records don't know.
type Extra int

// The two ways.
const (
	KeepExtra Extra = iota
	RemoveExtra
)

// An ExportReport says what was exported.
type ExportReport struct {
	Repositories int       `json:"repositories"`
	Tags         int       `json:"tags"`
	Manifests    int       `json:"manifests"`
	Blobs        int       `json:"blobs"` // memberships: one that two repositories have counts twice
	Bytes        int64     `json:"bytes"` // of those
	Extra        int       `json:"extra"` // links that the records don't know
	Problems     []Problem `json:"problems,omitempty"`
}

// exportPage is how many records are read at once.
const exportPage = 200

// Run exports everything.
func (e *Exporter) Run(ctx context.Context) (ExportReport, error) {
	var r ExportReport
	known := map[string]bool{}
	for after := ""; ; {
		repos, err := e.Records.Repos(ctx, after, exportPage)
		if err != nil {
			return r, err
		}
		for _, repo := range repos {
			after = repo.String()
			known[after] = true
			if err := e.repo(ctx, repo, &r); err != nil {
				return r, err
			}
			r.Repositories++
			if err := e.Tell(r); err != nil {
				return r, err
			}
		}
		if len(repos) < exportPage {
			return r, e.otherRepos(ctx, known, &r)
		}
	}
}

// An export is that of one repository.
type export struct {
	*Exporter
	repo oci.Repo
	r    *ExportReport
	w    *writer                      // nil only counts
	has  map[meta.LinkName]oci.Digest // what the tree has, less what was seen
}

// repo exports one repository. It reads tags, manifests, blobs, in this order, and
// writes them the other way round: what is pushed meanwhile can't be missing then.
func (e *Exporter) repo(ctx context.Context, repo oci.Repo, r *ExportReport) error {
	x := &export{Exporter: e, repo: repo, r: r, has: map[meta.LinkName]oci.Digest{}}
	if err := x.open(ctx); err != nil {
		return err
	}
	tags, err := all(ctx, func(after string) ([]meta.Tag, error) { return e.Records.Tags(ctx, repo, after, exportPage) },
		func(t meta.Tag) string { return t.Name.String() })
	if err != nil {
		return err
	}
	manifests, err := x.manifests(ctx)
	if err != nil {
		return err
	}
	if err := x.blobs(ctx); err != nil {
		return err
	}
	written := make(map[oci.Digest]bool, len(manifests))
	for _, d := range manifests {
		if err := x.link(meta.LinkName{Kind: meta.RevisionLink, Name: d.String()}, d); err != nil {
			return err
		}
		written[d] = true
		r.Manifests++
	}
	for _, t := range tags {
		if !written[t.Digest] {
			continue // it was deleted meanwhile
		}
		if err := x.link(meta.LinkName{Kind: meta.TagLink, Name: t.Name.String()}, t.Digest); err != nil {
			return err
		}
		r.Tags++
	}
	return x.finish()
}

// all collects a list in pages.
func all[T any](ctx context.Context, get func(after string) ([]T, error), name func(T) string) ([]T, error) {
	var list []T
	for after := ""; ; {
		part, err := get(after)
		if err != nil {
			return nil, err
		}
		list = append(list, part...)
		if len(part) < exportPage {
			return list, ctx.Err()
		}
		after = name(part[len(part)-1])
	}
}

// open finds out what the tree has of the repository.
func (x *export) open(ctx context.Context) error {
	if x.Contents == nil {
		return nil
	}
	var err error
	if x.w, err = x.To.writer(); err != nil {
		return err
	}
	root, err := x.To.openRepo(x.repo)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer root.Close()
	return links(ctx, root, nil, func(e entry) { x.has[e.LinkName] = e.target })
}

// manifests puts the manifests where registry:2 finds them, and lists them.
func (x *export) manifests(ctx context.Context) ([]oci.Digest, error) {
	var list []oci.Digest
	for after := ""; ; {
		part, err := x.Records.RepoManifests(ctx, x.repo, after, exportPage)
		if err != nil {
			return nil, err
		}
		for _, m := range part {
			after = m.Digest.String()
			list = append(list, m.Digest)
			if x.Contents == nil {
				continue
			}
			if err := x.Contents.PutData(ctx, m.Digest, m.Body); err != nil {
				return nil, err
			}
		}
		if len(part) < exportPage {
			return list, nil
		}
	}
}

// blobs exports the blobs, with their links.
func (x *export) blobs(ctx context.Context) error {
	for after := ""; ; {
		part, err := x.Records.RepoBlobs(ctx, x.repo, after, exportPage)
		if err != nil {
			return err
		}
		for _, b := range part {
			after = b.Digest.String()
			if err := x.blob(ctx, b); err != nil {
				return err
			}
		}
		if len(part) < exportPage {
			return nil
		}
	}
}

func (x *export) blob(ctx context.Context, b meta.Blob) error {
	name := meta.LinkName{Kind: meta.LayerLink, Name: b.Digest.String()}
	target := b.Digest
	var err error
	if !b.Damaged && x.Contents != nil {
		target, err = x.Contents.Give(ctx, b.Key, b.Size)
	}
	if b.Damaged || errors.Is(err, fs.ErrNotExist) {
		x.r.Problems = append(x.r.Problems, Problem{Path: x.repo.String() + "/" + linkDir(name), What: "the blob is damaged and was left out: push it again"})
		return nil
	}
	if err != nil {
		return err
	}
	x.r.Blobs++
	x.r.Bytes += b.Size
	return x.link(name, target)
}

// link makes a link hold d, unless it does.
func (x *export) link(l meta.LinkName, d oci.Digest) error {
	has := x.has[l]
	delete(x.has, l)
	if x.w == nil || has == d {
		return nil
	}
	_, err := x.w.write(x.repo, l, d)
	return err
}

// finish sees to what the records don't know, from the tags down, and makes
// everything durable.
func (x *export) finish() error {
	x.r.Extra += len(x.has)
	if x.w == nil {
		return nil
	}
	for _, kind := range []meta.LinkKind{meta.TagLink, meta.RevisionLink, meta.LayerLink} {
		for l := range x.has {
			if x.Extra != RemoveExtra || l.Kind != kind {
				continue
			}
			if err := x.w.remove(x.repo, l); err != nil {
				return err
			}
		}
	}
	return x.w.sync()
}

// otherRepos sees to repositories in the tree that the records don't know.
func (e *Exporter) otherRepos(ctx context.Context, known map[string]bool, r *ExportReport) error {
	if e.Contents == nil {
		return nil
	}
	var extra []string
	err := e.To.walk(ctx, "", func(name string) error {
		if !known[name] {
			extra = append(extra, name)
		}
		return nil
	}, func(p Problem) { r.Problems = append(r.Problems, p) })
	if err != nil {
		return err
	}
	r.Extra += len(extra)
	if e.Extra != RemoveExtra {
		return nil
	}
	for _, name := range extra {
		for _, dir := range []string{manifestsDir, layersDir, uploadsDir} {
			if err := e.To.root.RemoveAll(path.Join(reposDir, name, dir)); err != nil {
				return err
			}
		}
	}
	return nil
}
