package fsck

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"berth/internal/meta"
	"berth/internal/oci"
)

// manifests hashes and parses every manifest, and compares what it names with
// what is recorded of that.
func (r *run) manifests(ctx context.Context) error {
	for after := int64(0); ; {
		list, err := r.Records.AuditManifests(ctx, after, manifestPage)
		if err != nil || len(list) == 0 {
			return err
		}
		for _, m := range list {
			after = m.ID
			if !r.covers(m.Repo.ID) {
				continue
			}
			if err := r.manifest(ctx, m); err != nil {
				return err
			}
			r.sum.Manifests++
			if err := r.progress(Progress{What: "read manifests", Done: r.sum.Manifests, Total: r.total.Manifests}); err != nil {
				return err
			}
		}
	}
}

// manifest checks one manifest. The record is one row, read at one moment, so its
// bytes need no second look; what it needs is compared in one moment, too.
func (r *run) manifest(ctx context.Context, m meta.AuditManifest) error {
	about := func(k Kind) Finding {
		f := newFinding(k)
		f.Repository, f.Digest, f.Size = m.Repo.Name, m.Digest, m.Size
		return f
	}
	if !hasDigest(m) {
		return r.manifestFinding(ctx, about(ManifestBytes), m)
	}
	if _, err := parse(m); err != nil {
		f := about(ManifestForm)
		f.Detail = err.Error()
		return r.report(f)
	}
	now, refs, err := r.Records.FindAuditManifest(ctx, m.ID)
	if errors.Is(err, meta.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	detail, err := compareParts(now, refs)
	if err != nil || detail == "" {
		return nil // damaged in this very moment: the next check tells
	}
	f := about(Kind(meta.FaultReferences))
	f.Detail = detail
	return r.manifestFinding(ctx, f, m)
}

// manifestFinding repairs a manifest if it is to, and reports it.
func (r *run) manifestFinding(ctx context.Context, f Finding, m meta.AuditManifest) error {
	if r.repairing() {
		if err := r.repairManifest(ctx, &f, m); err != nil {
			return err
		}
	}
	return r.report(f)
}

// hasDigest reports whether a manifest's bytes are what its digest says.
func hasDigest(m meta.AuditManifest) bool {
	d, err := oci.ParseDigest(m.Digest)
	return err == nil && d.Algorithm().FromBytes(m.Body) == d
}

// parse reads a stored manifest, which may have been registry:2's.
func parse(m meta.AuditManifest) (oci.Manifest, error) {
	p, err := oci.ParseManifest(m.MediaType, m.Body)
	if err == nil {
		return p, nil
	}
	return oci.ParseStored(m.Body)
}

// needs lists the distinct digests that a manifest needs, in order.
func needs(m oci.Manifest) []string {
	var list []string
	for _, d := range slices.Concat(m.Blobs, m.Children) {
		list = append(list, d.Digest.String())
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// compareParts says how what is recorded of a manifest's parts differs from what
// it names; empty if it doesn't.
func compareParts(m meta.AuditManifest, refs []string) (string, error) {
	p, err := parse(m)
	if err != nil || !hasDigest(m) {
		return "", errors.Join(errWrong, err)
	}
	want := needs(p)
	slices.Sort(refs)
	if slices.Equal(want, refs) {
		return "", nil
	}
	missing, extra := without(want, refs), without(refs, want)
	return fmt.Sprintf("not recorded: %d %v; recorded and not named: %d %v", len(missing), first(missing), len(extra), first(extra)), nil
}

// without returns what is in list and not in other, both in order.
func without(list, other []string) []string {
	var rest []string
	for _, s := range list {
		if _, ok := slices.BinarySearch(other, s); !ok {
			rest = append(rest, s)
		}
	}
	return rest
}

// first returns the first few of a list.
func first(list []string) []string { return list[:min(len(list), 3)] }
