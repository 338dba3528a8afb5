package berth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"berth/internal/event"
	"berth/internal/gc"
	"berth/internal/meta"
	"berth/internal/oci"
)

// expireTrash is a part of a collection: it takes apart what was deleted longer
// ago than trash.keep.
func (s *Server) expireTrash() gc.Step {
	return gc.Step{Name: "expire the trash", Do: s.meta.ExpireTrash}
}

// A trashLine tells of one deletion that is in the trash.
type trashLine struct {
	ID         int64            `json:"id"`
	Kind       meta.TrashKind   `json:"kind"`
	Reason     meta.TrashReason `json:"reason"`
	Repository string           `json:"repository"`
	Digest     string           `json:"digest,omitempty"`
	Tags       []trashTag       `json:"tags,omitempty"` // of a repository there is only the number
	TagCount   int              `json:"tag_count"`
	Manifests  int              `json:"manifests"`
	Bytes      int64            `json:"bytes"`
	Frees      int64            `json:"frees"` // of those, what nothing else has
	Deleted    time.Time        `json:"deleted"`
	Until      time.Time        `json:"until"`
	By         string           `json:"by,omitempty"`
	Via        string           `json:"via,omitempty"`
	Address    string           `json:"address,omitempty"`
}

// A trashTag is a tag, and what it points to or pointed to.
type trashTag struct {
	Name   string `json:"name"`
	Digest string `json:"digest"`
}

func trashTagsOf(list []meta.Tag) []trashTag {
	var tags []trashTag
	for _, t := range list {
		tags = append(tags, trashTag{t.Name.String(), t.Digest.String()})
	}
	return tags
}

func (s *Server) trashLine(e meta.TrashEntry) trashLine {
	l := trashLine{
		ID: e.ID, Kind: e.Kind, Reason: e.Reason, Repository: e.Repo.String(), Tags: trashTagsOf(e.Tags), TagCount: e.TagCount,
		Manifests: e.Manifests, Bytes: e.Bytes, Frees: e.Alone, Deleted: e.Deleted, Until: s.now().Add(e.Left).UTC(),
		By: e.By.Name, Via: e.By.Via, Address: e.By.Addr,
	}
	if !e.Digest.IsZero() {
		l.Digest = e.Digest.String()
	}
	return l
}

// trashPage is how many entries are read at a time.
const trashPage = 100

// listTrash is an action: it tells what is in the trash, the newest first, of the
// parameter repository if there is one. With find it tells what trashWhat names,
// or nothing.
func (s *Server) listTrash(ctx context.Context, parameters url.Values, tell func(any) error) error {
	if parameters.Get("find") != "" {
		w, err := trashWhat(parameters)
		if err != nil {
			return err
		}
		e, err := s.meta.FindTrash(ctx, w)
		if errors.Is(err, meta.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		return tell(s.trashLine(e))
	}
	return s.eachEntry(ctx, parameters, func(list []meta.TrashEntry) error {
		for _, e := range list {
			if err := tell(s.trashLine(e)); err != nil {
				return err
			}
		}
		return nil
	})
}

// eachEntry calls do for pages of the entries that the parameter repository names,
// or of all.
func (s *Server) eachEntry(ctx context.Context, parameters url.Values, do func([]meta.TrashEntry) error) error {
	var repo oci.Repo
	if name := parameters.Get("repository"); name != "" {
		var err error
		if repo, err = oci.ParseRepo(name); err != nil {
			return err
		}
	}
	for before := int64(0); ; {
		list, err := s.core.Trash(ctx, repo, before, trashPage)
		if err != nil || len(list) == 0 {
			return err
		}
		if err := do(list); err != nil {
			return err
		}
		before = list[len(list)-1].ID
	}
}

// trashWhat reads which entry the parameters name: id, or repository with tag or
// digest.
func trashWhat(parameters url.Values) (w meta.TrashWhat, err error) {
	if id := parameters.Get("id"); id != "" {
		w.ID, err = strconv.ParseInt(id, 10, 64)
		if err != nil || w.ID <= 0 {
			return w, fmt.Errorf("%s is no number of an entry of the trash", id)
		}
		return w, nil
	}
	if w.Repo, err = oci.ParseRepo(parameters.Get("repository")); err != nil {
		return w, err
	}
	if tag := parameters.Get("tag"); tag != "" {
		w.Ref.Tag, err = oci.ParseTag(tag)
	} else if digest := parameters.Get("digest"); digest != "" {
		w.Ref.Digest, err = oci.ParseDigest(digest)
	}
	return w, err
}

// A restoredLine tells what a restore did.
type restoredLine struct {
	ID         int64      `json:"id"`
	Repository string     `json:"repository"`
	Manifests  int        `json:"manifests"`
	Tags       []trashTag `json:"tags,omitempty"`
	TagCount   int        `json:"tag_count"`
	Kept       []trashTag `json:"kept,omitempty"` // tags that point to something else by now
}

// restoreTrash is an action: it brings back what trashWhat names. Its parameters
// are as, another repository, and force, which moves tags back that have moved on.
func (s *Server) restoreTrash(ctx context.Context, parameters url.Values, tell func(any) error) error {
	w, err := trashWhat(parameters)
	if err != nil {
		return err
	}
	e, err := s.core.FindTrash(ctx, w)
	if err != nil {
		return err
	}
	p := meta.Restore{ID: e.ID, Force: parameters.Get("force") != ""}
	if e.Kind == meta.TrashRepo {
		p.Only = w.Ref
	}
	if as := parameters.Get("as"); as != "" {
		if p.As, err = oci.ParseRepo(as); err != nil {
			return err
		}
	}
	core := s.core.AsOperator(byOperator(event.Actor{}))
	r, err := core.Restore(ctx, p, func(n int) error {
		return tell(progress{What: "restoring manifests", Done: int64(n), Total: int64(e.Manifests)})
	})
	if err != nil {
		return err
	}
	return tell(restoredLine{
		ID: e.ID, Repository: r.Repo.String(), Manifests: r.Manifests, Tags: trashTagsOf(r.Tags), TagCount: r.TagCount, Kept: trashTagsOf(r.Kept),
	})
}

// An emptiedLine tells what was dropped from the trash.
type emptiedLine struct {
	Entries int   `json:"entries"`
	Bytes   int64 `json:"bytes"` // that only they had, each for itself
}

// emptyTrash is an action: it drops the entry that trashWhat names, or with the
// parameter all those of a repository, or of all. With dry_run it only tells what
// that would be.
func (s *Server) emptyTrash(ctx context.Context, parameters url.Values, tell func(any) error) error {
	var sum emptiedLine
	drop := func(list []meta.TrashEntry) error {
		var ids []int64
		for _, e := range list {
			ids = append(ids, e.ID)
			sum.Entries++
			sum.Bytes += e.Alone
		}
		if parameters.Get("dry_run") != "" {
			return nil
		}
		return s.core.EmptyTrash(ctx, ids...)
	}
	if parameters.Get("all") != "" {
		if err := s.eachEntry(ctx, parameters, drop); err != nil {
			return err
		}
		return tell(sum)
	}
	w, err := trashWhat(parameters)
	if err != nil {
		return err
	}
	e, err := s.core.FindTrash(ctx, w)
	if err == nil {
		err = drop([]meta.TrashEntry{e})
	}
	if err != nil {
		return err
	}
	return tell(sum)
}

// A deletedLine tells of a repository that was deleted.
type deletedLine struct {
	Entry     int64 `json:"entry,omitempty"` // in the trash; 0: it can't be had back
	Manifests int   `json:"manifests"`
	Tags      int   `json:"tags"`
}

// deleteRepo is an action: it deletes the repository that the parameter names.
// With dry_run it only tells what that has.
func (s *Server) deleteRepo(ctx context.Context, parameters url.Values, tell func(any) error) error {
	repo, err := oci.ParseRepo(parameters.Get("repository"))
	if err != nil {
		return err
	}
	if err := s.awaitAdopted(ctx, func(any) error { return nil }); err != nil {
		return errors.Join(errors.New("what registry:2 has could not be taken over"), err)
	}
	if has, err := s.meta.HasRepo(ctx, repo); err != nil || !has {
		return cmp.Or(err, fmt.Errorf("there is no repository %s", repo))
	}
	var l deletedLine
	if l.Manifests, l.Tags, err = s.meta.CountRepo(ctx, repo); err != nil {
		return err
	}
	if parameters.Get("dry_run") == "" {
		if l.Entry, err = s.core.AsOperator(byOperator(event.Actor{})).DeleteRepo(ctx, repo); err != nil {
			return err
		}
	}
	return tell(l)
}
