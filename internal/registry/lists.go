package registry

import (
	"context"
	"errors"
	"slices"
	"strings"

	"berth/internal/meta"
	"berth/internal/oci"
)

// Repos implements Lister. It goes on until the page is full, so that a page is
// only short at the end, however few repositories are readable.
func (c *Core) Repos(ctx context.Context, p Page, readable func(oci.Repo) bool) (List[oci.Repo], error) {
	var list List[oci.Repo]
	for after := p.After; ; {
		batch, err := c.Records.Repos(ctx, after, p.Limit+1)
		if err != nil {
			return list, err
		}
		for _, repo := range batch {
			if readable != nil && !readable(repo) {
				continue
			}
			if len(list.Items) == p.Limit {
				list.Next = list.Items[p.Limit-1].String()
				return list, nil
			}
			list.Items = append(list.Items, repo)
		}
		if len(batch) <= p.Limit {
			return list, nil
		}
		after = batch[len(batch)-1].String()
	}
}

// Tags implements Lister.
func (c *Core) Tags(ctx context.Context, repo oci.Repo, p Page) (List[oci.Tag], error) {
	tags, err := c.Records.Tags(ctx, repo, p.After, p.Limit+1)
	if err != nil {
		return List[oci.Tag]{}, err
	}
	if len(tags) == 0 {
		return List[oci.Tag]{}, c.nameUnknown(ctx, repo)
	}
	list := List[oci.Tag]{Items: make([]oci.Tag, 0, len(tags))}
	for _, t := range tags {
		list.Items = append(list.Items, t.Name)
	}
	return cut(list, p.Limit, oci.Tag.String), nil
}

// Referrers implements Lister.
func (c *Core) Referrers(ctx context.Context, repo oci.Repo, subject oci.Digest, artifactType string, p Page) (List[oci.Descriptor], error) {
	var list List[oci.Descriptor]
	found, err := c.Records.Referrers(ctx, repo, subject, artifactType, p.After, p.Limit+1)
	if err != nil {
		return list, err
	}
	folded, err := c.fallbackReferrers(ctx, repo, subject, artifactType, p.After)
	if err != nil {
		return list, err
	}
	list.Items = append(found, folded...)
	slices.SortStableFunc(list.Items, func(a, b oci.Descriptor) int { return strings.Compare(a.Digest.String(), b.Digest.String()) })
	list.Items = slices.CompactFunc(list.Items, func(a, b oci.Descriptor) bool { return a.Digest == b.Digest })
	return cut(list, p.Limit, func(d oci.Descriptor) string { return d.Digest.String() }), nil
}

// fallbackReferrers reads the index that clients keep under the fallback tag of
// subject where a registry has no referrers API, as data taken over from such a
// registry does. What it lists and the repository doesn't have is left out.
func (c *Core) fallbackReferrers(ctx context.Context, repo oci.Repo, subject oci.Digest, artifactType, after string) ([]oci.Descriptor, error) {
	m, err := c.findManifest(ctx, repo, oci.Ref{Tag: subject.FallbackTag()})
	if errors.Is(err, meta.ErrNotFound) || err == nil && m.MediaType != oci.MediaTypeIndex {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	index, err := oci.ParseManifest(m.MediaType, m.Body)
	if err != nil {
		return nil, nil // an old manifest that is no index by today's rules lists nothing
	}
	var list []oci.Descriptor
	for _, d := range index.Children {
		if d.Digest.String() <= after || artifactType != "" && d.ArtifactType != artifactType {
			continue
		}
		_, err := c.findManifest(ctx, repo, oci.Ref{Digest: d.Digest})
		if errors.Is(err, meta.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, d)
	}
	return list, nil
}

// cut shortens a list that was asked for with one item too many, and says where
// the next part begins.
func cut[T any](list List[T], limit int, name func(T) string) List[T] {
	if len(list.Items) > limit {
		list.Items = list.Items[:limit]
		list.Next = name(list.Items[limit-1])
	}
	return list
}
