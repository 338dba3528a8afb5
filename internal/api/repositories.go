package api

import (
	"net/http"
	"slices"

	"berth/internal/auth"
	"berth/internal/oci"
	"berth/internal/registry"
	"berth/internal/usage"
)

// A RepositoryName names a repository.
type RepositoryName struct {
	Name string `json:"name"`
}

// Repositories are a page of a list.
type Repositories struct {
	Repositories []RepositoryName `json:"repositories"`
	Next         string           `json:"next,omitempty" doc:"where the next page begins; missing on the last one"`
}

// A RepositoryDetail is one repository.
type RepositoryDetail struct {
	usage.Repository
	May []string `json:"may" doc:"what the caller may do with it" enum:"pull,create,push,delete"`
}

// A Tag is one tag of a repository.
type Tag struct {
	Name string `json:"name"`
}

// Tags are a page of a list.
type Tags struct {
	Tags []Tag  `json:"tags"`
	Next string `json:"next,omitempty" doc:"where the next page begins; missing on the last one"`
}

func repositoryOperations() []operation {
	return []operation{
		{
			id: "listRepositories", method: http.MethodGet, path: "/repositories", status: http.StatusOK, answer: Repositories{},
			summary: "List repositories",
			does:    "Lists the repositories that have a manifest and that the caller may pull from, by name.",
			query:   pages("name", 1000),
			do:      (*request).listRepositories,
		},
		{
			id: "getRepository", method: http.MethodGet, path: "/repositories/{name}", status: http.StatusOK, answer: RepositoryDetail{},
			needs:   []auth.Action{auth.Pull},
			summary: "What a repository has and takes",
			does:    "Counts what is in a repository, and tells how much space it takes, how much of that is its own, and what of it becomes free by itself.",
			do:      (*request).getRepository,
		},
		{
			id: "listTags", method: http.MethodGet, path: "/tags/{name}", status: http.StatusOK, answer: Tags{},
			needs:   []auth.Action{auth.Pull},
			summary: "List the tags of a repository",
			does:    "Lists the tags of a repository, by name.",
			query:   pages("tag", 1000),
			do:      (*request).listTags,
		},
	}
}

func (q *request) listRepositories(http.ResponseWriter) (any, error) {
	limit, err := q.limit(1000)
	if err != nil {
		return nil, err
	}
	list, err := q.service().Repos(q.Context(), registry.Page{After: q.query.Get("after"), Limit: limit}, q.caller.Readable)
	if err != nil {
		return nil, err
	}
	answer := Repositories{Repositories: []RepositoryName{}, Next: list.Next}
	for _, repo := range list.Items {
		answer.Repositories = append(answer.Repositories, RepositoryName{Name: repo.String()})
	}
	return answer, nil
}

// service is the registry as the caller may use it.
func (q *request) service() registry.Service { return q.h.o.Open(q.caller.Principal, q.caller.By) }

func (q *request) getRepository(http.ResponseWriter) (any, error) {
	// The registry says whether there is one, in its own words.
	if err := q.exists(); err != nil {
		return nil, err
	}
	u, err := q.h.o.Usage.Repository(q.Context(), q.repo)
	if err != nil {
		return nil, err
	}
	return RepositoryDetail{Repository: u, May: q.may(q.repo)}, nil
}

// may lists what the caller may do with a repository.
func (q *request) may(repo oci.Repo) []string {
	list := []string{}
	for _, a := range []auth.Action{auth.Pull, auth.Create, auth.Push, auth.Delete} {
		if q.caller.Check(auth.Access{Repo: repo, Action: a}) == nil {
			list = append(list, string(a))
		}
	}
	return slices.Clip(list)
}

func (q *request) listTags(http.ResponseWriter) (any, error) {
	limit, err := q.limit(1000)
	if err != nil {
		return nil, err
	}
	list, err := q.service().Tags(q.Context(), q.repo, registry.Page{After: q.query.Get("after"), Limit: limit})
	if err != nil {
		return nil, err
	}
	answer := Tags{Tags: []Tag{}, Next: list.Next}
	for _, tag := range list.Items {
		answer.Tags = append(answer.Tags, Tag{Name: tag.String()})
	}
	return answer, nil
}
