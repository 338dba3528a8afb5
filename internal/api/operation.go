package api

import (
	"net/http"
	"slices"
	"strings"

	"berth/internal/auth"
)

// An operation is one thing that can be asked for, with all that is to be said of
// it.
type operation struct {
	id      string // what metrics, logs and generated programs call it
	method  string
	path    string // below Prefix; {name} is a repository, with its slashes
	summary string
	does    string // in full sentences
	query   []parameter
	body    any    // of the type of the body; nil without one
	example string // a body, for the documentation
	status  int    // of the answer, if it is no error
	answer  any    // of the type of the answer; nil without a body

	// needs are the rights that it takes. With none it takes that of listing
	// repositories, or none at all if it is open.
	needs []auth.Action
	open  bool

	do func(*request, http.ResponseWriter) (any, error)
}

// A parameter is one of a query. None is required.
type parameter struct {
	name string
	does string
	kind any // a value of its type
	most int64
}

// takes reports whether key may stand in the query.
func (op *operation) takes(key string) bool {
	return slices.ContainsFunc(op.query, func(p parameter) bool { return p.name == key })
}

func (op *operation) parameterNames() string {
	if len(op.query) == 0 {
		return "it takes no query"
	}
	var names []string
	for _, p := range op.query {
		names = append(names, p.name)
	}
	return "it takes " + strings.Join(names, ", ")
}

// operations returns the table of all operations.
func operations() []operation {
	return slices.Concat(rootOperations(), repositoryOperations(), trashOperations(), historyOperations(), usageOperations(), retentionOperations(), backgroundOperations())
}

// pages are the parameters of a list in pages of at most most.
func pages(what string, most int64) []parameter {
	return []parameter{
		{name: "after", does: "Only what stands behind this " + what + ": the `next` of the page before.", kind: ""},
		{name: "limit", does: "How many at most.", kind: int64(0), most: most},
	}
}

func rootOperations() []operation {
	return []operation{
		{
			id: "about", method: http.MethodGet, path: "", status: http.StatusOK, answer: About{},
			summary: "What this is, and who is asking",
			does:    "Tells the version of the registry, by which name it knows the caller, and whether they may administer it.",
			do: func(q *request, _ http.ResponseWriter) (any, error) {
				a := About{Version: q.h.o.Version, API: "v1", User: q.caller.Principal.Name, ReadOnly: q.h.o.ReadOnly}
				a.Admin = q.caller.Check(auth.Access{Action: auth.Inspect}) == nil
				return a, nil
			},
		},
		{
			id: "description", method: http.MethodGet, path: "/openapi.json", status: http.StatusOK, open: true, answer: map[string]any{},
			summary: "This description",
			does:    "Answers with the description of the API in OpenAPI 3.1. It needs no log-in.",
			do:      func(q *request, _ http.ResponseWriter) (any, error) { return q.h.description() },
		},
	}
}

// An About tells what this is.
type About struct {
	Version  string `json:"version" doc:"of the program"`
	API      string `json:"api" doc:"v1: what is there stays as it is, more may come"`
	User     string `json:"user" doc:"by which the registry knows the caller; empty for who has not logged in, and for the operator"`
	Admin    bool   `json:"admin" doc:"whether the caller may do what is about the registry as a whole"`
	ReadOnly bool   `json:"read_only" doc:"whether nothing can be changed at present"`
}
