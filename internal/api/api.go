// Package api serves the API under /api/v1/: what there is besides pushing and
// pulling, in JSON.
//
// Its table of operations is what requests are found in, what the OpenAPI
// description is made of, and what the documentation is written from. It must not
// know how anything is stored or how anybody logs in: it is told who is asking, and
// asks whether they may.
package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"berth/internal/auth"
	"berth/internal/distapi/route"
	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/oci"
	"berth/internal/registry"
	"berth/internal/usage"
)

// Prefix is where the API is found.
const Prefix = "/api/v1"

// maxBody is how many bytes the body of a request may have.
const maxBody = 64 << 10

// A Caller is who sends a request. What Check and Enter return says why something
// is refused, and is for whoever called ServeHTTP to answer.
type Caller struct {
	Principal auth.Principal
	By        event.Actor
	Check     func(auth.Access) error
	Enter     func() error
	Readable  func(oci.Repo) bool // whether lists may name it
}

// Options are what a Handler needs.
type Options struct {
	Version  string
	ReadOnly bool

	// Open returns the registry as a caller may use it.
	Open func(auth.Principal, event.Actor) registry.Service

	// Core returns the registry for what is not a part of that. Whoever uses it
	// has asked before whether the caller may.
	Core func(event.Actor) Core

	History interface {
		TagHistory(ctx context.Context, repo oci.Repo, tag oci.Tag, before int64, limit int) ([]meta.TagMove, error)
	}
	Usage      Usage
	Retention  Retention
	Background Background

	Now func() time.Time

	// Begin, if it is set, is told which operation the request is that a writer
	// answers, as soon as that is known.
	Begin func(w http.ResponseWriter, operation string)
}

// Core is what *registry.Core does besides being a registry.Service.
type Core interface {
	Trash(ctx context.Context, repo oci.Repo, before int64, limit int) ([]meta.TrashEntry, error)
	FindTrash(ctx context.Context, w meta.TrashWhat) (meta.TrashEntry, error)
	Restore(ctx context.Context, p meta.Restore, tell func(manifests int) error) (meta.Restored, error)
	EmptyTrash(ctx context.Context, ids ...int64) error

	PlanTag(ctx context.Context, s meta.TagSet) (meta.TagMove, error)
	SetTag(ctx context.Context, s meta.TagSet) (meta.TagMove, error)
}

// Usage tells what takes the space.
type Usage interface {
	Repository(ctx context.Context, repo oci.Repo) (usage.Repository, error)
	Repositories(ctx context.Context, after string, limit int, visible func(oci.Repo) bool) ([]usage.Repository, string, error)

	// Last returns the last report on the whole registry, and whether there is one
	// yet; Measure has a new one made.
	Last() (usage.Report, bool)
	Measure()
}

// A Handler serves the API. It may be used concurrently.
type Handler struct {
	o           Options
	operations  []operation
	description func() ([]byte, error)
	crossOrigin *http.CrossOriginProtection
}

// New returns a Handler. Its description is made when it is first asked for: that takes
// as long as opening the database.
func New(o Options) *Handler {
	h := &Handler{o: o, operations: operations(), crossOrigin: http.NewCrossOriginProtection()}
	h.description = sync.OnceValues(func() ([]byte, error) { return json.Marshal(describe(h.operations, o.Version)) })
	return h
}

// A request is one that has been understood, from someone who may make it.
type request struct {
	*http.Request
	h      *Handler
	caller Caller
	op     *operation
	repo   oci.Repo // of its path, if that names one
	id     int64    // of its path, if that has one
	query  url.Values
}

// ServeHTTP answers one request, or returns an error instead. It sets the Allow
// header where an address does not have a method.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, c Caller) error {
	if r.Header.Get("Sec-Fetch-Site") == "cross-site" || h.crossOrigin.Check(r) != nil {
		return &oci.Error{Code: oci.Denied, Message: "pages of other sites may not use the registry"}
	}
	q, err := h.find(w, r)
	if err != nil {
		return err
	}
	q.caller = c
	if h.o.Begin != nil {
		h.o.Begin(w, q.op.id)
	}
	if err := q.admit(); err != nil {
		return err
	}
	if err := q.readQuery(); err != nil {
		return err
	}
	answer, err := q.op.do(q, w)
	if err != nil {
		return err
	}
	return q.write(w, answer)
}

// find finds the operation that r asks for.
func (h *Handler) find(w http.ResponseWriter, r *http.Request) (*request, error) {
	path, _ := strings.CutPrefix(r.URL.EscapedPath(), Prefix)
	if path == "/" {
		path = ""
	}
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	var allow []string
	for i := range h.operations {
		op := &h.operations[i]
		value, ok := match(op.path, path)
		if !ok {
			continue
		}
		if allow = append(allow, op.method); op.method == http.MethodGet {
			allow = append(allow, http.MethodHead)
		}
		if op.method != method {
			continue
		}
		w.Header().Set("Allow", "GET, HEAD") // of an address where writing is refused
		q := &request{Request: r, h: h, op: op}
		return q, q.readPath(value)
	}
	if len(allow) == 0 {
		return nil, &route.RequestError{Status: http.StatusNotFound, Message: "the API has no such address: " + Prefix + "/openapi.json lists those it has"}
	}
	methods := strings.Join(allow, ", ")
	w.Header().Set("Allow", methods)
	return nil, &route.RequestError{Status: http.StatusMethodNotAllowed, Allow: methods, Message: "this address takes " + methods}
}

// match compares a path with the pattern of an operation, in which {id} stands for
// one segment and {name}, at its end, for all that is left.
func match(pattern, path string) (value string, ok bool) {
	before, rest, found := strings.Cut(pattern, "{")
	if !found {
		return "", path == pattern
	}
	if path, ok = strings.CutPrefix(path, before); !ok {
		return "", false
	}
	kind, after, _ := strings.Cut(rest, "}")
	if kind == "name" {
		return path, path != ""
	}
	value, ok = strings.CutSuffix(path, after)
	return value, ok && value != "" && !strings.Contains(value, "/")
}

// readPath reads the part of the path that a pattern leaves open. The slashes of a
// name may be escaped: some programs that are made from a description do that.
func (q *request) readPath(value string) (err error) {
	switch {
	case strings.HasSuffix(q.op.path, "{name}"):
		name, err := url.PathUnescape(value)
		if err != nil {
			return &oci.Error{Code: oci.NameInvalid, Message: "the name of the repository is not escaped as addresses are"}
		}
		q.repo, err = oci.ParseRepo(name)
		return err
	case strings.Contains(q.op.path, "{id}"):
		if q.id, err = strconv.ParseInt(value, 10, 64); err != nil || q.id < 1 || strconv.FormatInt(q.id, 10) != value {
			return &route.RequestError{Status: http.StatusNotFound, Message: "there is no entry " + strconv.QuoteToASCII(value) + ": entries have numbers"}
		}
	}
	return nil
}

// admit asks whether the caller may do what is asked for.
func (q *request) admit() error {
	if len(q.op.needs) == 0 && !q.op.open {
		return q.caller.Enter()
	}
	for _, action := range q.op.needs {
		a := auth.Access{Action: action}
		if !action.Whole() {
			a.Repo = q.repo
		}
		if err := q.caller.Check(a); err != nil {
			return err
		}
	}
	return nil
}

// readQuery reads the query, in which nothing may stand that is not understood.
func (q *request) readQuery() (err error) {
	if q.query, err = url.ParseQuery(q.URL.RawQuery); err != nil {
		return badRequest("the query is not escaped as queries are")
	}
	for key, values := range q.query {
		if len(values) > 1 {
			return badRequest(key + " stands in the query more than once")
		}
		if !q.op.takes(key) {
			return badRequest(strconv.QuoteToASCII(key) + " is nothing that this address takes: " + q.op.parameterNames())
		}
	}
	return nil
}

func badRequest(message string) error {
	return &route.RequestError{Status: http.StatusBadRequest, Message: message}
}

// number reads a number of the query, which is fallback where there is none.
func (q *request) number(key string, least, most, fallback int64) (int64, error) {
	text := q.query.Get(key)
	if text == "" && !q.query.Has(key) {
		return fallback, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < least || n > most {
		return 0, badRequest(key + " must be a number from " + strconv.FormatInt(least, 10) + " to " + strconv.FormatInt(most, 10))
	}
	return n, nil
}

// limit reads how many entries a page may have.
func (q *request) limit(most int64) (int, error) {
	n, err := q.number("limit", 1, most, min(most, 100))
	return int(n), err
}

// readBody reads the body into v. An empty one leaves v as it is.
func (q *request) readBody(w http.ResponseWriter, v any) error {
	body, err := io.ReadAll(http.MaxBytesReader(w, q.Body, maxBody))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return &route.RequestError{Status: http.StatusRequestEntityTooLarge, Message: "the body is larger than 64 KiB, which nothing here needs"}
	}
	if err != nil {
		return badRequest("the body broke off")
	}
	if len(body) == 0 {
		return nil
	}
	if t, _, err := mime.ParseMediaType(q.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return &route.RequestError{Status: http.StatusUnsupportedMediaType, Message: "send the body as application/json"}
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return badRequest("the body is not what this address takes (" + strings.TrimPrefix(err.Error(), "json: ") + "): " + Prefix + "/openapi.json describes it")
	}
	if d.Decode(new(any)) != io.EOF {
		return badRequest("the body holds more than one value of JSON")
	}
	return nil
}

// write answers with v as JSON, or with nothing if it is nil.
func (q *request) write(w http.ResponseWriter, v any) error {
	header := w.Header()
	header.Del("Allow")
	if v == nil {
		w.WriteHeader(q.op.status)
		return nil
	}
	body, ok := v.([]byte)
	if !ok {
		var err error
		if body, err = json.Marshal(v); err != nil {
			return err
		}
		body = append(body, '\n')
	}
	header.Set("Content-Type", "application/json")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(q.op.status)
	if q.Method != http.MethodHead {
		w.Write(body) // an error here is the client's loss
	}
	return nil
}
