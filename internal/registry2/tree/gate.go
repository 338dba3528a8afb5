package tree

import (
	"context"
	"fmt"

	"berth/internal/blob"
	"berth/internal/meta"
	"berth/internal/oci"
	"berth/internal/registry"
)

// Gate returns svc as it may be used while repositories are being taken over: a
// request has its own repository taken over first. Lists of all repositories wait
// for the end of it, or are refused with an error that wraps blob.ErrBusy.
func (a *Adopter) Gate(svc registry.Service) registry.Service {
	if a.Done() {
		return svc
	}
	return &gate{svc, a}
}

// gate is the Service that Gate returns.
type gate struct {
	svc registry.Service
	a   *Adopter
}

// Blob implements registry.Puller.
func (g *gate) Blob(ctx context.Context, repo oci.Repo, d oci.Digest) (*registry.Blob, error) {
	if err := g.a.Ensure(ctx, repo); err != nil {
		return nil, err
	}
	return g.svc.Blob(ctx, repo, d)
}

// BlobSize implements registry.Puller.
func (g *gate) BlobSize(ctx context.Context, repo oci.Repo, d oci.Digest) (int64, error) {
	if err := g.a.Ensure(ctx, repo); err != nil {
		return 0, err
	}
	return g.svc.BlobSize(ctx, repo, d)
}

// Manifest implements registry.Puller.
func (g *gate) Manifest(ctx context.Context, repo oci.Repo, ref oci.Ref) (meta.Manifest, error) {
	if err := g.a.Ensure(ctx, repo); err != nil {
		return meta.Manifest{}, err
	}
	return g.svc.Manifest(ctx, repo, ref)
}

// MountBlob implements registry.Pusher.
func (g *gate) MountBlob(ctx context.Context, m registry.Mount) error {
	for _, repo := range []oci.Repo{m.From, m.To} {
		if repo.IsZero() {
			continue
		}
		if err := g.a.Ensure(ctx, repo); err != nil {
			return err
		}
	}
	return g.svc.MountBlob(ctx, m)
}

// StartUpload implements registry.Pusher.
func (g *gate) StartUpload(ctx context.Context, repo oci.Repo, a oci.Algorithm) (registry.Upload, error) {
	if err := g.a.Ensure(ctx, repo); err != nil {
		return nil, err
	}
	return g.svc.StartUpload(ctx, repo, a)
}

// ResumeUpload implements registry.Pusher.
func (g *gate) ResumeUpload(ctx context.Context, repo oci.Repo, id meta.UploadID) (registry.Upload, error) {
	if err := g.a.Ensure(ctx, repo); err != nil {
		return nil, err
	}
	return g.svc.ResumeUpload(ctx, repo, id)
}

// PutManifest implements registry.Pusher.
func (g *gate) PutManifest(ctx context.Context, p registry.Put) (registry.PutResult, error) {
	if err := g.a.Ensure(ctx, p.Repo); err != nil {
		return registry.PutResult{}, err
	}
	return g.svc.PutManifest(ctx, p)
}

// DeleteBlob implements registry.Deleter.
func (g *gate) DeleteBlob(ctx context.Context, repo oci.Repo, d oci.Digest) error {
	if err := g.a.Ensure(ctx, repo); err != nil {
		return err
	}
	return g.svc.DeleteBlob(ctx, repo, d)
}

// DeleteManifest implements registry.Deleter.
func (g *gate) DeleteManifest(ctx context.Context, repo oci.Repo, d oci.Digest) error {
	if err := g.a.Ensure(ctx, repo); err != nil {
		return err
	}
	return g.svc.DeleteManifest(ctx, repo, d)
}

// DeleteTag implements registry.Deleter.
func (g *gate) DeleteTag(ctx context.Context, repo oci.Repo, tag oci.Tag) error {
	if err := g.a.Ensure(ctx, repo); err != nil {
		return err
	}
	return g.svc.DeleteTag(ctx, repo, tag)
}

// DeleteRepo implements registry.Deleter.
func (g *gate) DeleteRepo(ctx context.Context, repo oci.Repo) (int64, error) {
	if err := g.a.Ensure(ctx, repo); err != nil {
		return 0, err
	}
	return g.svc.DeleteRepo(ctx, repo)
}

// Repos implements registry.Lister.
func (g *gate) Repos(ctx context.Context, p registry.Page, readable func(oci.Repo) bool) (registry.List[oci.Repo], error) {
	if !g.a.Done() {
		return registry.List[oci.Repo]{}, fmt.Errorf("%w: what registry:2 has is still being taken over", blob.ErrBusy)
	}
	return g.svc.Repos(ctx, p, readable)
}

// Tags implements registry.Lister.
func (g *gate) Tags(ctx context.Context, repo oci.Repo, p registry.Page) (registry.List[oci.Tag], error) {
	if err := g.a.Ensure(ctx, repo); err != nil {
		return registry.List[oci.Tag]{}, err
	}
	return g.svc.Tags(ctx, repo, p)
}

// Referrers implements registry.Lister.
func (g *gate) Referrers(ctx context.Context, repo oci.Repo, subject oci.Digest, artifactType string, p registry.Page) (registry.List[oci.Entry], error) {
	if err := g.a.Ensure(ctx, repo); err != nil {
		return registry.List[oci.Entry]{}, err
	}
	return g.svc.Referrers(ctx, repo, subject, artifactType, p)
}
