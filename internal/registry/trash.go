package registry

import (
	"context"
	"errors"
	"fmt"

	"berth/internal/meta"
	"berth/internal/oci"
)

// TrashRecords is what a Core needs to delete repositories and to bring back what
// was deleted.
type TrashRecords interface {
	meta.Trash
	meta.Discarder
}

// recordBatch is how many manifests of a whole repository one transaction tells
// of.
const recordBatch = 100

// DeleteRepo implements Deleter.
func (c *Core) DeleteRepo(ctx context.Context, repo oci.Repo) (int64, error) {
	if c.Deletion == DeletionOff {
		return 0, errDeletionOff()
	}
	entry, err := c.Records.DeleteRepo(ctx, repo, c.by)
	if errors.Is(err, meta.ErrNotFound) {
		return 0, &oci.Error{Code: oci.NameUnknown, Message: fmt.Sprintf("there is no repository %s", repo)}
	}
	if err != nil {
		return 0, immutable(err, "so the repository stays")
	}
	c.recordRepos(ctx)
	return entry, nil
}

// recordRepos records the events of repositories that went or came back as a
// whole. What fails is left to the next collection.
func (c *Core) recordRepos(ctx context.Context) {
	for {
		n, err := c.Records.RecordRepo(ctx, recordBatch)
		if err != nil {
			c.Log.Warn("record the events of a whole repository; the next collection will", "error", err)
		}
		if n == 0 || err != nil {
			return
		}
	}
}

// Trash lists what was deleted from repo, from all repositories if it is zero,
// the newest first: at most limit, older than entry before if that is not 0.
func (c *Core) Trash(ctx context.Context, repo oci.Repo, before int64, limit int) ([]meta.TrashEntry, error) {
	return c.Records.TrashEntries(ctx, repo, before, limit)
}

// FindTrash returns the entry that w names. What is not there (any more) is
// MANIFEST_UNKNOWN, or NAME_UNKNOWN where a whole repository was asked for.
func (c *Core) FindTrash(ctx context.Context, w meta.TrashWhat) (meta.TrashEntry, error) {
	e, err := c.Records.FindTrash(ctx, w)
	if errors.Is(err, meta.ErrNotFound) {
		return e, trashUnknown(w)
	}
	return e, err
}

func trashUnknown(w meta.TrashWhat) error {
	switch {
	case w.ID != 0:
		return &oci.Error{Code: oci.ManifestUnknown, Message: fmt.Sprintf("the trash has no entry %d (any more)", w.ID)}
	case w.Ref == (oci.Ref{}):
		return &oci.Error{Code: oci.NameUnknown, Message: fmt.Sprintf(
			"the trash has no whole repository %s (any more): single tags and manifests are restored by their name, or by the number of their entry", w.Repo)}
	}
	return &oci.Error{Code: oci.ManifestUnknown, Message: fmt.Sprintf("the trash has no %s (any more)", w)}
}

// Restore brings back what an entry has, see meta.Restore, and calls tell, if it
// is not nil, with how many manifests are there after each step of it. What the
// registry lacks by now is MANIFEST_BLOB_UNKNOWN.
func (c *Core) Restore(ctx context.Context, p meta.Restore, tell func(manifests int) error) (meta.Restored, error) {
	p.By = c.by
	var all meta.Restored
	for {
		r, err := c.Records.Restore(ctx, p)
		if err != nil {
			return all, restoreError(err, p)
		}
		all.Repo = r.Repo
		all.Tags = append(all.Tags, r.Tags...)
		all.Kept = append(all.Kept, r.Kept...)
		all.TagCount += r.TagCount
		all.Manifests += r.Manifests
		if !r.More {
			break
		}
		if tell != nil {
			if err := tell(all.Manifests); err != nil {
				return all, err
			}
		}
	}
	c.recordRepos(ctx)
	return all, nil
}

// restoreError words what Restore of the records refuses.
func restoreError(err error, p meta.Restore) error {
	if e, ok := errors.AsType[*meta.MissingError](err); ok {
		names := make([]string, len(e.Digests))
		for i, d := range e.Digests {
			names[i] = d.String()
		}
		return &oci.Error{
			Code:    oci.ManifestBlobUnknown,
			Message: fmt.Sprintf("nothing was restored, because %s is not there any more: push it to the repository, then restore again", names[0]),
			Detail:  map[string][]string{"digests": names},
		}
	}
	if errors.Is(err, meta.ErrNotFound) {
		return trashUnknown(meta.TrashWhat{ID: p.ID})
	}
	return immutable(err, "so nothing was restored")
}

// EmptyTrash drops entries: what they have can't be brought back, and the next
// collections free it.
func (c *Core) EmptyTrash(ctx context.Context, ids ...int64) error {
	return c.Records.DropTrash(ctx, ids...)
}
