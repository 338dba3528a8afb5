package api

import (
	"fmt"
	"net/http"
	"time"

	"berth/internal/auth"
	"berth/internal/meta"
	"berth/internal/oci"
)

// A TagMove is one thing that happened to a tag.
type TagMove struct {
	Seq   int64     `json:"seq" doc:"grows with each move in a repository; 0 if it has only been tried or is just being made"`
	Time  time.Time `json:"time"`
	Tag   string    `json:"tag,omitempty" doc:"missing where it happened to the whole repository"`
	From  string    `json:"from,omitempty" doc:"a digest; missing if there was no such tag"`
	To    string    `json:"to,omitempty" doc:"missing if there is no such tag any more"`
	Cause string    `json:"cause" enum:"push,delete,restore,rollback,set,retention,untagged,registry2"`
	By    string    `json:"by,omitempty"`
	Via   string    `json:"via,omitempty" doc:"who checked that name, if not the registry"`
}

// TagMoves are a page of a list.
type TagMoves struct {
	Moves []TagMove `json:"moves"`
	Next  string    `json:"next,omitempty" doc:"where the next page begins; missing on the last one"`
}

// A RollbackRequest says where a tag is to point.
type RollbackRequest struct {
	Tag    string `json:"tag"`
	To     string `json:"to,omitempty" doc:"the digest that it shall point to; missing: what it pointed to before"`
	From   string `json:"from,omitempty" doc:"the digest that it must point to now, so that nobody's push is lost"`
	DryRun bool   `json:"dry_run,omitempty" doc:"only tell what would happen"`
}

func historyOperations() []operation {
	return []operation{
		{
			id: "listHistory", method: http.MethodGet, path: "/history/{name}", status: http.StatusOK, answer: TagMoves{},
			needs:   []auth.Action{auth.Pull},
			summary: "What tags pointed to",
			does:    "Lists what happened to the tags of a repository, the newest first, for as long as `tags.history` says.",
			query:   append(pages("move", 1000), parameter{name: "tag", does: "Only what happened to this tag.", kind: ""}),
			do:      (*request).listHistory,
		},
		{
			id: "rollback", method: http.MethodPost, path: "/rollback/{name}", status: http.StatusOK, body: RollbackRequest{}, answer: TagMove{},
			example: `{"tag": "v1"}`,
			needs:   []auth.Action{auth.Pull, auth.Push, auth.Delete},
			summary: "Point a tag to what it pointed to before",
			does:    "Points a tag back to what it pointed to before, or to another manifest of its repository, taken out of the trash if need be.",
			do:      (*request).rollback,
		},
	}
}

func tagMove(m meta.TagMove) TagMove {
	t := TagMove{Seq: m.Seq, Time: m.At.UTC(), Tag: m.Tag.String(), Cause: string(m.Cause), By: m.By.Name, Via: m.By.Via}
	if !m.From.IsZero() {
		t.From = m.From.String()
	}
	if !m.To.IsZero() {
		t.To = m.To.String()
	}
	return t
}

func (q *request) listHistory(http.ResponseWriter) (any, error) {
	limit, err := q.limit(1000)
	if err != nil {
		return nil, err
	}
	before, err := q.number("after", 0, 1<<62, 0)
	if err != nil {
		return nil, err
	}
	var tag oci.Tag
	if q.query.Has("tag") {
		if tag, err = oci.ParseTag(q.query.Get("tag")); err != nil {
			return nil, err
		}
	}
	if err := q.exists(); err != nil {
		return nil, err
	}
	list, err := q.h.o.History.TagHistory(q.Context(), q.repo, tag, before, limit)
	if err != nil {
		return nil, err
	}
	answer := TagMoves{Moves: []TagMove{}}
	for _, m := range list {
		answer.Moves = append(answer.Moves, tagMove(m))
	}
	if len(list) == limit {
		answer.Next = fmt.Sprint(list[limit-1].Seq)
	}
	return answer, nil
}

func (q *request) rollback(w http.ResponseWriter) (any, error) {
	var how RollbackRequest
	if err := q.readBody(w, &how); err != nil {
		return nil, err
	}
	set := meta.TagSet{Repo: q.repo, Cause: meta.ByRollback}
	var err error
	if set.Tag, err = oci.ParseTag(how.Tag); err != nil {
		return nil, err
	}
	if how.To != "" {
		set.Cause = meta.BySet
		if set.To, err = oci.ParseDigest(how.To); err != nil {
			return nil, err
		}
	} else {
		set.Steps = 1
	}
	if how.From != "" {
		set.From = new(oci.Digest)
		if *set.From, err = oci.ParseDigest(how.From); err != nil {
			return nil, err
		}
	}
	if err := q.exists(); err != nil {
		return nil, err
	}
	move := q.core().SetTag
	if how.DryRun {
		move = q.core().PlanTag
	}
	m, err := move(q.Context(), set)
	if err != nil {
		return nil, err
	}
	if m.At.IsZero() {
		m.At = q.h.o.Now()
	}
	return tagMove(m), nil
}
