package registry

import (
	"context"
	"errors"
	"fmt"

	"berth/internal/meta"
	"berth/internal/oci"
)

// TagRecords is what a Core needs to point tags back to what they pointed to.
type TagRecords interface {
	PlanTag(ctx context.Context, s meta.TagSet) (meta.TagMove, error)
	SetTag(ctx context.Context, s meta.TagSet) (meta.TagMove, error)
}

// PlanTag returns what SetTag would do now.
func (c *Core) PlanTag(ctx context.Context, s meta.TagSet) (meta.TagMove, error) {
	return c.moveTag(ctx, s, c.Records.PlanTag)
}

// SetTag points a tag to a manifest of its repository, or back to what it pointed
// to before: see meta.TagSet. What is not there (any more) is MANIFEST_UNKNOWN,
// what may not be or has changed meanwhile DENIED.
func (c *Core) SetTag(ctx context.Context, s meta.TagSet) (meta.TagMove, error) {
	return c.moveTag(ctx, s, c.Records.SetTag)
}

func (c *Core) moveTag(ctx context.Context, s meta.TagSet, move func(context.Context, meta.TagSet) (meta.TagMove, error)) (meta.TagMove, error) {
	s.By = c.by
	m, err := move(ctx, s)
	if err == nil {
		return m, nil
	}
	if e, ok := errors.AsType[*meta.TagMovedError](err); ok {
		now := "is gone"
		if !e.Now.IsZero() {
			now = "points to " + e.Now.String()
		}
		return m, &oci.Error{Code: oci.Denied, Message: fmt.Sprintf("tag %s %s by now: look at its history, and try again", s.Tag, now),
			Detail: map[string]string{"tag": s.Tag.String(), "now": e.Now.String()}}
	}
	if _, ok := errors.AsType[*meta.NoPastError](err); ok {
		if err := c.nameUnknown(ctx, s.Repo); err != nil {
			return m, err
		}
		return m, &oci.Error{Code: oci.ManifestUnknown, Message: fmt.Sprintf("what tag %s pointed to before that is not known: name the digest that it shall point to", s.Tag)}
	}
	if errors.Is(err, meta.ErrNotFound) {
		if err := c.nameUnknown(ctx, s.Repo); err != nil {
			return m, err
		}
		return m, &oci.Error{Code: oci.ManifestUnknown, Message: fmt.Sprintf("repository %s does not have %s (any more): push it again, or take it out of the trash", s.Repo, m.To)}
	}
	return m, immutable(err, "leave it where it is")
}

// immutable words an ImmutableTagError for the client, who is told what to do
// instead.
func immutable(err error, instead string) error {
	e, ok := errors.AsType[*meta.ImmutableTagError](err)
	if !ok {
		return err
	}
	return &oci.Error{
		Code: oci.Denied,
		Message: fmt.Sprintf("tag %s of %s is immutable: the setting tags.immutable of this registry lets nobody move or delete it; %s",
			e.Tag, e.Repo, instead),
		Detail: map[string]string{"tag": e.Tag.String(), "setting": "tags.immutable"},
	}
}
