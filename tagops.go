package berth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"time"

	"berth/config"
	"berth/internal/event"
	"berth/internal/gc"
	"berth/internal/meta"
	"berth/internal/oci"
)

// immutableTags returns which tags can neither be moved nor deleted; nil if all
// can.
func immutableTags(sets []config.ImmutableTags) (func(oci.Repo, oci.Tag) bool, error) {
	type set struct {
		repos []oci.Pattern
		tags  []oci.TagPattern
	}
	var list []set
	for _, s := range sets {
		repos, err := parseAll(s.Repositories, oci.ParsePattern)
		if err != nil {
			return nil, fmt.Errorf("tags.immutable: %w", err)
		}
		tags, err := parseAll(s.Tags, oci.ParseTagPattern)
		if err != nil {
			return nil, fmt.Errorf("tags.immutable: %w", err)
		}
		list = append(list, set{repos, tags})
	}
	if len(list) == 0 {
		return nil, nil
	}
	return func(repo oci.Repo, tag oci.Tag) bool {
		return slices.ContainsFunc(list, func(s set) bool {
			return (len(s.repos) == 0 || slices.ContainsFunc(s.repos, func(p oci.Pattern) bool { return p.Match(repo) })) &&
				(len(s.tags) == 0 || slices.ContainsFunc(s.tags, func(p oci.TagPattern) bool { return p.Match(tag) }))
		})
	}, nil
}

func parseAll[T any](texts []string, parse func(string) (T, error)) ([]T, error) {
	list := make([]T, len(texts))
	for i, text := range texts {
		var err error
		if list[i], err = parse(text); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// trimHistory is a part of a collection: it forgets what tags pointed to longer
// ago than tags.history.
func (s *Server) trimHistory() gc.Step {
	return gc.Step{Name: "forget old moves of tags", Do: func(ctx context.Context, limit int) (int, error) {
		return s.meta.TrimHistory(ctx, s.cfg.Tags.History, limit)
	}}
}

// A tagMoveLine tells of one move of a tag.
type tagMoveLine struct {
	Seq        int64         `json:"seq,omitempty"` // 0: it has not been made
	Time       time.Time     `json:"time"`
	Repository string        `json:"repository"`
	Tag        string        `json:"tag,omitempty"`  // empty: it happened to the whole repository
	From       string        `json:"from,omitempty"` // a digest; empty: there was no such tag
	To         string        `json:"to,omitempty"`   // empty: there is no such tag any more
	Cause      meta.TagCause `json:"cause"`
	By         string        `json:"by,omitempty"`
	Via        string        `json:"via,omitempty"` // who checked that name, if not the registry
	Address    string        `json:"address,omitempty"`
	Old        manifestPlace `json:"old,omitempty"`   // where the manifest is now that From names
	Trash      int64         `json:"trash,omitempty"` // the entry of the trash that the manifest was taken from
}

// A manifestPlace says where a manifest is that a tag once pointed to.
type manifestPlace string

const (
	placeThere manifestPlace = "there" // in the repository
	placeTrash manifestPlace = "trash"
	placeGone  manifestPlace = "gone"
)

func tagMoveOf(m meta.TagMove) tagMoveLine {
	return tagMoveLine{
		Seq: m.Seq, Time: m.At, Repository: m.Repo.String(), Tag: m.Tag.String(), From: m.From.String(), To: m.To.String(),
		Cause: m.Cause, By: m.By.Name, Via: m.By.Via, Address: m.By.Addr,
		Trash: m.Trash,
	}
}

// manifestPlace finds a manifest.
func (s *Server) manifestPlace(ctx context.Context, repo oci.Repo, d oci.Digest) (manifestPlace, error) {
	_, err := s.meta.FindManifest(ctx, repo, oci.Ref{Digest: d})
	switch {
	case err == nil:
		return placeThere, nil
	case !isNotFound(err):
		return "", err
	}
	_, err = s.meta.FindTrash(ctx, meta.TrashWhat{Repo: repo, Ref: oci.Ref{Digest: d}})
	switch {
	case err == nil:
		return placeTrash, nil
	case !isNotFound(err):
		return "", err
	}
	return placeGone, nil
}

// tagHistory is an action: it tells what happened to the parameter tag of
// repository, or to all its tags: the newest first, limit at most, what is older
// than number before.
func (s *Server) tagHistory(ctx context.Context, parameters url.Values, tell func(any) error) error {
	repo, tag, err := s.tagOf(ctx, parameters)
	if err != nil {
		return err
	}
	before, err := number(parameters, "before")
	if err != nil {
		return err
	}
	limit, err := number(parameters, "limit")
	if err != nil {
		return err
	}
	if has, err := s.meta.HasRepo(ctx, repo); err != nil || !has {
		return cmp.Or(err, fmt.Errorf("there is no repository %s", repo))
	}
	places := map[oci.Digest]manifestPlace{}
	list, err := s.meta.TagHistory(ctx, repo, tag, before, int(min(cmp.Or(limit, 20), 10_000)))
	for i := 0; err == nil && i < len(list); i++ {
		line := tagMoveOf(list[i])
		if from := list[i].From; !from.IsZero() {
			if places[from] == "" {
				if places[from], err = s.manifestPlace(ctx, repo, from); err != nil {
					return err
				}
			}
			line.Old = places[from]
		}
		err = tell(line)
	}
	return err
}

// moveTag is an action: it points the parameter tag of repository to digest to,
// or to what it pointed to so many steps before. With from, a digest or empty, it
// must point there now; with dry_run it is only told what would happen.
func (s *Server) moveTag(ctx context.Context, parameters url.Values, tell func(any) error) error {
	repo, tag, err := s.tagOf(ctx, parameters)
	if err != nil {
		return err
	}
	if tag.IsZero() {
		return errors.New("there is no tag to move: name one")
	}
	set := meta.TagSet{Repo: repo, Tag: tag, Cause: meta.ByRollback}
	steps, err := number(parameters, "steps")
	if err != nil {
		return err
	}
	set.Steps = int(min(steps, 1_000_000))
	if parameters.Get("cause") == string(meta.BySet) {
		set.Cause = meta.BySet
	}
	if text := parameters.Get("to"); text != "" {
		if set.To, err = oci.ParseDigest(text); err != nil {
			return plain(err)
		}
	}
	if parameters.Has("from") {
		set.From = new(oci.Digest)
		if text := parameters.Get("from"); text != "" {
			if *set.From, err = oci.ParseDigest(text); err != nil {
				return plain(err)
			}
		}
	}
	core := s.core.AsOperator(byOperator(event.Actor{}))
	move := core.SetTag
	if parameters.Get("dry_run") != "" {
		move = core.PlanTag
	}
	m, err := move(ctx, set)
	if err != nil {
		return plain(err)
	}
	m.At = s.now()
	return tell(tagMoveOf(m))
}

// tagOf reads the parameters repository and tag, which may be empty, and sees to
// it that what registry:2 has of the repository is known.
func (s *Server) tagOf(ctx context.Context, parameters url.Values) (repo oci.Repo, tag oci.Tag, err error) {
	if repo, err = oci.ParseRepo(parameters.Get("repository")); err != nil {
		return repo, tag, plain(err)
	}
	if text := parameters.Get("tag"); text != "" {
		if tag, err = oci.ParseTag(text); err != nil {
			return repo, tag, plain(err)
		}
	}
	if s.adopter != nil {
		err = s.adopter.Ensure(ctx, repo)
	}
	return repo, tag, err
}

// number reads a parameter that is a number, 0 if it is not there.
func number(parameters url.Values, name string) (int64, error) {
	text := parameters.Get(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%s: %q is no number: write one such as 20", name, text)
	}
	return n, nil
}

// plain returns an error that is meant for clients without its code.
func plain(err error) error {
	if e, ok := errors.AsType[*oci.Error](err); ok {
		return errors.New(e.Message)
	}
	return err
}
