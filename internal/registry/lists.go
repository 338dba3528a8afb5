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
	within := p.Within
	if within == nil {
		if readable == nil {
			list, err := c.Records.Repos(ctx, p.After, p.Limit+1)
			return cut(list, p.Limit, oci.Repo.String), err
		}
		within = []string{""}
	}
	var list []oci.Repo
	within, after := skip(within, p.After)
	for len(within) > 0 {
		batch, err := c.Records.Repos(ctx, after, p.Limit+1)
		if err != nil {
			return List[oci.Repo]{}, err
		}
		last := ""
		for _, repo := range batch {
			last = repo.String()
			if !strings.HasPrefix(last, within[0]) {
				if within, after = skip(within, last); len(within) == 0 {
					break
				}
			}
			if !strings.HasPrefix(last, within[0]) || readable != nil && !readable(repo) {
				continue
			}
			if list = append(list, repo); len(list) > p.Limit {
				return cut(list, p.Limit, oci.Repo.String), nil
			}
		}
		if len(batch) <= p.Limit {
			break
		}
		after = max(after, last)
	}
	return List[oci.Repo]{Items: list}, nil
}

// skip returns those of within with which names behind after may begin, and
// behind what the first of these names is.
func skip(within []string, after string) ([]string, string) {
	for len(within) > 0 && within[0] < after && !strings.HasPrefix(after, within[0]) {
		within = within[1:]
	}
	if len(within) == 0 || within[0] <= after {
		return within, after
	}
	// What comes just before the first name that begins so: no name has a tilde.
	prefix := within[0]
	return within, prefix[:len(prefix)-1] + string(rune(prefix[len(prefix)-1]-1)) + "~"
}

// Tags implements Lister.
func (c *Core) Tags(ctx context.Context, repo oci.Repo, p Page) (List[oci.Tag], error) {
	tags, err := c.Records.TagNames(ctx, repo, p.After, p.Limit+1)
	if err != nil {
		return List[oci.Tag]{}, err
	}
	if len(tags) == 0 {
		return List[oci.Tag]{}, c.nameUnknown(ctx, repo)
	}
	return cut(tags, p.Limit, oci.Tag.String), nil
}

// Referrers implements Lister.
func (c *Core) Referrers(ctx context.Context, repo oci.Repo, subject oci.Digest, artifactType string, p Page) (List[oci.Entry], error) {
	q := meta.ReferrerQuery{Repo: repo, Subject: subject, Type: artifactType, After: p.After, Limit: p.Limit + 1, Bytes: p.Bytes}
	found, err := c.Records.Referrers(ctx, q)
	if err != nil {
		return List[oci.Entry]{}, err
	}
	folded, err := c.fallbackReferrers(ctx, q)
	if err != nil {
		return List[oci.Entry]{}, err
	}
	if len(folded) > 0 {
		found = slices.Concat(found, folded)
		slices.SortStableFunc(found, func(a, b oci.Entry) int { return strings.Compare(a.Digest.String(), b.Digest.String()) })
		found = slices.CompactFunc(found, func(a, b oci.Entry) bool { return a.Digest == b.Digest })
	}
	return cut(found, fitting(found, p), func(e oci.Entry) string { return e.Digest.String() }), nil
}

// fitting returns how many of list, but at least one, fit into a page.
func fitting(list []oci.Entry, p Page) int {
	size := 0
	for i, e := range list[:min(len(list), p.Limit)] {
		if size += len(e.JSON) + 1; p.Bytes > 0 && size > p.Bytes && i > 0 {
			return i
		}
	}
	return p.Limit
}

// fallbackReferrers reads the index that clients keep under the fallback tag of
// a subject where a registry has no referrers API, as data taken over from such a
// registry does. What it lists and the repository doesn't have is left out.
func (c *Core) fallbackReferrers(ctx context.Context, q meta.ReferrerQuery) ([]oci.Entry, error) {
	m, err := c.findManifest(ctx, q.Repo, oci.Ref{Tag: q.Subject.FallbackTag()})
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
	children := slices.DeleteFunc(index.Children, func(d oci.Descriptor) bool {
		return d.Digest.String() <= q.After || q.Type != "" && d.ArtifactType != q.Type
	})
	slices.SortStableFunc(children, func(a, b oci.Descriptor) int { return strings.Compare(a.Digest.String(), b.Digest.String()) })
	children = slices.CompactFunc(children, func(a, b oci.Descriptor) bool { return a.Digest == b.Digest })
	var list []oci.Entry
	for _, d := range children {
		if len(list) == q.Limit {
			break
		}
		_, err := c.findManifest(ctx, q.Repo, oci.Ref{Digest: d.Digest})
		if errors.Is(err, meta.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		one, err := d.Entry()
		if err != nil {
			return nil, err
		}
		list = append(list, one)
	}
	return list, nil
}

// cut returns the first limit items of list, which was asked for with one too
// many, and says where the next part begins.
func cut[T any](items []T, limit int, name func(T) string) List[T] {
	if len(items) <= limit {
		return List[T]{Items: items}
	}
	return List[T]{Items: items[:limit:limit], Next: name(items[limit-1])}
}
