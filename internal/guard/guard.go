// Package guard decides, for each thing a client asks of a registry, whether
// this client may have it.
//
// It is a Service around a Service, so that the API, the pages and whatever
// comes later get the same answer from the same place. It knows nothing of HTTP
// and asks nothing of storage before it has decided: who has no right learns
// nothing of what is there.
package guard

import (
	"context"

	"berth/internal/auth"
	"berth/internal/meta"
	"berth/internal/oci"
	"berth/internal/registry"
)

// A Guard lets through what its policy allows its principal.
//
// It does not embed the Service it guards: a method added to the interface
// doesn't compile until someone has decided here who may call it.
type Guard struct {
	svc    registry.Service
	who    auth.Principal
	policy auth.Policy
}

var _ registry.Service = (*Guard)(nil)

// New returns svc as far as policy opens it to who. Refusals are
// *auth.DeniedError.
func New(svc registry.Service, who auth.Principal, policy auth.Policy) *Guard {
	return &Guard{svc: svc, who: who, policy: policy}
}

func (g *Guard) check(repo oci.Repo, action auth.Action) error {
	a := auth.Access{Repo: repo, Action: action}
	d := g.policy.Decide(g.who, a)
	if d.Allowed() {
		return nil
	}
	return &auth.DeniedError{Principal: g.who, Access: a, Verdict: d.Verdict}
}

// and returns which repositories may be pulled from and are readable for the
// caller, too; nil means all.
func (g *Guard) and(readable func(oci.Repo) bool) func(oci.Repo) bool {
	return func(repo oci.Repo) bool {
		return g.policy.Decide(g.who, auth.Access{Repo: repo, Action: auth.Pull}).Allowed() && (readable == nil || readable(repo))
	}
}

// Blob needs pull.
func (g *Guard) Blob(ctx context.Context, repo oci.Repo, d oci.Digest) (*registry.Blob, error) {
	if err := g.check(repo, auth.Pull); err != nil {
		return nil, err
	}
	return g.svc.Blob(ctx, repo, d)
}

// BlobSize needs pull.
func (g *Guard) BlobSize(ctx context.Context, repo oci.Repo, d oci.Digest) (int64, error) {
	if err := g.check(repo, auth.Pull); err != nil {
		return 0, err
	}
	return g.svc.BlobSize(ctx, repo, d)
}

// Manifest needs pull.
func (g *Guard) Manifest(ctx context.Context, repo oci.Repo, ref oci.Ref) (meta.Manifest, error) {
	if err := g.check(repo, auth.Pull); err != nil {
		return meta.Manifest{}, err
	}
	return g.svc.Manifest(ctx, repo, ref)
}

// MountBlob needs create on the target, and pull on the source. Without the
// latter it answers as if the source had no such blob: clients give up on a
// refusal, where they would upload the blob after a "not found".
func (g *Guard) MountBlob(ctx context.Context, m registry.Mount) error {
	if err := g.check(m.To, auth.Create); err != nil {
		return err
	}
	m.Readable = g.and(m.Readable)
	return g.svc.MountBlob(ctx, m)
}

// StartUpload needs create.
func (g *Guard) StartUpload(ctx context.Context, repo oci.Repo, a oci.Algorithm) (registry.Upload, error) {
	if err := g.check(repo, auth.Create); err != nil {
		return nil, err
	}
	return g.svc.StartUpload(ctx, repo, a)
}

// ResumeUpload needs create.
func (g *Guard) ResumeUpload(ctx context.Context, repo oci.Repo, id meta.UploadID) (registry.Upload, error) {
	if err := g.check(repo, auth.Create); err != nil {
		return nil, err
	}
	return g.svc.ResumeUpload(ctx, repo, id)
}

// PutManifest needs create. Tags that point to something else stay where they
// are unless there is a right to push, too: the transaction that writes them
// sees to that, since only it knows which tags there are.
func (g *Guard) PutManifest(ctx context.Context, p registry.Put) (registry.PutResult, error) {
	if err := g.check(p.Repo, auth.Create); err != nil {
		return registry.PutResult{}, err
	}
	if g.check(p.Repo, auth.Push) != nil {
		p.KeepTags = true
	}
	return g.svc.PutManifest(ctx, p)
}

// DeleteBlob needs delete.
func (g *Guard) DeleteBlob(ctx context.Context, repo oci.Repo, d oci.Digest) error {
	if err := g.check(repo, auth.Delete); err != nil {
		return err
	}
	return g.svc.DeleteBlob(ctx, repo, d)
}

// DeleteManifest needs delete.
func (g *Guard) DeleteManifest(ctx context.Context, repo oci.Repo, d oci.Digest) error {
	if err := g.check(repo, auth.Delete); err != nil {
		return err
	}
	return g.svc.DeleteManifest(ctx, repo, d)
}

// DeleteTag needs delete.
func (g *Guard) DeleteTag(ctx context.Context, repo oci.Repo, tag oci.Tag) error {
	if err := g.check(repo, auth.Delete); err != nil {
		return err
	}
	return g.svc.DeleteTag(ctx, repo, tag)
}

// DeleteRepo needs delete.
func (g *Guard) DeleteRepo(ctx context.Context, repo oci.Repo) (int64, error) {
	if err := g.check(repo, auth.Delete); err != nil {
		return 0, err
	}
	return g.svc.DeleteRepo(ctx, repo)
}

// Repos lists only what the principal may pull. Whoever may not even enter the
// registry is refused, instead of told that it is empty.
func (g *Guard) Repos(ctx context.Context, p registry.Page, readable func(oci.Repo) bool) (registry.List[oci.Repo], error) {
	if d := g.policy.Enters(g.who); !d.Allowed() {
		return registry.List[oci.Repo]{}, &auth.DeniedError{Principal: g.who, Verdict: d.Verdict}
	}
	lister := *g
	lister.who = g.who.Lister()
	if b, ok := g.policy.(auth.Bounded); ok && p.Within == nil {
		reach := b.Within(lister.who, auth.Pull)
		if reach.All {
			return g.svc.Repos(ctx, p, readable)
		}
		p.Within = reach.Prefixes
	}
	return g.svc.Repos(ctx, p, lister.and(readable))
}

// Tags needs pull.
func (g *Guard) Tags(ctx context.Context, repo oci.Repo, p registry.Page) (registry.List[oci.Tag], error) {
	if err := g.check(repo, auth.Pull); err != nil {
		return registry.List[oci.Tag]{}, err
	}
	return g.svc.Tags(ctx, repo, p)
}

// Referrers needs pull.
func (g *Guard) Referrers(ctx context.Context, repo oci.Repo, subject oci.Digest, artifactType string, p registry.Page) (registry.List[oci.Entry], error) {
	if err := g.check(repo, auth.Pull); err != nil {
		return registry.List[oci.Entry]{}, err
	}
	return g.svc.Referrers(ctx, repo, subject, artifactType, p)
}
