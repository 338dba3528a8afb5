package api

import (
	"net/http"

	"berth/internal/auth"
	"berth/internal/oci"
	"berth/internal/usage"
)

// RepositoryUsages are a page of a list.
type RepositoryUsages struct {
	Repositories []usage.Repository `json:"repositories"`
	Next         string             `json:"next,omitempty" doc:"where the next page begins; missing on the last one"`
}

func usageOperations() []operation {
	return []operation{
		{
			id: "getUsage", method: http.MethodGet, path: "/usage", status: http.StatusOK, answer: usage.Report{},
			needs:   []auth.Action{auth.Inspect},
			summary: "What takes the space",
			does:    "Answers with the last measurement of the whole registry. One is made at start, every hour after something has changed, and when it is asked for; until the first is done the answer is 503.",
			do:      (*request).getUsage,
		},
		{
			id: "measureUsage", method: http.MethodPost, path: "/usage", status: http.StatusAccepted,
			needs:   []auth.Action{auth.Inspect},
			summary: "Measure again",
			does:    "Has the space measured again. It takes some seconds for 100,000 manifests; `measured` in the answer to GET tells when it was done.",
			do: func(q *request, _ http.ResponseWriter) (any, error) {
				q.h.o.Usage.Measure()
				return nil, nil
			},
		},
		{
			id: "listUsage", method: http.MethodGet, path: "/usage/repositories", status: http.StatusOK, answer: RepositoryUsages{},
			needs:   []auth.Action{auth.Inspect},
			summary: "What takes the space, by repository",
			does: "Lists what each repository takes, by name. A page looks at no more than 1,000 repositories, so it may hold fewer than were " +
				"asked for while there is a `next`.",
			query: pages("name", 100),
			do:    (*request).listUsage,
		},
	}
}

func (q *request) getUsage(http.ResponseWriter) (any, error) {
	report, ok := q.h.o.Usage.Last()
	if !ok {
		return nil, &oci.Error{Code: oci.Unavailable, Message: "the space is being measured for the first time: try again in a few seconds"}
	}
	return report, nil
}

func (q *request) listUsage(http.ResponseWriter) (any, error) {
	limit, err := q.limit(100)
	if err != nil {
		return nil, err
	}
	list, next, err := q.h.o.Usage.Repositories(q.Context(), q.query.Get("after"), limit, func(oci.Repo) bool { return true })
	if err != nil {
		return nil, err
	}
	if list == nil {
		list = []usage.Repository{}
	}
	return RepositoryUsages{Repositories: list, Next: next}, nil
}
