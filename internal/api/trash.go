package api

import (
	"fmt"
	"net/http"
	"time"

	"berth/internal/auth"
	"berth/internal/meta"
	"berth/internal/oci"
	"berth/internal/registry"
)

// A TagTarget is a tag, and what it points to or pointed to.
type TagTarget struct {
	Name   string `json:"name"`
	Digest string `json:"digest"`
}

// A TrashEntry is one deletion, which can be undone as a whole.
type TrashEntry struct {
	ID         int64       `json:"id"`
	Kind       string      `json:"kind" enum:"tag,manifest,blob,repository"`
	Reason     string      `json:"reason" enum:"deleted,retention,untagged" doc:"that somebody asked for it, that a rule let it go, or that an operator had untagged manifests removed"`
	Repository string      `json:"repository"`
	Digest     string      `json:"digest,omitempty" doc:"of what was deleted, if that was one thing"`
	Tags       []TagTarget `json:"tags" doc:"that went; of a whole repository none, they may be too many"`
	TagCount   int         `json:"tag_count" doc:"how many tags went"`
	Manifests  int         `json:"manifests" doc:"how many manifests went"`
	Bytes      int64       `json:"bytes" doc:"that it keeps"`
	Frees      int64       `json:"frees" doc:"of these, those that nothing else has: as many become free with it"`
	Deleted    time.Time   `json:"deleted"`
	Until      time.Time   `json:"until" doc:"when it can no longer be restored, if the registry runs till then"`
	By         string      `json:"by,omitempty" doc:"who deleted it"`
}

// Trash is a page of a list.
type Trash struct {
	Entries []TrashEntry `json:"entries"`
	Next    string       `json:"next,omitempty" doc:"where the next page begins; missing on the last one"`
}

// A RestoreRequest says how a deletion is to be undone.
type RestoreRequest struct {
	As    string `json:"as,omitempty" doc:"another repository to restore into"`
	Force bool   `json:"force,omitempty" doc:"move back tags that point to something else by now"`
}

// A RestoreResult says what a restore did.
type RestoreResult struct {
	Repository string      `json:"repository"`
	Manifests  int         `json:"manifests" doc:"that are there again"`
	TagCount   int         `json:"tag_count" doc:"how many tags are there again"`
	Kept       []TagTarget `json:"kept" doc:"tags that point to something else by now and were left alone: to what"`
}

// A DeleteResult says where what was deleted is.
type DeleteResult struct {
	Trash int64 `json:"trash" doc:"the number of its entry in the trash; 0 if trash.keep is 0 and it can't be restored"`
}

func trashOperations() []operation {
	return []operation{
		{
			id: "deleteRepository", method: http.MethodDelete, path: "/repositories/{name}", status: http.StatusOK, answer: DeleteResult{},
			needs:   []auth.Action{auth.Delete},
			summary: "Delete a repository",
			does:    "Deletes a repository with all that it has. It can be restored from the trash until `trash.keep` is over.",
			do: func(q *request, _ http.ResponseWriter) (any, error) {
				entry, err := q.service().DeleteRepo(q.Context(), q.repo)
				return DeleteResult{Trash: entry}, err
			},
		},
		{
			id: "listTrash", method: http.MethodGet, path: "/trash", status: http.StatusOK, answer: Trash{},
			summary: "List what was deleted",
			does:    "Lists what is in the trash of repositories that the caller may pull from, the newest first. A page looks at no more than 1,000 entries, so it may hold fewer than were asked for while there is a `next`.",
			query:   append(pages("entry", 100), parameter{name: "repository", does: "Only what was deleted from this repository.", kind: ""}),
			do:      (*request).listTrash,
		},
		{
			id: "getTrash", method: http.MethodGet, path: "/trash/{id}", status: http.StatusOK, answer: TrashEntry{},
			summary: "One deletion",
			does:    "Tells of one entry of the trash. It takes the right `pull` on its repository, else there is no such entry.",
			do: func(q *request, _ http.ResponseWriter) (any, error) {
				e, err := q.entry()
				return q.trashEntry(e), err
			},
		},
		{
			id: "restoreTrash", method: http.MethodPost, path: "/trash/{id}/restore", status: http.StatusOK, body: RestoreRequest{}, answer: RestoreResult{},
			example: `{"force": true}`,
			summary: "Undo a deletion",
			does:    "Brings back what was deleted, or nothing of it if something is missing. It takes the rights `pull`, `push` and `delete` on its repository, and on the other one with `as`.",
			do:      (*request).restore,
		},
		{
			id: "dropTrash", method: http.MethodDelete, path: "/trash/{id}", status: http.StatusNoContent,
			summary: "Delete for good",
			does:    "Takes an entry out of the trash, so that its space becomes free before its time. It takes the rights `pull` and `delete` on its repository.",
			do: func(q *request, _ http.ResponseWriter) (any, error) {
				e, err := q.entry(auth.Delete)
				if err != nil {
					return nil, err
				}
				return nil, q.core().EmptyTrash(q.Context(), e.ID)
			},
		},
	}
}

// core is the registry as the caller acts on it, without anything that asks
// whether they may.
func (q *request) core() Core { return q.h.o.Core(q.caller.By) }

// entry finds the entry of the path. To those who may not pull from its repository
// it is not there; the others need the rights to do more.
func (q *request) entry(more ...auth.Action) (meta.TrashEntry, error) {
	e, err := q.core().FindTrash(q.Context(), meta.TrashWhat{ID: q.id})
	if err == nil && q.caller.Check(auth.Access{Repo: e.Repo, Action: auth.Pull}) != nil {
		err = &oci.Error{Code: oci.ManifestUnknown, Message: fmt.Sprintf("the trash has no entry %d (any more)", q.id)}
	}
	if err == nil {
		err = q.checkAll(e.Repo, more...)
	}
	if err != nil {
		return meta.TrashEntry{}, err
	}
	return e, nil
}

// checkAll asks whether the caller may do all of that with repo.
func (q *request) checkAll(repo oci.Repo, actions ...auth.Action) error {
	for _, a := range actions {
		if err := q.caller.Check(auth.Access{Repo: repo, Action: a}); err != nil {
			return err
		}
	}
	return nil
}

func (q *request) trashEntry(e meta.TrashEntry) TrashEntry {
	t := TrashEntry{
		ID: e.ID, Kind: string(e.Kind), Reason: string(e.Reason), Repository: e.Repo.String(), Tags: targets(e.Tags), TagCount: e.TagCount,
		Manifests: e.Manifests, Bytes: e.Bytes, Frees: e.Alone, Deleted: e.Deleted.UTC(), Until: q.h.o.Now().Add(e.Left).UTC(), By: e.By.Name,
	}
	if !e.Digest.IsZero() {
		t.Digest = e.Digest.String()
	}
	return t
}

func targets(tags []meta.Tag) []TagTarget {
	list := []TagTarget{}
	for _, t := range tags {
		list = append(list, TagTarget{Name: t.Name.String(), Digest: t.Digest.String()})
	}
	return list
}

// How many entries of the trash are read at a time, and how many a page looks at.
const (
	trashBatch = 100
	trashLooks = 1000
)

func (q *request) listTrash(http.ResponseWriter) (any, error) {
	limit, err := q.limit(100)
	if err != nil {
		return nil, err
	}
	before, err := q.number("after", 0, 1<<62, 0)
	if err != nil {
		return nil, err
	}
	var repo oci.Repo
	if q.query.Has("repository") {
		if repo, err = oci.ParseRepo(q.query.Get("repository")); err != nil {
			return nil, err
		}
		if err := q.checkAll(repo, auth.Pull); err != nil {
			return nil, err
		}
	}
	answer := Trash{Entries: []TrashEntry{}}
	for range trashLooks / trashBatch {
		list, err := q.core().Trash(q.Context(), repo, before, trashBatch)
		if err != nil {
			return nil, err
		}
		for _, e := range list {
			before = e.ID
			if !q.caller.Readable(e.Repo) {
				continue
			}
			if len(answer.Entries) == limit {
				return answer, nil
			}
			answer.Entries = append(answer.Entries, q.trashEntry(e))
			answer.Next = fmt.Sprint(before)
		}
		if len(list) < trashBatch {
			answer.Next = ""
			return answer, nil
		}
		answer.Next = fmt.Sprint(before)
	}
	return answer, nil
}

func (q *request) restore(w http.ResponseWriter) (any, error) {
	var how RestoreRequest
	if err := q.readBody(w, &how); err != nil {
		return nil, err
	}
	e, err := q.entry(auth.Push, auth.Delete)
	if err != nil {
		return nil, err
	}
	r := meta.Restore{ID: e.ID, Force: how.Force}
	if how.As != "" {
		if r.As, err = oci.ParseRepo(how.As); err != nil {
			return nil, err
		}
		if err := q.checkAll(r.As, auth.Pull, auth.Push, auth.Delete); err != nil {
			return nil, err
		}
	}
	done, err := q.core().Restore(q.Context(), r, nil)
	if err != nil {
		return nil, err
	}
	return RestoreResult{Repository: done.Repo.String(), Manifests: done.Manifests, TagCount: done.TagCount, Kept: targets(done.Kept)}, nil
}

// exists says, as the registry does, if there is no repository that is named.
func (q *request) exists() error {
	_, err := q.service().Tags(q.Context(), q.repo, registry.Page{Limit: 1})
	return err
}
